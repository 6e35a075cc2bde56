"""What is promised of one store holds on S3, Google Cloud Storage and Azure alike."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from segpipe.errors import SegpipeError
from segpipe.formats.manifest_writer import ManifestWriter
from segpipe.predictions.prediction import Segment
from segpipe.publishing.catalog import Catalog, open_catalog
from segpipe.publishing.maintenance import optimize
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.sources import AllowedRoots
from tests.fixtures.azure_server import ACCOUNT, AzureBucket
from tests.fixtures.buckets import AnyBucket, Flaky
from tests.fixtures.command_line import invoked
from tests.fixtures.faults import Fault
from tests.fixtures.gcs_server import Door, GcsBucket, GcsServer
from tests.fixtures.landing import PARTITION, LandingWriter, MakeProvenance, striped_mask
from tests.fixtures.prediction_batches import prediction_batch
from tests.fixtures.s3_buckets import upload
from tests.fixtures.stores import (
    Server,
    lead_to,
    on_every_store,
)

SECRET = "cnVubmluZy1yaXZlcg=="
#: A refusal comes within this time, in seconds; requests that are refused are not repeated.
AT_ONCE = 5.0


def said(work: Callable[[], object]) -> str:
    """What an operation is refused with: one sentence, without a library's trace or a secret."""
    started = time.monotonic()
    with pytest.raises(SegpipeError) as refused:
        work()
    assert time.monotonic() - started < AT_ONCE
    words = str(refused.value)
    assert "\n" not in words
    for foreign in ("Traceback", "Generic ", "RetryError", "Error performing", SECRET, "<Error>"):
        assert foreign not in words
    return words


@on_every_store
def test_a_bucket_that_is_not_there_is_named_when_reading_and_when_writing(
    bucket: AnyBucket,
) -> None:
    url = f"{bucket.url}-gone"
    name = url.rpartition("/")[2]
    for work in (
        lambda: Root.open(url),
        lambda: open_catalog(f"{url}/root"),
        lambda: Folder(url).write("x", b"1"),
        lambda: MaskStore(Folder(url)).put(b"1"),
        lambda: list(Root(replace(Root.open(bucket.url).settings, manifests=url)).partitions()),
    ):
        assert f"there is no bucket or container named {name}" in said(work)


@on_every_store
@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.FORBIDDEN])
def test_a_store_that_refuses_is_one_sentence_at_once(flaky: Flaky, fault: Fault) -> None:
    folder = Folder(f"{flaky.bucket.url}/root")
    flaky.proxy.fail(fault)
    for work in (
        lambda: Root.open(folder.url),
        lambda: folder.write("x", b"1"),
        lambda: folder.read("x"),
        lambda: list(folder.files()),
        lambda: open_catalog(folder.url),
    ):
        words = said(work)
        assert "the store refuses access" in words or "does not accept the credentials" in words


