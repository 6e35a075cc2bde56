"""A root on S3: the same laws as on a disk, whatever the network and the store do meanwhile.

The server is real (``tests/fixtures/s3_server.py``), and so are the faults: a proxy in front of
it answers 503, cuts connections, or answers 500 to what was stored.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from segpipe.errors import SegpipeError, StorageError
from segpipe.publishing.catalog import open_catalog
from segpipe.publishing.maintenance import restore, unpublish
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.publication import Publication
from segpipe.publishing.vacuum import vacuum
from segpipe.root import Root
from segpipe.storage.object_store import object_store_options
from tests.fixtures.command_line import segpipe
from tests.fixtures.faults import Fault
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.s3_buckets import FlakyBucket, upload
from tests.fixtures.s3_server import ACCESS_KEY, SECRET_KEY, Bucket

ITEMS = {f"item-{number}": (0, number + 1, number + 50) for number in range(12)}

MakeProvenance = Callable[..., Provenance]


def land(bucket: Bucket, landing: LandingWriter, items: dict[str, Sequence[int]]) -> Root:
    """Write a partition's masks and manifest to the bucket; the root there."""
    landing.manifest([landing.row(id, values) for id, values in items.items()])
    upload(bucket, landing.root)
    return Root.open(f"{bucket.url}/root")


def publish(root: Root, provenance: Provenance, **how: Any) -> Publication:
    """Materialize and publish the partition; what came of it."""
    root.materialize(PARTITION)
    # As another process would: not knowing what was just stored.
    return Root(root.settings).publish(PARTITION, provenance=provenance, verify_masks=None, **how)


def published(root: Root) -> dict[str, tuple[int, ...]]:
    """Reference id -> indexes of its Segments, of a catalog that holds every item once."""
    rows = root.catalog.read(["reference_id", "segments"]).to_pylist()
    ids = [row["reference_id"] for row in rows]
    assert len(ids) == len(set(ids))
    return {row["reference_id"]: tuple(s["index"] for s in row["segments"]) for row in rows}


def outcomes(publication: Publication) -> dict[str, int]:
    """The outcomes that occurred."""
    assert publication.verification is not None
    assert publication.verification.mismatches == ()
    return {outcome: count for outcome, count in publication.outcomes.items() if count}


def told(publication: Publication) -> Counter[tuple[str, str]]:
    """Reference id and outcome of every receipt."""
    assert publication.receipts is not None
    with fsspec.open(publication.receipts, "rb") as handle:
        rows = pq.read_table(handle).to_pylist()
    return Counter((row["reference_id"], row["outcome"]) for row in rows)


def test_a_root_in_a_bucket_needs_nothing_but_the_usual_environment(
    s3: Bucket, landing: LandingWriter, tmp_path: Path
) -> None:
    root = land(s3, landing, ITEMS)
    run = ["run", "--root", f"{s3.url}/root", "--model-run", "unet", "--date", PARTITION.date]
    first = segpipe(*run, DAGSTER_HOME=str(tmp_path))
    assert (first.returncode, first.stderr) == (0, first.stderr)
    assert "12 inserted" in first.stdout
    again = segpipe(*run, DAGSTER_HOME=str(tmp_path))
    assert "12 unchanged" in again.stdout
    assert published(root) == ITEMS
    assert open_catalog(f"{s3.url}/root").read(["reference_id"]).num_rows == len(ITEMS)


