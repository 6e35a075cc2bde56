"""Masks are read from allowed roots only; what is secret in a URL stays out of every message."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segpipe.errors import StorageError
from segpipe.manifests.manifest import Manifest
from segpipe.masks.image_size import SizeUnknown
from segpipe.masks.refusal import MaskRefused
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.redaction import redacted
from segpipe.storage.sources import AllowedRoots
from segpipe.validation.chunk import Validation, validate_chunk
from tests.fixtures.inbox import Inbox, segments_for
from tests.fixtures.png import png
from tests.fixtures.thoroughness import at_most

PIXELS = np.array([[0, 1]], np.uint8)


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """``root/manifests`` is allowed; ``outside`` and ``root-2`` beside it are not."""
    for name in ("root/manifests/day", "root-2", "outside"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "mask.png").write_bytes(png(PIXELS))
    return tmp_path


def read(places: Path, url: str, *more_roots: str) -> bytes:
    sources = AllowedRoots((str(places / "root"), *more_roots))
    source = sources.resolve(url, str(places / "root/manifests/day"))
    return sources.read(source)


def refused(places: Path, url: str) -> MaskRefused:
    with pytest.raises(MaskRefused) as info:
        read(places, url)
    return info.value


@pytest.mark.parametrize(
    "url",
    [
        "mask.png",
        "./mask.png",
        "../day/mask.png",
        "../../manifests/day/mask.png",
        "{places}/root/manifests/day/mask.png",
        "file://{places}/root/manifests/day/mask.png",
        "file://localhost{places}/root/manifests/day/mask.png",
        "file:{places}/root/manifests/day/mask.png",
        "file://{places}/root/../root/manifests/day/m%61sk.png",
    ],
)
def test_what_lies_below_an_allowed_root_is_read_however_it_is_written(
    places: Path, url: str
) -> None:
    assert read(places, url.format(places=places)) == png(PIXELS)


@pytest.mark.parametrize(
    "url",
    [
        "../../../outside/mask.png",
        "../../../root-2/mask.png",
        "no/such/folder/../../../../../../outside/mask.png",
        "{places}/outside/mask.png",
        "{places}/root-2/mask.png",
        "{places}/root/../outside/mask.png",
        "{places}//outside/mask.png",
        "file://{places}/outside/mask.png",
        "file:{places}/outside/mask.png",
        "file://{places}/root/%2e%2e/outside/mask.png",
        "FILE://{places}/outside/mask.png",
        "local://{places}/outside/mask.png",
        "/etc/passwd",
        "file:///etc/passwd",
    ],
)
def test_what_lies_outside_is_refused_naming_the_setting_to_change(places: Path, url: str) -> None:
    refusal = refused(places, url.format(places=places))
    assert refusal.rule == "URL-REFUSED"
    assert "allowed_roots" in refusal.message
    assert "--allow-root" in refusal.message


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/mask.png",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost/mask.png",
        "s3://bucket/mask.png",
        "memory://mask.png",
        "ftp://example.org/mask.png",
        "simplecache::file:///etc/passwd",
        "zip://mask.png::file:///tmp/a.zip",
        "no-such-scheme://x",
        "file://other-host/mask.png",
        "file:///a%00b.png",
    ],
)
def test_other_schemes_and_hosts_are_refused_without_being_opened(places: Path, url: str) -> None:
    assert refused(places, url).rule == "URL-REFUSED"


@pytest.mark.parametrize(
    "url", ["https://[oops/mask.png", "file://[oops/mask.png", "https://ex\u2100mple.org/a.png"]
)
def test_a_url_that_cannot_be_parsed_is_refused_as_any_other(places: Path, url: str) -> None:
    assert refused(places, url).rule == "URL-REFUSED"


def test_a_nul_character_is_refused(places: Path) -> None:
    assert refused(places, "mask.png\0.txt").rule == "URL-REFUSED"


def test_a_link_that_leads_out_of_the_root_is_refused(places: Path) -> None:
    day = places / "root/manifests/day"
    (day / "file-link.png").symlink_to(places / "outside/mask.png")
    (day / "folder-link").symlink_to(places / "outside")
    (day / "chain.png").symlink_to(day / "file-link.png")
    for url in ("file-link.png", "folder-link/mask.png", "chain.png"):
        assert refused(places, url).rule == "URL-REFUSED"


def test_a_link_within_the_root_is_followed(places: Path) -> None:
    (places / "root/link.png").symlink_to(places / "root/manifests/day/mask.png")
    assert read(places, "../../link.png") == png(PIXELS)


def test_a_root_may_itself_be_a_link(places: Path) -> None:
    (places / "link").symlink_to(places / "outside")
    assert read(places, f"{places}/outside/mask.png", str(places / "link")) == png(PIXELS)
    assert read(places, f"{places}/link/mask.png", str(places / "link")) == png(PIXELS)


@pytest.mark.parametrize(
    "root", ["{places}/outside", "{places}/outside/", "file://{places}/outside"]
)
def test_an_allowed_root_may_be_read(places: Path, root: str) -> None:
    url = f"{places}/outside/mask.png"
    assert read(places, url, root.format(places=places)) == png(PIXELS)
    sources = AllowedRoots(()).with_root(root.format(places=places))
    assert sources.resolve(url, "/").path == url


def test_without_roots_nothing_is_read(places: Path) -> None:
    with pytest.raises(MaskRefused, match=r"allowed roots \(none\)"):
        AllowedRoots(()).resolve("mask.png", str(places))


def test_everything_below_the_root_of_the_disk_may_be_allowed(places: Path) -> None:
    assert read(places, f"{places}/outside/mask.png", "/") == png(PIXELS)


@settings(max_examples=at_most(60, 150), deadline=None)
@given(
    st.lists(
        st.sampled_from(["..", ".", "", "day", "outside", "mask.png", "%2e%2e", "~", "root", "*"])
        | st.text(max_size=3),
        max_size=7,
    ),
    st.sampled_from(["", "/", "file:", "file://", "file:///", "memory://root/", "//"]),
)
def test_nothing_resolves_to_a_place_outside_the_roots(parts: list[str], start: str) -> None:
    sources = AllowedRoots(("/srv/root", "memory://root/masks"))
    try:
        source = sources.resolve(start + "/".join(parts), "/srv/root/manifests")
    except MaskRefused as refusal:
        assert refusal.rule == "URL-REFUSED"
    else:
        path = os.path.realpath(source.path)
        assert (path + "/").startswith(("/srv/root/", "/root/masks/"))


@pytest.mark.parametrize(
    "name", ["a b.png", "a#b.png", "a?b.png", "a%20b.png", "a::b.png", "größe.png", "[x]*.png", "~"]
)
def test_a_file_name_is_taken_literally(places: Path, name: str) -> None:
    (places / "root/manifests/day" / name).write_bytes(b"this one")
    assert read(places, name) == b"this one"


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "loop.png", "mask.png/x.png", "\u00e9" * 200])
def test_a_name_that_no_file_can_have_is_the_rows_fault_not_the_storages(
    places: Path, name: str
) -> None:
    (places / "root/manifests/day/loop.png").symlink_to("loop.png")
    assert refused(places, name).rule in ("FILE-MISSING", "URL-REFUSED")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_said_to_be_so(places: Path) -> None:
    (places / "root/manifests/day/mask.png").chmod(0)
    refusal = refused(places, "mask.png")
    assert refusal.rule == "FILE-MISSING"
    assert "no permission" in refusal.message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
@pytest.mark.timeout(20)
def test_a_pipe_and_a_socket_are_no_files_and_nobody_waits_for_them(places: Path) -> None:
    folder = places / "root/manifests/day"
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening, pytest.MonkeyPatch.context() as here:
        here.chdir(folder)  # a socket's path is short
        listening.bind("socket.png")
        for name in ("pipe.png", "socket.png"):
            refusal = refused(places, name)
            assert refusal.rule == "FILE-MISSING"
            assert "no regular file" in refusal.message
            sources = AllowedRoots((str(places),))
            source = sources.resolve(name, str(folder))
            assert sources.fetch(source).identity == sources.identity(source)


@pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="needs leases")
@pytest.mark.timeout(100)
def test_a_file_that_another_process_has_a_lease_on_is_waited_for(places: Path) -> None:
    path = places / "root/manifests/day/mask.png"
    leasing = (
        "import fcntl, os, signal, sys, time\n"
        "file = os.open(sys.argv[1], os.O_RDWR)\n"
        "end = lambda *_: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)\n"
        "signal.signal(signal.SIGIO, end)\n"
        "fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n"
        "print('leased', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", leasing, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        try:
            if other.stdout.readline() != b"leased\n":
                pytest.skip("no leases on this file system")
            assert read(places, "mask.png") == png(PIXELS)
        finally:
            other.kill()


@pytest.mark.parametrize("code", [errno.ENXIO, errno.ENODEV, errno.EIO, errno.ESTALE])
def test_a_disk_that_goes_away_is_the_storages_fault_not_the_rows(
    places: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    source = AllowedRoots((str(places),)).resolve("mask.png", str(places / "outside"))

    def gone(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("segpipe.storage.sources.os.open", gone)
    with pytest.raises(StorageError, match=r"reading .* failed"):
        AllowedRoots((str(places),)).read(source)


def test_a_file_that_comes_in_parts_is_read_to_its_end(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.read
    monkeypatch.setattr(
        "segpipe.storage.sources.os.read", lambda file, size: real(file, min(size, 7))
    )
    assert read(places, "mask.png") == (places / "root/manifests/day/mask.png").read_bytes()


def test_a_file_that_grows_over_the_limit_while_it_is_read_is_refused(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = AllowedRoots((str(places),)).resolve("mask.png", str(places / "outside"))
    data = (places / "outside/mask.png").read_bytes()

    def growing(file: int, size: int) -> bytes:
        return data[:9]  # there is always more

    monkeypatch.setattr("segpipe.storage.sources.os.read", growing)
    with pytest.raises(MaskRefused, match="over the limit"):
        AllowedRoots((str(places),)).read(source, len(data))


def test_a_file_over_the_limit_is_refused_before_it_is_read(places: Path) -> None:
    size = len(png(PIXELS))
    for limit in (size, size - 1):
        sources = AllowedRoots((str(places),))
        source = sources.resolve("mask.png", str(places / "outside"))
        if limit == size:
            assert sources.read(source, limit) == png(PIXELS)
        else:
            with pytest.raises(MaskRefused, match="max_bytes") as info:
                sources.read(source, limit)
            assert info.value.rule == "TOO-LARGE"


# --- other filesystems than the local disk


@pytest.fixture
def memory() -> Iterator[str]:
    """An empty folder of fsspec's memory filesystem; its URL."""
    filesystem, name = fsspec.filesystem("memory"), uuid.uuid4().hex
    filesystem.pipe_file(f"/{name}/in/mask.png", png(PIXELS))
    filesystem.pipe_file(f"/{name}/out/mask.png", png(PIXELS))
    yield f"memory://{name}"
    filesystem.rm(f"/{name}", recursive=True)


