"""Files written whole or not at all, and masks named by their content."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import SettingsError, StorageError
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import Folder, folder_name
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.redaction import redacted
from tests.fixtures.thoroughness import at_most


def stored_size(folder: Folder, name: str) -> int | None:
    """Bytes of a file as its folder tells them."""
    stored = folder.stored(name)
    return None if stored is None else stored.size


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """A folder on the local disk and one on a filesystem that has no rename."""
    if request.param == "local":
        yield Folder(str(tmp_path / "store"))
        return
    name = uuid.uuid4().hex
    yield Folder(f"memory://{name}")
    filesystem = fsspec.filesystem("memory")
    if filesystem.exists(f"/{name}"):
        filesystem.rm(f"/{name}", recursive=True)


def names(folder: Folder) -> list[str]:
    """All files below a folder, hidden ones included."""
    found = folder.filesystem.find(folder.path, withdirs=False)
    return sorted(str(path).removeprefix(folder.path).lstrip("/") for path in found)


# --- whole files


def test_what_is_written_is_read_back(folder: Folder) -> None:
    folder.write("a.txt", b"one")
    folder.write("sub/b.txt", b"two")
    assert folder.read("a.txt") == b"one"
    assert folder.folder("sub").read("b.txt") == b"two"
    assert (stored_size(folder, "a.txt"), stored_size(folder, "none")) == (3, None)
    assert (folder.exists("a.txt"), folder.exists("none")) == (True, False)
    with folder.open_input("a.txt") as handle:
        assert handle.read() == b"one"
    assert names(folder) == ["a.txt", "sub/b.txt"]


def test_writing_again_replaces(folder: Folder) -> None:
    folder.write("a.txt", b"a long first version")
    folder.write("a.txt", b"short")
    assert folder.read("a.txt") == b"short"
    assert names(folder) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError("bug"), OSError("disk"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_old_content_and_nothing_else(
    folder: Folder, error: BaseException
) -> None:
    folder.write("a.txt", b"old")
    with pytest.raises((RuntimeError, StorageError, KeyboardInterrupt)):  # noqa: SIM117
        with folder.open_output("a.txt") as output:
            output.write(b"half of the new")
            raise error
    assert folder.read("a.txt") == b"old"
    assert names(folder) == ["a.txt"]


def test_a_block_that_fails_leaves_no_file_where_there_was_none(folder: Folder) -> None:
    folder.write("other.txt", b"")
    with pytest.raises(RuntimeError), folder.open_output("a.txt") as output:
        output.write(b"half")
        raise RuntimeError("bug")
    assert names(folder) == ["other.txt"]


def test_nobody_sees_a_file_before_its_block_ends(folder: Folder) -> None:
    with folder.open_output("a.txt") as output:
        output.write(b"half")
        output.flush()
        assert not folder.exists("a.txt")
    assert folder.read("a.txt") == b"half"


def test_a_missing_file_is_a_storage_error_that_names_it(folder: Folder) -> None:
    for reading in (folder.read, folder.open_input):
        with pytest.raises(StorageError, match=r"reading .*/none\.txt failed"):
            reading("none.txt")


def test_removing_is_repeatable(folder: Folder) -> None:
    folder.write("a.txt", b"")
    folder.remove("a.txt")
    folder.remove("a.txt")
    assert not folder.exists("a.txt")


def test_a_file_where_a_folder_is_needed_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_bytes(b"")
    with pytest.raises(StorageError, match="a file is where a folder is needed"):
        Folder(str(tmp_path / "blocked")).write("a.txt", b"")


def test_a_name_that_is_too_long_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="too long"):
        Folder(str(tmp_path)).write("x" * 300, b"")


def test_a_full_disk_is_said_in_words_and_leaves_nothing() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with (
        pytest.raises(StorageError, match="the disk is full"),
        storage_errors("writing x"),
        Path("/dev/full").open("wb", buffering=0) as file,
    ):
        file.write(b"x")


@pytest.mark.parametrize("url", ["no-such-scheme://x", "s4://bucket/key"])
def test_an_unknown_scheme_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="cannot open"):
        Folder(url)


def test_secrets_of_a_folder_are_not_in_its_representation_nor_in_errors() -> None:
    folder = Folder("memory://user:TOPSECRET@place/in", {"token": "TOPSECRET"})
    with pytest.raises(StorageError) as failed:
        folder.read("none")
    for shown in (repr(folder), repr(MaskStore(folder)), str(failed.value)):
        assert "TOPSECRET" not in shown


@pytest.mark.parametrize("name", ["a b", "a#b", "a?b", "a%20b", "a::b", "größe", "[x]*"])
def test_folder_names_are_taken_literally(tmp_path: Path, name: str) -> None:
    Folder(str(tmp_path)).folder(name).write("a.txt", b"1")
    assert (tmp_path / name / "a.txt").read_bytes() == b"1"


# --- names from data


@settings(max_examples=at_most(100, 300), deadline=None)
@given(st.text(min_size=1, max_size=40) | st.text("./\\%~ \0", min_size=1, max_size=6))
def test_a_folder_name_is_one_component_that_gives_its_text_back(text: str) -> None:
    name = folder_name(text)
    assert unquote(name) == text
    assert not set("/\\\0") & set(name)
    assert not name.startswith(".")
    assert name.isascii()
    parent = Path("/srv/tables")
    assert (parent / name).resolve().parent == parent.resolve()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=6), st.text(max_size=6))
def test_different_texts_have_different_folder_names(one: str, other: str) -> None:
    assert (folder_name(one) == folder_name(other)) == (one == other)


@pytest.mark.parametrize("text", ["unet-v1.2_final", "2026-01-05", "UNet"])
def test_plain_names_stay_readable(text: str) -> None:
    assert folder_name(text) == text


# --- masks named by their content


def test_a_mask_is_named_by_the_digest_of_its_bytes(folder: Folder) -> None:
    store = MaskStore(folder)
    sha256 = store.put(b"mask")
    assert sha256 == hashlib.sha256(b"mask").hexdigest()
    assert names(folder) == [f"{sha256[:2]}/{sha256}.png"]
    assert store.has(sha256)
    assert not store.has("0" * 64)
    assert store.read(sha256) == b"mask"


def test_putting_a_mask_again_does_nothing(folder: Folder) -> None:
    store = MaskStore(folder)
    sha256 = store.put(b"mask")
    before = folder.filesystem.info(folder.path_of(store.name_of(sha256)))
    assert store.put(b"mask") == MaskStore(folder).put(b"mask") == sha256
    assert folder.filesystem.info(folder.path_of(store.name_of(sha256))) == before
    assert len(names(folder)) == 1


def test_a_mask_damaged_by_a_cut_of_the_power_is_written_again(folder: Folder) -> None:
    store = MaskStore(folder)
    sha256 = store.put(b"mask")
    # What is put into an object store is there whole or not at all.
    for relic in (b"", b"ma", *([bytes(4)] if folder.is_local else [])):
        folder.write(store.name_of(sha256), relic)
        assert store.put(b"mask") == sha256
        assert store.read(sha256) == b"mask"


def test_masks_put_at_the_same_time_are_whole(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "masks"))
    stores = [MaskStore(folder), MaskStore(folder)]
    contents = [bytes([i % 7]) * 50_000 for i in range(60)]
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(lambda i: stores[i % 2].put(contents[i]), range(60)))
    assert len(set(digests)) == 7
    assert names(folder) == sorted(MaskStore.name_of(digest) for digest in set(digests))
    for digest, content in zip(digests, contents, strict=True):
        assert stores[0].read(digest) == content


def test_a_mask_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"mask").hexdigest()
    (tmp_path / digest[:2]).write_bytes(b"a file in the way")
    with pytest.raises(StorageError, match="a file is where a folder is needed"):
        MaskStore(Folder(str(tmp_path))).put(b"mask")
    assert [path.name for path in tmp_path.iterdir()] == [digest[:2]]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://AKIA:abc/def@bucket/k", "s3://bucket/k"),
        ("https://u:p#w@host/a", "https://host/a"),
        ("https://u:p@w@host/a", "https://host/a"),
        ("https://user@host/a", "https://host/a"),
        ("s3://bucket/a@2x.png", "s3://bucket/a@2x.png"),
        ("https://host/a?sig=TOPSECRET#x", "https://host/a?..."),
    ],
)
def test_secrets_in_urls_are_hidden_and_names_are_not(url: str, shown: str) -> None:
    assert redacted(url) == shown