@pytest.mark.parametrize("store", ["azure"], indirect=True)
def test_azures_wrong_keys_and_expired_signatures_are_said(
    bucket: AzureBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("root/x", b"1")
    expired = bucket.account_signature(hours=-1)
    for variable in (
        f"AccountName={ACCOUNT};AccountKey={SECRET};BlobEndpoint={bucket.endpoint}",
        f"BlobEndpoint={bucket.endpoint};SharedAccessSignature={expired}",
    ):
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", variable)
        folder = Folder(f"{bucket.url}/root")
        for work in (lambda: Root.open(folder.url), lambda: folder.read("x")):  # noqa: B023
            words = said(work)
            assert "credentials" in words
            assert expired.rpartition("sig=")[2] not in words


@pytest.mark.parametrize(
    ("url", "variable"),
    [("gs://bucket/x", "GCE_METADATA_HOST"), ("az://c/x", "AZURE_POD_IDENTITY_AUTHORITY_HOST")],
)
def test_who_has_no_credentials_is_told_where_they_belong(
    url: str,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    gcs_server: GcsServer,
) -> None:
    lead_to(GcsBucket("", ""), monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv(variable, "127.0.0.1:9")  # no cloud's own service answers there
    assert "no usable credentials were found for" in said(lambda: Root.open(url))


@on_every_store
def test_keys_of_any_characters_and_large_objects_come_back(bucket: AnyBucket) -> None:
    folder = Folder(f"{bucket.url}/root")
    names = ["a b/c+d/é ü/日本.png", "run=a%2Fb/part%20x.png", "?what#why&so=that.png", "Case.png"]
    for number, name in enumerate(names):
        content = bytes([number]) * 1000
        folder.write(name, content)
        assert bucket.get(f"root/{name}") == folder.read(name) == content
        assert folder.open_input(name).read() == content
        stored = folder.stored(name)
        assert stored is not None
        assert abs((datetime.now(UTC) - stored.modified).total_seconds()) < 60
    below = {file.path.partition("/root/")[2]: file.modified for file in folder.files()}
    assert set(below) == set(names)
    for name in names:
        stored = folder.stored(name)
        assert stored is not None
        assert abs((stored.modified - below[name]).total_seconds()) <= 1  # in whole seconds
    large = bytes(range(256)) * 50_000
    folder.write("large", large)
    assert folder.read("large") == large
    folder.remove("large")
    folder.remove("large")
    assert not folder.exists("large")


@on_every_store
def test_masks_are_read_from_another_bucket_and_by_signed_urls(
    bucket: AnyBucket, store: Server
) -> None:
    other = store.new_bucket()
    other.put("masks/a b.png", b"mask")
    signed = other.readable("masks/a b.png")
    roots = AllowedRoots((f"{other.url}/masks", other.endpoint))
    for url in (f"{other.url}/masks/a b.png", signed):
        source = roots.resolve(url, f"{bucket.url}/manifests")
        assert roots.read(source) == b"mask"
        assert "sig" not in source.shown.lower()


@pytest.mark.slow
@on_every_store
def test_masks_and_catalog_in_buckets_of_their_own(
    bucket: AnyBucket, store: Server, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    masks, catalog = store.new_bucket(), store.new_bucket()
    landing.manifest([landing.row("a"), landing.row("b", (0, 1))])
    places = f"masks = '{masks.url}/m'\ncatalog = '{catalog.url}/c'\n"
    (landing.root / "segpipe.toml").write_text(places)
    upload(bucket, landing.root)
    root = Root.open(f"{bucket.url}/root")
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    found = open_catalog(f"{catalog.url}/c")
    for path, sha256 in zip(*(found.read(["mask_path", "mask_sha256"]).columns), strict=True):
        assert path.as_py().startswith(f"{masks.url}/m/")
        assert found.masks.is_right(sha256.as_py())


@pytest.mark.slow
@on_every_store
def test_a_mask_costs_as_many_requests_on_each_store(
    flaky: Flaky, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    landing.manifest([landing.row(f"item-{number}", (0, number + 1)) for number in range(10)])
    upload(flaky.bucket, landing.root)
    root = Root.open(f"{flaky.bucket.url}/root")

    def asked(work: Callable[[Root], object]) -> dict[tuple[str, str], int]:
        flaky.proxy.forget()
        work(root)
        masks = [
            (found[1], one.method)
            for one in flaky.proxy.log
            if (found := re.search(r"/root/(manifests|masks)/.*\.png$", unquote(one.path)))
        ]
        return dict(Counter(masks))

    def publish(root: Root) -> None:
        root.publish(PARTITION, provenance=provenance(), verify_masks=0)

    assert asked(lambda root: root.materialize(PARTITION)) == {
        ("manifests", "GET"): 10,
        ("masks", "PUT"): 10,
    }
    assert asked(publish) == {}
    root = Root(root.settings)  # as another process: not knowing what was just stored
    assert asked(lambda root: root.materialize(PARTITION)) == {
        ("manifests", "HEAD"): 10,
        ("masks", "HEAD"): 10,
    }
    assert asked(publish) == {}


@pytest.mark.slow
@pytest.mark.parametrize("store", ["azure"], indirect=True)
def test_an_azure_root_of_an_url_with_its_account_and_a_signature(
    bucket: AzureBucket,
    landing: LandingWriter,
    provenance: MakeProvenance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 1))])
    upload(bucket, landing.root)
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", bucket.endpoint)
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", bucket.account_signature())
    url = f"abfss://{bucket.name}@{ACCOUNT}.dfs.core.windows.net/root"
    root = Root.open(url)
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    found = open_catalog(url)
    assert found.read(["reference_id"]).num_rows == 2
    for sha256 in found.read(["mask_sha256"])["mask_sha256"].to_pylist():
        assert found.masks.is_right(sha256)


class TestConditionalPuts:
    def test_where_they_are_not_held_nothing_is_published_unless_one_publishes_alone(
        self,
        gcs_server: GcsServer,
        landing: LandingWriter,
        provenance: MakeProvenance,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with Door(gcs_server.inside, conditional=False) as door:
            bucket = gcs_server.new_bucket().at(door.endpoint)
            lead_to(bucket, monkeypatch)
            landing.manifest([landing.row("a")])
            upload(bucket, landing.root)
            root = Root.open(f"{bucket.url}/root")
            root.materialize(PARTITION)
            advice = "single_publisher = true"
            assert advice in said(lambda: root.publish(PARTITION, provenance=provenance()))
            assert advice in said(lambda: optimize(root.catalog, "o"))
            assert root.catalog.version() is None
            bucket.put("root/segpipe.toml", advice.encode())
            root = Root.open(f"{bucket.url}/root")
            root.publish(PARTITION, provenance=provenance())
            assert root.catalog.read(["reference_id"]).num_rows == 1

    @on_every_store
    def test_where_they_are_held_one_object_remembers_and_one_request_a_process_asks(
        self, flaky: Flaky
    ) -> None:
        asked = 0
        for expected in (2, 1, 0):
            folder = Folder(f"{flaky.bucket.url}/catalog")
            table = Catalog(folder, MaskStore(folder)).table
            if expected:  # as another process
                assert folder.objects is not None
                folder.objects._holds_conditions = None
            table.check_writable()
            puts = [one for one in flaky.proxy.log if one.method == "PUT"]
            assert len(puts) - asked == expected
            asked = len(puts)
        assert flaky.bucket.keys() == ["catalog/.conditional-put"]


@pytest.mark.slow
@on_every_store
def test_two_publishers_of_ten_rounds_each_lose_and_double_nothing(bucket: AnyBucket) -> None:
    folder = Folder(f"{bucket.url}/root")

    def publisher(number: int) -> None:
        masks = MaskStore(folder.folder("masks"))
        catalog = Catalog(folder.folder("catalog"), masks)
        for turn in range(10):
            catalog.publish(
                prediction_batch({f"{number}-{turn}": turn % 3}, masks),
                masks,
                Provenance(
                    dataset="default", model_run="unet", partition="2026-01-05",
                    run_id=f"{number}-{turn}", time=datetime.now(UTC), update=False,
                ),
            )  # fmt: skip

    threads = [threading.Thread(target=publisher, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = Counter(open_catalog(folder.url).read(["reference_id"])["reference_id"].to_pylist())
    assert found == Counter(f"{number}-{turn}" for number in range(2) for turn in range(10))


@pytest.mark.slow
@on_every_store
def test_the_whole_way_by_commands(
    bucket: AnyBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    url = f"{bucket.url}/root"
    root, of = ["--root", url], ["--model-run", PARTITION.model_run]
    run = ["run", *root, *of, "--date", PARTITION.date]

    def written(first: int) -> None:
        where = {"model_run": PARTITION.model_run, "date": PARTITION.date}
        with ManifestWriter(url, **where, replace=True) as writer:
            for id, value in (("a", first), ("b", 2), ("c", 3)):
                segments = [Segment(f"class {index}", index) for index in (0, value)]
                writer.add(id, striped_mask((0, value)), segments)

    written(1)
    assert "3 inserted" in invoked(*run).output
    assert "3 unchanged" in invoked(*run).output
    written(5)
    assert "1 replaced" in invoked(*run, "--update").output
    newest = open_catalog(url).version()
    assert newest is not None
    assert "replaced" in invoked("history", *root).output
    assert "a" in invoked("diff", *root, newest - 1, newest).output
    show = ["show", *root, *of, "a", "--force", "--out", tmp_path / "a.png"]
    waits = "validated, not published"
    assert "class 5" in (found := invoked(*show).output) and waits not in found
    invoked("restore", *root, newest - 1)
    assert waits in invoked(*show).output
    invoked("unpublish", *root, *of, "c")
    invoked("optimize", *root)
    invoked("vacuum", *root, "--no-dry-run")
    sql = "SELECT reference_id FROM predictions ORDER BY 1"
    rows = invoked("query", *root, sql, "--format", "csv").output.split()
    assert rows == ["reference_id", "a", "b"]
    (tmp_path / "masks").mkdir()
    Image.fromarray(striped_mask((0, 1))).save(tmp_path / "masks" / "d.png")
    invoked(
        "import", "mask-folder", tmp_path / "masks", *root, "--objects", "thing", "--model-run",
        "other", "--date", PARTITION.date,
    )  # fmt: skip
    assert [one.model_run for one in Root.open(url).partitions()] == ["other", "unet"]
