"""Keys are keys: what a bucket and a disk make of the same URL, and what is no key at all."""

from __future__ import annotations

import importlib.util

import pytest

from segpipe.errors import SettingsError
from segpipe.publishing.table import PredictionsTable
from segpipe.root import Root
from segpipe.storage.files import Folder, open_filesystem
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.s3_buckets import upload
from tests.fixtures.s3_server import Bucket

#: mask_url -> whether the mask it means is read, on a disk and in a bucket alike.
URLS = {
    "masks/plain.png": True,
    "./masks/dot.png": True,
    "masks//empty.png": True,
    "masks/././dots.png": True,
    "masks/nowhere/../up.png": True,
    "../date=2026-01-05/masks/around.png": True,
    "masks/a%20b.png": True,
    "masks/[x] a^b|c#d.png": True,
    "masks/Größe.png": True,
    "masks/c%20d.png": False,
    "masks/gone\nforever.png": False,
    "../../../../../masks/out.png": False,
}


def land(landing: LandingWriter) -> None:
    """A partition with a row for each URL, whose reference id it is."""
    rows = []
    for number, url in enumerate(URLS):
        name = url.rpartition("/")[2].removesuffix(".png")
        name = {"c%20d": "c d", "gone\nforever": "x"}.get(name, name)
        rows.append({**landing.row(str(number), (0, number + 1), name=name), "mask_url": url})
    landing.manifest(rows)
    (landing.root / "segpipe.toml").write_text("[policy]\nmax_rejection_rate = 1.0\n")


def judged(root: Root) -> tuple[dict[str, bool], dict[str, str]]:
    """URL -> whether it was read; URL -> what was said of those that were not."""
    root.materialize(PARTITION)
    rejected = root.validated(PARTITION).rejected(100).to_pylist()
    urls = dict(zip(map(str, range(len(URLS))), URLS, strict=True))
    said = {urls[row["reference_id"]]: row["message"] for row in rejected}
    return {url: url not in said for url in URLS}, said


def test_a_disk_and_a_bucket_read_the_same_urls(s3: Bucket, landing: LandingWriter) -> None:
    land(landing)
    on_disk, said_on_disk = judged(Root.open(str(landing.root)))
    upload(s3, landing.root)
    in_bucket, said_in_bucket = judged(Root.open(f"{s3.url}/root"))
    assert on_disk == URLS
    assert in_bucket == URLS
    for said in (said_on_disk, said_in_bucket):
        assert (
            "there is one at masks/c d.png: nothing is percent-decoded" in (said["masks/c%20d.png"])
        )
        assert "gone\\nforever.png" in said["masks/gone\nforever.png"]
    assert "control characters" in said_in_bucket["masks/gone\nforever.png"]


@pytest.mark.parametrize("name", ["[x]", "My%20Drive", "a#b"])
def test_a_catalog_where_the_delta_library_would_go_astray_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="name another place as `catalog`"):
        PredictionsTable(Folder(f"memory://bucket/{name}/catalog"), "masks").open()


def test_packages_that_are_missing_are_named_as_segpipes_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = {"gcsfs", "adlfs", "s3fs"}
    known = importlib.util.find_spec
    monkeypatch.setattr(
        "segpipe.extras.find_spec",
        lambda name: None if name in missing else known(name),
    )
    for scheme, extra in (("gs", "gcs"), ("abfs", "azure"), ("GS", "gcs"), ("s3", "s3")):
        with pytest.raises(SettingsError, match=rf"pip install 'segpipe\[{extra}\]'"):
            open_filesystem(f"{scheme}://bucket/x")


def test_an_azure_account_without_its_domain_is_written_out() -> None:
    with pytest.raises(SettingsError) as refused:
        open_filesystem("abfss://masks@account/x/y")
    assert "write abfss://masks@account.dfs.core.windows.net/x/y" in str(refused.value)
