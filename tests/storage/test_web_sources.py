"""Masks over http: a real server on the loopback interface, real redirects, real silence."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segpipe.errors import StorageError
from segpipe.masks.refusal import MaskRefused
from segpipe.storage.sources import AllowedRoots
from segpipe.storage.web import check_address

MASK = np.arange(48, dtype=np.uint8).reshape(6, 8)


def png(mask: np.ndarray) -> bytes:
    """A PNG of it."""
    buffer = BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


class Server:
    """Serves answers by path and remembers what was asked and how many bytes went out."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        self.sent = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, headers, body = outer.answers.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    for start in range(0, len(body), 65_536):
                        self.wfile.write(body[start : start + 65_536])
                        outer.sent += len(body[start : start + 65_536])
                except OSError:
                    pass  # the reader had enough

            def log_message(self, *arguments: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on the loopback interface."""
    running = Server()
    yield running
    running.close()


@pytest.fixture
def read(server: Server) -> Callable[..., bytes]:
    """Reads a path of the server, whose address the operator allowed."""

    def read_path(path: str, **options: int) -> bytes:
        sources = AllowedRoots((server.url,))
        return sources.read(sources.resolve(path, server.url), **options)

    return read_path


def test_a_mask_is_read_from_an_allowed_address(server: Server, read: Callable[..., bytes]) -> None:
    server.answers["/a.png"] = (200, {}, png(MASK))
    assert read("a.png") == png(MASK)
    assert read(f"{server.url}/a.png") == png(MASK)


def test_a_redirect_is_refused_and_its_target_never_asked(
    server: Server, read: Callable[..., bytes]
) -> None:
    server.answers["/a.png"] = (302, {"Location": f"{server.url}/inside?token=SECRET"}, b"")
    server.answers["/inside"] = (200, {}, png(MASK))
    with pytest.raises(MaskRefused) as refused:
        read("a.png")
    assert refused.value.rule == "URL-REFUSED"
    assert "redirects are not followed" in refused.value.message
    assert "SECRET" not in refused.value.message
    assert server.asked == ["/a.png"]


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1", "0.0.0.0", "[::1]", "169.254.169.254", "10.0.0.1"]
)
def test_a_private_address_is_refused_unless_a_root_names_it(host: str) -> None:
    url = f"http://{host}/a.png"
    with pytest.raises(MaskRefused) as refused:
        check_address(url, frozenset({"masks.example"}))
    assert refused.value.rule == "URL-REFUSED"


def test_a_name_that_leads_to_a_private_address_is_refused_although_it_is_allowed(
    server: Server,
) -> None:
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        pytest.skip("this machine's own name leads nowhere")
    if not address.startswith(("127.", "10.", "192.168.", "172.", "21.", "169.254.")):
        pytest.skip("this machine's own name leads to a public address")
    sources = AllowedRoots((f"http://{name}",))
    with pytest.raises(MaskRefused, match="private address"):
        sources.resolve(f"http://{name}/a.png", "/")


def test_hosts_that_no_root_names_are_refused(server: Server) -> None:
    sources = AllowedRoots((f"{server.url}/masks",))
    for url in (f"{server.url}/other/a.png", f"{server.url}/masks/../a.png", "http://else/a.png"):
        with pytest.raises(MaskRefused) as refused:
            sources.resolve(url, "/")
        assert refused.value.rule == "URL-REFUSED"
    assert server.asked == []


def test_a_file_over_the_limit_is_given_up_early(
    server: Server, read: Callable[..., bytes]
) -> None:
    server.answers["/big.png"] = (200, {}, bytes(20_000_000))
    with pytest.raises(MaskRefused) as refused:
        read("big.png", max_bytes=1000)
    assert refused.value.rule == "TOO-LARGE"
    assert server.sent < 20_000_000


@pytest.mark.parametrize("status", [404, 410, 403, 401])
def test_a_file_that_is_not_there_is_the_rows_fault(
    server: Server, read: Callable[..., bytes], status: int
) -> None:
    server.answers["/a.png?sig=SECRET"] = (status, {}, b"<html>")
    with pytest.raises(MaskRefused) as refused:
        read("a.png?sig=SECRET")
    assert refused.value.rule == "FILE-MISSING"
    assert str(status) in refused.value.message
    assert ("expire" in refused.value.message) == (status in (401, 403))
    assert "SECRET" not in refused.value.message


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_fails_says_nothing_about_the_row(
    server: Server, read: Callable[..., bytes], status: int
) -> None:
    server.answers["/a.png"] = (status, {}, b"")
    with pytest.raises(StorageError, match=str(status)):
        read("a.png")


def test_a_connection_that_is_refused_says_nothing_about_the_row_and_shows_no_secret() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    sources = AllowedRoots((url,))
    with pytest.raises(StorageError) as failed:
        sources.read(sources.resolve(f"{url}/a.png?sig=SECRET", "/"))
    assert "SECRET" not in str(failed.value)


def test_the_size_of_a_large_image_is_read_without_downloading_it(server: Server) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (1500, 2000, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).save(buffer, format="JPEG", quality=95)
    server.answers["/photo.jpg"] = (200, {}, buffer.getvalue() + bytes(10_000_000))
    sources = AllowedRoots((server.url,))
    size = sources.image_size(sources.resolve("photo.jpg", server.url))
    assert size is not None
    assert (size.height, size.width) == (1500, 2000)
    assert server.sent < 8_000_000