def test_a_remote_root_is_read_and_left_by_no_dots(memory: str) -> None:
    sources = AllowedRoots((f"{memory}/in",))
    for url in ("mask.png", f"{memory}/in/mask.png"):
        assert sources.read(sources.resolve(url, f"{memory}/in")) == png(PIXELS)
    for url in (
        "../out/mask.png",
        f"{memory}/out/mask.png",
        f"{memory}/in/../out/mask.png",
        f"{memory}/in/%2E%2e/out/mask.png",
        f"{memory}/in2/mask.png",
    ):
        with pytest.raises(MaskRefused) as info:
            sources.resolve(url, f"{memory}/in")
        assert info.value.rule == "URL-REFUSED"


def test_a_missing_remote_file_and_one_too_large_are_the_rows_fault(memory: str) -> None:
    sources = AllowedRoots((memory,))
    for url, rule in (("none.png", "FILE-MISSING"), ("in/mask.png", "TOO-LARGE")):
        with pytest.raises(MaskRefused) as info:
            sources.read(sources.resolve(url, memory), 3)
        assert info.value.rule == rule


# --- the size of an image


def image(kind: str, orientation: int = 1, **options: Any) -> bytes:
    """An image 37 wide and 21 high, as stored."""
    if orientation != 1:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    buffer = io.BytesIO()
    mode = options.pop("mode", "RGB")
    Image.new(mode, (37, 21)).save(buffer, kind, **options)
    return buffer.getvalue()


