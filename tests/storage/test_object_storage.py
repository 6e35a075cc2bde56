"""A root on S3, Google Cloud Storage and Azure: the same laws as on a disk, whatever the network
and the store do meanwhile.

The servers are real (``tests/fixtures/stores.py``), and so are the faults: a proxy in front of
them answers 503, cuts connections, or answers 500 to what was stored.
"""

from __future__ import annotations

import io
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
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest

from segpipe.errors import SegpipeError, StorageError
from segpipe.publishing.catalog import open_catalog
from segpipe.publishing.maintenance import restore, unpublish
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.publication import Publication
from segpipe.publishing.vacuum import vacuum
from segpipe.root import Root
from segpipe.storage.files import Folder
from tests.fixtures.buckets import AnyBucket, Flaky
from tests.fixtures.command_line import segpipe
from tests.fixtures.faults import Fault
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.s3_buckets import upload
from tests.fixtures.stores import STORES, on_every_store_in_time
from tests.fixtures.thoroughness import EXHAUSTIVE

ITEMS = {f"item-{number}": (0, number + 1, number + 50) for number in range(6)}

MakeProvenance = Callable[..., Provenance]


def land(bucket: AnyBucket, landing: LandingWriter, items: dict[str, Sequence[int]]) -> Root:
    """Write a partition's masks and manifest to the bucket; the root there."""
    landing.manifest([landing.row(id, values) for id, values in items.items()])
    upload(bucket, landing.root)
    return Root.open(f"{bucket.url}/root")


def storage_options(bucket: AnyBucket) -> str:
    """A bucket's credentials and endpoint as ``segpipe.toml`` has them."""
    lines = ["[storage_options]"]
    for name, value in bucket.fsspec_options.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{key} = {json.dumps(text)}" for key, text in value.items())
            lines.append(f"{name} = {{{inner}}}")
        else:
            lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(lines)


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
    folder, _, name = publication.receipts.rpartition("/")
    rows = pq.read_table(io.BytesIO(Folder(folder).read(name))).to_pylist()
    return Counter((row["reference_id"], row["outcome"]) for row in rows)


def test_a_root_in_a_bucket_needs_nothing_but_the_usual_environment(
    bucket: AnyBucket, landing: LandingWriter, tmp_path: Path
) -> None:
    root = land(bucket, landing, ITEMS)
    run = ["run", "--root", f"{bucket.url}/root", "--model-run", "unet", "--date", PARTITION.date]
    first = segpipe(*run, DAGSTER_HOME=str(tmp_path))
    assert (first.returncode, first.stderr) == (0, first.stderr)
    assert "6 inserted" in first.stdout
    again = segpipe(*run, DAGSTER_HOME=str(tmp_path))
    assert "6 unchanged" in again.stdout
    assert published(root) == ITEMS
    assert open_catalog(f"{bucket.url}/root").read(["reference_id"]).num_rows == len(ITEMS)


