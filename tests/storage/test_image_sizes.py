"""What tells the size of a mask's image, and what is said where nothing does."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segpipe.masks.image_size import read_image_size
from tests.fixtures.inbox import Inbox

MASK = np.repeat(np.array([[0, 1]], np.uint8), 21, axis=0)


def image(kind: str, **options: Any) -> bytes:
    """An image 37 wide and 21 high."""
    buffer = io.BytesIO()
    Image.new("RGB", (37, 21)).save(buffer, kind, **options)
    return buffer.getvalue()


def heic() -> bytes:
    """The boxes of a HEIC file, cut before its pixels: those of AVIF are the same."""
    data = image("AVIF")
    return data.replace(b"ftypavif", b"ftypheic", 1)[: data.index(b"mdat")]


KINDS = {
    "BMP": image("BMP"),
    "GIF": image("GIF"),
    "JPEG 2000": image("JPEG2000"),
    "JPEG 2000 codestream": image("JPEG2000", no_jp2=True),
    "AVIF": image("AVIF"),
    "HEIC": heic(),
}


def said(inbox: Inbox, image_url: str, **row: Any) -> dict[str, str]:
    """rule -> message, of a mask 2 x 21 whose size only its image tells."""
    inbox.manifest(
        [inbox.row("a", MASK, image_url=image_url, **{"height": None, "width": None, **row})]
    )
    return inbox.run().findings("a")


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_compared_with_an_image_of_any_usual_format(inbox: Inbox, kind: str) -> None:
    inbox.file("image", KINDS[kind])
    assert "its image 37 x 21 (width x height)" in said(inbox, "image")["SIZE-MISMATCH"]


@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_of_a_large_image_only_the_header_is_needed(kind: str) -> None:
    header = KINDS[kind][: KINDS[kind].index(b"mdat")] if kind == "AVIF" else KINDS[kind]
    size = read_image_size(io.BytesIO(header))
    assert (size.height, size.width) == (21, 37)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_header_is_named_as_damaged(inbox: Inbox, kind: str) -> None:
    data = KINDS[kind]
    cut = {"BMP": 20, "GIF": 8, "JPEG 2000 codestream": 20}.get(kind, 40)
    inbox.file("image", data[:cut])
    name = kind.removesuffix(" codestream")
    assert f"is damaged: it begins as {name}" in said(inbox, "image")["SIZE-UNVERIFIED"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "there is no file at"),
        (b"", "is empty"),
        (b"<html>expired</html>", "is a web page or XML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\xff\x0a\0\0", "is a JPEG XL image"),
        (b"whatever", "is of no format that is read (JPEG, PNG"),
    ],
)
def test_a_size_that_is_unknown_says_what_is_the_matter_with_the_image(
    inbox: Inbox, data: bytes | None, words: str
) -> None:
    if data is not None:
        inbox.file("photo.jpg", data)
    message = said(inbox, "photo.jpg")["SIZE-UNVERIFIED"]
    assert words in message
    assert "photo.jpg" in message
    assert "add height and width" in message
    assert "SIZE-UNVERIFIED" not in said(inbox, "photo.jpg", height=21, width=2)


def test_a_forbidden_image_is_named_with_what_to_allow(inbox: Inbox) -> None:
    message = said(inbox, "/somewhere/else/photo.jpg")["SIZE-UNVERIFIED"]
    assert "/somewhere/else/photo.jpg is not read: it lies outside the allowed roots" in message
    assert "add /somewhere/else to allowed_roots" in message