IMAGES = {
    "JPEG": image("JPEG"),
    "rotated JPEG": image("JPEG", 6),
    "progressive JPEG": image("JPEG", progressive=True),
    "TIFF": image("TIFF"),
    "rotated TIFF": image("TIFF", 6),
    "PNG": png(np.zeros((21, 37, 3)), colour=2),
    "WebP": image("WEBP"),
    "lossless WebP": image("WEBP", lossless=True),
    "transparent WebP": image("WEBP", mode="RGBA"),
}


def size_of(data: bytes, tmp_path: Path) -> tuple[int, int] | None:
    (tmp_path / "image").write_bytes(data)
    sources = AllowedRoots((str(tmp_path),))
    try:
        size = sources.image_size(sources.resolve("image", str(tmp_path)))
    except SizeUnknown:
        return None
    return size.height, size.width


@pytest.mark.parametrize("kind", IMAGES)
def test_an_images_size_is_that_of_its_pixels_as_stored(kind: str, tmp_path: Path) -> None:
    """Masks are never rotated, so an orientation must not turn the image's size either."""
    assert size_of(IMAGES[kind], tmp_path) == (21, 37)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", IMAGES)
def test_a_cut_image_has_its_size_or_none_and_never_an_error(kind: str, tmp_path: Path) -> None:
    for length in range(min(len(IMAGES[kind]), 200)):
        assert size_of(IMAGES[kind][:length], tmp_path) in (None, (21, 37))