@on_every_store_in_time
def test_credentials_may_stand_in_the_settings_instead(
    bucket: AnyBucket,
    landing: LandingWriter,
    provenance: MakeProvenance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    land(bucket, landing, ITEMS)
    for name in bucket.environment:
        monkeypatch.delenv(name)
    settings = storage_options(bucket)
    (landing.root / "local").mkdir()
    places = "".join(
        f"{place} = '{bucket.url}/root/{place}'\n"
        for place in ("manifests", "validated", "masks", "catalog")
    )
    (landing.root / "local" / "segpipe.toml").write_text(places + settings)
    root = Root.open(str(landing.root / "local"))
    assert outcomes(publish(root, provenance())) == {"inserted": 6}
    assert published(root) == ITEMS
    # Masks that are not beside the root are named by where they are.
    path = root.catalog.read(["mask_path"])["mask_path"][0].as_py()
    assert path.startswith(f"{bucket.url}/root/masks/")


@on_every_store_in_time
def test_the_laws_of_update_hold_in_a_bucket(
    bucket: AnyBucket, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    root = land(bucket, landing, ITEMS)
    assert outcomes(publish(root, provenance())) == {"inserted": 6}
    changed = {**ITEMS, "item-0": (7, 8), "new": (1, 2)}
    root = land(bucket, landing, changed)
    assert outcomes(publish(root, provenance())) == {
        "inserted": 1, "unchanged": 5, "ignored": 1,
    }  # fmt: skip
    assert published(root) == {**changed, "item-0": ITEMS["item-0"]}
    assert outcomes(publish(root, provenance(update=True))) == {"unchanged": 6, "replaced": 1}
    assert published(root) == changed


@on_every_store_in_time
def test_an_unchanged_rerun_writes_neither_masks_nor_rows(
    flaky: Flaky, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    root = land(flaky.bucket, landing, ITEMS)
    publish(root, provenance())
    flaky.proxy.forget()
    assert outcomes(publish(root, provenance())) == {"unchanged": 6}
    there = re.compile(r"/root/(masks|catalog/predictions)/")
    stored = [
        passed
        for passed in flaky.proxy.log
        if passed.method in ("PUT", "POST")
        and there.search(unquote(passed.path))
        and (passed.status or 500) < 300
    ]
    assert stored == []


@on_every_store_in_time
def test_history_restore_and_unpublish_work_in_a_bucket(
    bucket: AnyBucket, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    root = land(bucket, landing, ITEMS)
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
    ("store", "fault", "where"),
    [
        pytest.param(
            store,
            fault,
            where,
            id=f"{store}-{fault.name.lower()}-{where}",
            marks=[] if store == "s3" and where in _TRIED_FIRST[fault] else [pytest.mark.slow],
        )
        for store in STORES
        for fault in FAULTS
        for where in WHERE
        # Elsewhere each fault once; all of them take minutes.
        if store == "s3" or where == min(_TRIED_FIRST[fault]) or EXHAUSTIVE
    ],
    indirect=["store"],
)
def test_a_fault_on_the_way_changes_nothing(
    flaky: Flaky,
    landing: LandingWriter,
    provenance: MakeProvenance,
    fault: Fault,
    where: str,
) -> None:
    root = land(flaky.bucket, landing, ITEMS)
    method, path = WHERE[where]
    if fault is Fault.CUT_IN_ANSWER and method != "GET":
        fault = Fault.STORED_THEN_CUT
    rule = flaky.fail(fault, method, path, nth=1)
    publication = publish(root, provenance())
    assert rule.happened == 1
    assert outcomes(publication) == {"inserted": 6}
    assert told(publication) == Counter((id, "inserted") for id in ITEMS)
    assert published(root) == ITEMS


@pytest.mark.parametrize("fault", [Fault.STORED_BUT_500, Fault.STORED_THEN_CUT])
@on_every_store_in_time
def test_a_replacing_commit_whose_answer_is_lost_is_told_as_what_it_did(
    flaky: Flaky, landing: LandingWriter, provenance: MakeProvenance, fault: Fault
) -> None:
    root = land(flaky.bucket, landing, ITEMS)
    publish(root, provenance())
    changed = {**ITEMS, "item-0": (7, 8), "new": (1, 2)}
    root = land(flaky.bucket, landing, changed)
    rule = flaky.fail(fault, "PUT", r"_delta_log/0+2\.json", nth=1)
    publication = publish(root, provenance(update=True))
    assert rule.happened == 1
    assert outcomes(publication) == {"inserted": 1, "unchanged": 5, "replaced": 1}
    assert published(root) == changed


@pytest.mark.slow
@on_every_store_in_time
def test_two_publishers_on_a_bad_line_end_as_one_after_the_other(
    flaky: Flaky, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    root = land(flaky.bucket, landing, ITEMS)
    root.materialize(PARTITION)
    for fault in (Fault.SLOW_DOWN, Fault.CUT, Fault.STORED_BUT_500, Fault.STORED_THEN_CUT):
        flaky.fail(fault, ".*", r"/root/(catalog|masks)/", probability=0.03)
    flaky.proxy.fail(Fault.DELAY, path=r"_delta_log", probability=0.2, seconds=0.1)
    counted: list[dict[str, int]] = []

    def publisher() -> None:
        own = Root(replace(root.settings, publish_rows=2))
        publication = own.publish(PARTITION, provenance=provenance())
        counted.append(outcomes(publication))

    threads = [threading.Thread(target=publisher) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flaky.proxy.heal()
    together = sum(map(Counter, counted), Counter())
    assert together == {"inserted": 6, "unchanged": 6}
    assert published(root) == ITEMS


@pytest.mark.slow
@on_every_store_in_time
def test_a_store_that_fails_for_good_is_said_and_a_rerun_completes(
    flaky: Flaky,
    landing: LandingWriter,
    provenance: MakeProvenance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("segpipe.storage.object_store.RETRYING", {"max_retries": 1})
    root = land(flaky.bucket, landing, ITEMS)
    rule = flaky.fail(Fault.SLOW_DOWN, "PUT", r"/root/masks/")
    with pytest.raises(StorageError, match=r"writing \w+://.*/masks failed|writing \w+://.*\.png"):
        publish(root, provenance())
    assert rule.happened
    flaky.proxy.heal()
    assert outcomes(publish(root, provenance())) == {"inserted": 6}


def test_a_bucket_that_does_not_exist_is_one_sentence(
    bucket: AnyBucket, landing: LandingWriter, tmp_path: Path
) -> None:
    run = ["run", "--root", "s3://no-such-bucket/root", "--model-run", "unet"]
    ended = segpipe(*run, "--date", PARTITION.date, DAGSTER_HOME=str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "no-such-bucket" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@on_every_store_in_time
def test_no_credential_is_ever_shown_or_kept(
    flaky: Flaky, landing: LandingWriter, tmp_path: Path
) -> None:
    land(flaky.bucket, landing, ITEMS)
    bucket = flaky.bucket
    bucket.put("root/segpipe.toml", storage_options(bucket).encode())
    # One run that works, and one that cannot write its commit.
    run = ["run", "--root", f"{flaky.bucket.url}/root", "--model-run", "unet"]
    said = ""
    for _ in range(2):
        ended = segpipe(*run, "--date", PARTITION.date, DAGSTER_HOME=str(tmp_path / "home"))
        said += ended.stdout + ended.stderr
        bucket.delete("root/catalog/predictions/_delta_log/" + "0" * 20 + ".json")
    assert "error: " in said
    kept = b"".join(p.read_bytes() for p in (tmp_path / "home").rglob("*") if p.is_file())
    written = b"".join(
        bucket.get(key)
        for key in bucket.keys("root/")
        if not key.endswith(("segpipe.toml", ".png"))
    )
    root = Root.open(f"{flaky.bucket.url}/root")
    shown = repr(root) + repr(root.catalog) + repr(root.masks) + repr(root.landing)
    for secret in bucket.secrets:
        assert secret not in said + shown
        assert secret.encode() not in kept + written


@on_every_store_in_time
def test_masks_in_a_bucket_are_judged_like_those_on_a_disk(
    bucket: AnyBucket, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    big = landing.row("big")
    rows = [
        landing.row("good"),
        {**landing.row("missing"), "mask_url": "masks/nowhere.png"},
        {**landing.row("elsewhere"), "mask_url": f"{bucket.url[:5]}other/x.png"},
        {**landing.row("climbing"), "mask_url": "../../../masks/x.png"},
        {**big, "reference_id": "absolute", "mask_url": f"{bucket.url}/root/manifests/../x.png"},
    ]
    landing.manifest(rows)
    (landing.root / "segpipe.toml").write_text("[policy]\nmax_rejection_rate = 1.0\n")
    upload(bucket, landing.root)
    root = Root.open(f"{bucket.url}/root")
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


@on_every_store_in_time
def test_a_mask_over_the_limit_is_not_fetched_from_a_bucket(
    flaky: Flaky, landing: LandingWriter
) -> None:
    landing.manifest([landing.row("small"), landing.row("large")])
    path = landing.folder(PARTITION) / "masks" / "large.png"
    path.write_bytes(path.read_bytes() + bytes(3_000_000))
    (landing.root / "segpipe.toml").write_text("[policy]\nmax_bytes = 100_000\n")
    upload(flaky.bucket, landing.root)
    flaky.proxy.forget()
    root = Root.open(f"{flaky.bucket.url}/root")
    summary = root.materialize(PARTITION)
    assert (summary.accepted, summary.findings.get("TOO-LARGE")) == (1, 1)


def test_a_profile_that_does_not_exist_is_said_in_words(
    bucket: AnyBucket, monkeypatch: pytest.MonkeyPatch, landing: LandingWriter
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(SegpipeError, match="nobody"):
        Root.open(f"{bucket.url}/root").manifest(PARTITION)


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