def test_credentials_may_stand_in_the_settings_instead(
    s3: Bucket,
    landing: LandingWriter,
    provenance: MakeProvenance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    land(s3, landing, ITEMS)
    for name in s3.environment:
        monkeypatch.delenv(name)
    settings = "[storage_options]\n"
    settings += "".join(
        f"{name} = {json.dumps(value)}\n"
        for name, value in s3.fsspec_options.items()
        if isinstance(value, str)
    )
    settings += f"client_kwargs = {{region_name = '{s3.environment['AWS_REGION']}'}}\n"
    (landing.root / "local").mkdir()
    places = "".join(
        f"{place} = '{s3.url}/root/{place}'\n"
        for place in ("manifests", "validated", "masks", "catalog")
    )
    (landing.root / "local" / "segpipe.toml").write_text(places + settings)
    root = Root.open(str(landing.root / "local"))
    assert outcomes(publish(root, provenance())) == {"inserted": 12}
    assert published(root) == ITEMS
    # Masks that are not beside the root are named by where they are.
    path = root.catalog.read(["mask_path"])["mask_path"][0].as_py()
    assert path.startswith(f"{s3.url}/root/masks/")


def test_the_laws_of_update_hold_in_a_bucket(
    s3: Bucket, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    root = land(s3, landing, ITEMS)
    assert outcomes(publish(root, provenance())) == {"inserted": 12}
    changed = {**ITEMS, "item-0": (7, 8), "new": (1, 2)}
    root = land(s3, landing, changed)
    assert outcomes(publish(root, provenance())) == {
        "inserted": 1, "unchanged": 11, "ignored": 1,
    }  # fmt: skip
    assert published(root) == {**changed, "item-0": ITEMS["item-0"]}
    assert outcomes(publish(root, provenance(update=True))) == {"unchanged": 12, "replaced": 1}
    assert published(root) == changed


def test_an_unchanged_rerun_writes_neither_masks_nor_rows(
    flaky_s3: FlakyBucket, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    root = land(flaky_s3, landing, ITEMS)
    publish(root, provenance())
    flaky_s3.proxy.forget()
    assert outcomes(publish(root, provenance())) == {"unchanged": 12}
    there = re.compile(r"/root/(masks|catalog/predictions)/")
    stored = [
        passed
        for passed in flaky_s3.proxy.log
        if passed.method in ("PUT", "POST") and there.search(passed.path) and passed.status < 300
    ]
    assert stored == []


def test_history_restore_and_unpublish_work_in_a_bucket(
    s3: Bucket, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    root = land(s3, landing, ITEMS)
    publish(root, provenance())
    before = root.catalog.version()
    assert before is not None
    assert unpublish(root.catalog, "default", "unet", "u", reference_ids=["item-3"]) == 1
    assert "item-3" not in published(root)
    restore(root.catalog, before, "r")
    assert published(root) == ITEMS
    swept = vacuum(root.catalog, root.settings.folder("validated"), dry_run=False)
    assert (swept.table_files, swept.mask_files) == (0, 0)
    assert published(root) == ITEMS


WHERE = {
    "a mask that is read": ("GET", r"/manifests/.*\.png"),
    "a mask that is stored": ("PUT", r"/root/masks/"),
    "a mask that is looked for": ("HEAD", r"/root/masks/"),
    "a table of the partition": ("PUT", r"/validated/"),
    "a file of the catalog": ("PUT", r"/predictions/dataset"),
    "the commit": ("PUT", r"/_delta_log/0+1\.json"),
    "the catalog's log": ("GET", r"_delta_log"),
    "the catalog's rows": ("GET", r"/predictions/dataset"),
    "the receipts": ("PUT", r"/receipts/"),
}
FAULTS = [Fault.SLOW_DOWN, Fault.CUT, Fault.CUT_IN_ANSWER, Fault.STORED_BUT_500]


# The others are slow tests: each fault once, and each place once.
_TRIED_FIRST = {
    Fault.SLOW_DOWN: {"a mask that is stored", "the catalog's rows"},
    Fault.CUT: {"a mask that is looked for", "a file of the catalog"},
    Fault.CUT_IN_ANSWER: {"a mask that is read", "the catalog's log"},
    Fault.STORED_BUT_500: {"the commit", "a table of the partition", "the receipts"},
}


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        pytest.param(
            fault,
            where,
            id=f"{fault.name.lower()}-{where}",
            marks=[] if where in _TRIED_FIRST[fault] else [pytest.mark.slow],
        )
        for fault in FAULTS
        for where in WHERE
    ],
)
def test_a_fault_on_the_way_changes_nothing(
    flaky_s3: FlakyBucket,
    landing: LandingWriter,
    provenance: MakeProvenance,
    fault: Fault,
    where: str,
) -> None:
    root = land(flaky_s3, landing, ITEMS)
    method, path = WHERE[where]
    if fault is Fault.CUT_IN_ANSWER and method != "GET":
        fault = Fault.STORED_THEN_CUT
    rule = flaky_s3.proxy.fail(fault, method=method, path=path, nth=1)
    publication = publish(root, provenance())
    assert rule.happened == 1
    assert outcomes(publication) == {"inserted": 12}
    assert told(publication) == Counter((id, "inserted") for id in ITEMS)
    assert published(root) == ITEMS


@pytest.mark.parametrize("fault", [Fault.STORED_BUT_500, Fault.STORED_THEN_CUT])
def test_a_replacing_commit_whose_answer_is_lost_is_told_as_what_it_did(
    flaky_s3: FlakyBucket, landing: LandingWriter, provenance: MakeProvenance, fault: Fault
) -> None:
    root = land(flaky_s3, landing, ITEMS)
    publish(root, provenance())
    changed = {**ITEMS, "item-0": (7, 8), "new": (1, 2)}
    root = land(flaky_s3, landing, changed)
    rule = flaky_s3.proxy.fail(fault, method="PUT", path=r"_delta_log/0+2\.json", nth=1)
    publication = publish(root, provenance(update=True))
    assert rule.happened == 1
    assert outcomes(publication) == {"inserted": 1, "unchanged": 11, "replaced": 1}
    assert published(root) == changed


@pytest.mark.slow
def test_two_publishers_on_a_bad_line_end_as_one_after_the_other(
    flaky_s3: FlakyBucket, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    root = land(flaky_s3, landing, ITEMS)
    root.materialize(PARTITION)
    for fault in (Fault.SLOW_DOWN, Fault.CUT, Fault.STORED_BUT_500, Fault.STORED_THEN_CUT):
        flaky_s3.proxy.fail(fault, path=r"/root/(catalog|masks)/", probability=0.03)
    flaky_s3.proxy.fail(Fault.DELAY, path=r"_delta_log", probability=0.2, seconds=0.1)
    counted: list[dict[str, int]] = []

    def publisher() -> None:
        own = Root(replace(root.settings, publish_rows=4))
        publication = own.publish(PARTITION, provenance=provenance())
        counted.append(outcomes(publication))

    threads = [threading.Thread(target=publisher) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flaky_s3.proxy.heal()
    together = sum(map(Counter, counted), Counter())
    assert together == {"inserted": 12, "unchanged": 12}
    assert published(root) == ITEMS


@pytest.mark.slow
def test_a_store_that_fails_for_good_is_said_and_a_rerun_completes(
    flaky_s3: FlakyBucket,
    landing: LandingWriter,
    provenance: MakeProvenance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("segpipe.storage.object_store.RETRYING", {"max_retries": 1})
    root = land(flaky_s3, landing, ITEMS)
    rule = flaky_s3.proxy.fail(Fault.SLOW_DOWN, method="PUT", path=r"/root/masks/")
    with pytest.raises(StorageError, match=r"writing s3://.*/masks failed|writing s3://.*\.png"):
        publish(root, provenance())
    assert rule.happened
    flaky_s3.proxy.heal()
    assert outcomes(publish(root, provenance())) == {"inserted": 12}


def test_a_bucket_that_does_not_exist_is_one_sentence(
    s3: Bucket, landing: LandingWriter, tmp_path: Path
) -> None:
    run = ["run", "--root", "s3://no-such-bucket/root", "--model-run", "unet"]
    ended = segpipe(*run, "--date", PARTITION.date, DAGSTER_HOME=str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "no-such-bucket" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_no_credential_is_ever_shown_or_kept(
    flaky_s3: FlakyBucket, landing: LandingWriter, tmp_path: Path
) -> None:
    land(flaky_s3, landing, ITEMS)
    options = "".join(
        f"{name} = {json.dumps(value)}\n"
        for name, value in flaky_s3.fsspec_options.items()
        if isinstance(value, str)
    )
    flaky_s3.client().put_object(
        Bucket=flaky_s3.name,
        Key="root/segpipe.toml",
        Body=f"[storage_options]\n{options}".encode(),
    )
    # One run that works, and one that cannot write its commit.
    run = ["run", "--root", f"{flaky_s3.url}/root", "--model-run", "unet"]
    said = ""
    for _ in range(2):
        ended = segpipe(*run, "--date", PARTITION.date, DAGSTER_HOME=str(tmp_path / "home"))
        said += ended.stdout + ended.stderr
        flaky_s3.client().delete_object(
            Bucket=flaky_s3.name, Key="root/catalog/predictions/_delta_log/" + "0" * 20 + ".json"
        )
    assert "error: " in said
    kept = b"".join(p.read_bytes() for p in (tmp_path / "home").rglob("*") if p.is_file())
    written = b"".join(
        flaky_s3.client().get_object(Bucket=flaky_s3.name, Key=key)["Body"].read()
        for key in flaky_s3.keys("root/")
        if not key.endswith(("segpipe.toml", ".png"))
    )
    root = Root.open(f"{flaky_s3.url}/root")
    shown = repr(root) + repr(root.catalog) + repr(root.masks) + repr(root.landing)
    for secret in (SECRET_KEY, ACCESS_KEY):
        assert secret not in said + shown
        assert secret.encode() not in kept + written


def test_masks_in_a_bucket_are_judged_like_those_on_a_disk(
    s3: Bucket, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    big = landing.row("big")
    rows = [
        landing.row("good"),
        {**landing.row("missing"), "mask_url": "masks/nowhere.png"},
        {**landing.row("elsewhere"), "mask_url": "s3://other-bucket/x.png"},
        {**landing.row("climbing"), "mask_url": "../../../masks/x.png"},
        {**big, "reference_id": "absolute", "mask_url": f"{s3.url}/root/manifests/../x.png"},
    ]
    landing.manifest(rows)
    (landing.root / "segpipe.toml").write_text("[policy]\nmax_rejection_rate = 1.0\n")
    upload(s3, landing.root)
    root = Root.open(f"{s3.url}/root")
    summary = root.materialize(PARTITION)
    rejected = root.validated(PARTITION).rejected(100)
    found = dict(
        zip(rejected["reference_id"].to_pylist(), rejected["rule"].to_pylist(), strict=True)
    )
    assert summary.accepted == 1
    assert found == {
        "missing": "FILE-MISSING",
        "elsewhere": "URL-REFUSED",
        "climbing": "FILE-MISSING",
        "absolute": "FILE-MISSING",
    }
    assert outcomes(root.publish(PARTITION, provenance=provenance())) == {"inserted": 1}


def test_a_mask_over_the_limit_is_not_fetched_from_a_bucket(
    flaky_s3: FlakyBucket, landing: LandingWriter
) -> None:
    landing.manifest([landing.row("small"), landing.row("large")])
    path = landing.folder(PARTITION) / "masks" / "large.png"
    path.write_bytes(path.read_bytes() + bytes(3_000_000))
    (landing.root / "segpipe.toml").write_text("[policy]\nmax_bytes = 100_000\n")
    upload(flaky_s3, landing.root)
    flaky_s3.proxy.forget()
    root = Root.open(f"{flaky_s3.url}/root")
    summary = root.materialize(PARTITION)
    assert (summary.accepted, summary.findings.get("TOO-LARGE")) == (1, 1)


@pytest.mark.parametrize(
    ("url", "given", "expected"),
    [
        ("memory://x", {"key": "k"}, None),
        ("/a/path", {}, None),
        (
            "s3://b/x",
            {"key": "k", "secret": "s", "token": "t"},
            {
                "AWS_CONDITIONAL_PUT": "etag",
                "AWS_ACCESS_KEY_ID": "k",
                "AWS_SECRET_ACCESS_KEY": "s",
                "AWS_SESSION_TOKEN": "t",
            },
        ),
        (
            "s3://b/x",
            {"anon": True, "endpoint_url": "http://127.0.0.1:9"},
            {
                "AWS_CONDITIONAL_PUT": "etag",
                "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
                "AWS_SKIP_SIGNATURE": "true",
                "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": "us-east-1",
            },
        ),
        ("s3://b/x", {"AWS_REGION": "eu-1"}, {"AWS_CONDITIONAL_PUT": "etag", "AWS_REGION": "eu-1"}),
        ("gs://b/x", {"token": "anon"}, {"GOOGLE_SKIP_SIGNATURE": "true"}),
        ("gs://b/x", {"token": "/keys/a.json"}, {"GOOGLE_SERVICE_ACCOUNT": "/keys/a.json"}),
        ("abfs://c/x", {"account_name": "a"}, {"AZURE_STORAGE_ACCOUNT_NAME": "a"}),
    ],
)
def test_options_in_fsspecs_words_are_told_to_the_delta_table_in_its_own(
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    given: dict[str, Any],
    expected: dict[str, str] | None,
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    assert object_store_options(url, given) == expected


def test_a_profile_that_does_not_exist_is_said_in_words(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch, landing: LandingWriter
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(SegpipeError, match="nobody"):
        Root.open(f"{s3.url}/root").manifest(PARTITION)


@pytest.mark.slow
def test_without_credentials_every_command_says_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        "DAGSTER_HOME": str(tmp_path),
    }
    for command in ("history", "nucleus-server"):
        done = subprocess.run(
            [sys.executable, "-m", "segpipe", command, "--root", "s3://bucket/root"],
            env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "no usable credentials were found" in done.stderr