@pytest.mark.parametrize("data", [b"", b"text", b"%PDF-1.7", b"RIFF\0\0\0\0WEBPVP8L"])
def test_what_is_no_image_has_no_size(data: bytes, tmp_path: Path) -> None:
    assert size_of(data, tmp_path) is None


# --- secrets

SECRETS = [
    "https://user:TOPSECRET@example.org/masks/a.png",
    "https://example.org/masks/a.png?X-Amz-Signature=TOPSECRET&X-Amz-Expires=60",
    "https://example.org/masks/a.png#token=TOPSECRET",
    "s3://key:TOPSECRET@bucket/a.png?versionId=TOPSECRET",
    "abfs://container@account.dfs.core.windows.net/a.png?sig=TOPSECRET",
]


@pytest.mark.parametrize("url", SECRETS)
def test_redacted_urls_hold_no_secret_and_still_say_where(url: str) -> None:
    shown = redacted(url)
    assert "TOPSECRET" not in shown
    assert shown.startswith(url.partition(":")[0] + "://")
    assert "a.png" in shown
    assert redacted(shown).count("TOPSECRET") == 0


@pytest.mark.parametrize("path", ["/data/a#1.png", "masks/what?.png", "a@b:c.png", ""])
def test_plain_paths_are_shown_as_they_are(path: str) -> None:
    assert redacted(path) == path


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20))
def test_any_text_can_be_redacted(text: str) -> None:
    for url in (text, f"https://{text}/a.png", f"https://example.org/{text}", f"{text}://x"):
        assert isinstance(redacted(url), str)


@pytest.mark.parametrize("url", SECRETS)
def test_refusals_show_no_secret_of_the_url_nor_of_the_roots(places: Path, url: str) -> None:
    with pytest.raises(MaskRefused) as info:
        AllowedRoots((url + "/masks",)).resolve(url.replace("a.png", "b.png"), str(places))
    refusal = info.value
    assert "TOPSECRET" not in refusal.message + refusal.found + refusal.expected


