"""Reads masks and images over http and https, without redirects or private addresses.

Redirects are never followed, and private addresses are asked only where an allowed root names that
very address: a manifest must not be able to make segpipe talk to what is behind the firewall.
"""

from __future__ import annotations

import io
import ipaddress
import socket
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from segpipe.errors import StorageError
from segpipe.masks.refusal import MaskRefused
from segpipe.storage.redaction import redacted

if TYPE_CHECKING:
    import requests

_TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of the answer
_PIECE = 1 << 16
# Answers that say nothing about the file: try again later, do not blame the row.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


def is_web(url: str) -> bool:
    """Whether a URL is http or https."""
    return url.startswith(("http://", "https://"))


def check_address(url: str, trusted_hosts: frozenset[str]) -> None:
    """Refuse hosts with private, loopback or link-local addresses.

    Args:
        trusted_hosts: hosts that allowed roots name; addresses and ``localhost`` among them are
            meant as they stand, names still have to lead to public addresses.

    Raises:
        MaskRefused: URL-REFUSED.
        StorageError: when the name cannot be looked up.
    """
    host = (urlsplit(url).hostname or "").lower()
    if host in trusted_hosts and (host == "localhost" or _is_address(host)):
        return
    for address in _addresses(host):
        if not ipaddress.ip_address(address).is_global:
            raise MaskRefused(
                "URL-REFUSED",
                f"{redacted(url)} is not read: {host} leads to the private address {address}; to "
                "allow it, name the address itself in allowed_roots",
                found=address,
                expected="a public address",
            )


def read_web(url: str, max_bytes: int) -> bytes:
    """The whole file, if it has at most ``max_bytes``.

    Raises:
        MaskRefused: FILE-MISSING, TOO-LARGE or URL-REFUSED (a redirect).
        StorageError: when the server or the connection fails.
    """
    data = _fetched(url, max_bytes + 1)
    if len(data) > max_bytes:
        raise MaskRefused(
            "TOO-LARGE",
            f"{redacted(url)} has more than {max_bytes:,} bytes (max_bytes in the policy)",
            found=f"more than {max_bytes} bytes",
            expected=f"at most {max_bytes} bytes",
        )
    return data


def open_web_header(url: str, size: int) -> io.BytesIO:
    """The first ``size`` bytes of a file; the rest is not fetched."""
    return io.BytesIO(_fetched(url, size))


def _fetched(url: str, most: int) -> bytes:
    import requests

    pieces, size = [], 0
    try:
        with requests.get(url, stream=True, allow_redirects=False, timeout=_TIMEOUT) as answer:
            _check_status(url, answer)
            for piece in answer.iter_content(_PIECE):
                pieces.append(piece)
                size += len(piece)
                if size >= most:
                    break
    except requests.RequestException as error:
        # Not the library's words: they repeat the URL, with what may be a secret in it.
        raise StorageError(
            f"reading {redacted(url)} failed ({type(error).__name__}); run again when the server "
            "answers"
        ) from None
    return b"".join(pieces)[:most]


def _check_status(url: str, answer: requests.Response) -> None:
    shown, status = redacted(url), answer.status_code
    if status in _TRANSIENT:
        raise StorageError(f"reading {shown} failed: the server answered {status}; run again later")
    if 300 <= status < 400:
        target = redacted(answer.headers.get("Location", ""))
        raise MaskRefused(
            "URL-REFUSED",
            f"{shown} redirects to {target}, and redirects are not followed: write the final URL "
            "into the manifest",
            found=f"a redirect to {target}",
            expected="the file itself",
        )
    if status >= 400:
        hint = "; did a signed URL expire?" if status in (401, 403) else ""
        raise MaskRefused(
            "FILE-MISSING",
            f"there is no file at {shown} (the server answered {status}){hint}",
            found=f"status {status}",
            expected=shown,
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@cache
def _addresses(host: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise StorageError(f"the host {host!r} cannot be found; check the URL's name") from None
    return tuple(sorted({str(entry[4][0]).partition("%")[0] for entry in found}))
