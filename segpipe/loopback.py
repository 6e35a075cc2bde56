"""Whether a name or an address is this machine's own, for servers that it alone may use."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    """The host of a URL, or of the value of a header as ``//`` and the value; empty for none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