@pytest.mark.parametrize("url", [*SECRETS, "none.png?sig=TOPSECRET"])
def test_no_table_holds_a_secret(inbox: Inbox, url: str) -> None:
    rows = [
        inbox.row("as mask", PIXELS, mask_url=url),
        inbox.row("as image", PIXELS, image_url=url if "://" in url else None),
    ]
    outcome = inbox.run([rows[1], rows[0]] if "://" in url else [rows[1]])
    for path in outcome.out.iterdir():
        table = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else path.read_text()
        assert "TOPSECRET" not in str(table)


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
def test_the_query_of_a_signed_url_is_used_for_reading_and_stored_nowhere(
    memory: str, tmp_path: Path, absolute: bool
) -> None:
    filesystem = fsspec.filesystem("memory")
    name = memory.removeprefix("memory://")
    filesystem.pipe_file(f"/{name}/in/signed.png?sig=TOPSECRET", png(PIXELS))
    url = "signed.png?sig=TOPSECRET"
    row = {
        "reference_id": "a",
        "mask_url": f"{memory}/in/{url}" if absolute else url,
        "segments": json.dumps(segments_for([0, 1])),
    }
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([row]), buffer)
    filesystem.pipe_file(f"/{name}/in/m.parquet", buffer.getvalue().to_pybytes())
    manifest = Manifest.open([(Folder(f"{memory}/in"), "m.parquet", "m.parquet")])
    (chunk,) = manifest.chunks()
    masks = MaskStore(Folder(str(tmp_path / "masks")))
    result = validate_chunk(chunk, Validation("d", "m", AllowedRoots((memory,)), masks))
    assert result.validated.num_rows == 1
    assert "TOPSECRET" not in str(result.validated.to_pylist())
    assert "signed.png" in result.validated["mask_url"][0].as_py()


@pytest.mark.parametrize("name", ["a@2x.png", "sub/a@2x.png"])
def test_a_remote_masks_name_is_recorded_whole(memory: str, tmp_path: Path, name: str) -> None:
    """What stands before an ``@`` is user information in a URL, but not in a relative path."""
    filesystem = fsspec.filesystem("memory")
    folder = memory.removeprefix("memory://") + "/in"
    filesystem.pipe_file(f"/{folder}/{name}", png(PIXELS))
    cell = json.dumps(segments_for([0, 1]))
    buffer = pa.BufferOutputStream()
    pq.write_table(
        pa.table({"reference_id": ["a"], "mask_url": [name], "segments": [cell]}), buffer
    )
    filesystem.pipe_file(f"/{folder}/m.parquet", buffer.getvalue().to_pybytes())
    manifest = Manifest.open([(Folder(f"{memory}/in"), "m.parquet", "m.parquet")])
    (chunk,) = manifest.chunks()
    masks = MaskStore(Folder(str(tmp_path / "masks")))
    result = validate_chunk(chunk, Validation("d", "m", AllowedRoots((memory,)), masks))
    assert result.validated["mask_url"].to_pylist() == [name]


# --- links


def test_a_link_out_of_the_root_names_its_target_and_what_to_allow(places: Path) -> None:
    day = places / "root/manifests/day"
    (day / "linked.png").symlink_to(places / "outside/mask.png")
    (day / "folder").symlink_to(places / "outside")
    for url in ("linked.png", "folder/mask.png"):
        message = refused(places, url).message
        assert f"a link leads to {places}/outside/mask.png" in message
        assert f"add {places}/outside to allowed_roots" in message
        assert read(places, url, str(places / "outside")) == png(PIXELS)


def test_a_link_whose_target_is_gone_names_the_target(places: Path) -> None:
    (places / "root/manifests/day/dangling.png").symlink_to(places / "root/gone.png")
    with pytest.raises(MaskRefused) as missing:
        read(places, "dangling.png")
    assert missing.value.rule == "FILE-MISSING"
    assert f"(it is a link to {places}/root/gone.png)" in missing.value.message


def test_a_path_written_as_on_windows_or_as_a_url_names_the_file_that_is_there(
    places: Path,
) -> None:
    (places / "root/manifests/day/a b").mkdir()
    (places / "root/manifests/day/a b/mask.png").write_bytes(png(PIXELS))
    for url in ("a b\\mask.png", "a%20b/mask.png"):
        with pytest.raises(MaskRefused) as missing:
            read(places, url)
        assert "there is one at a b/mask.png" in missing.value.message
    assert read(places, "a b/mask.png") == png(PIXELS)
