"""A destination is a class and an entry; the laws of publishing hold for it as for the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import segpipe
from segpipe.errors import SettingsError
from segpipe.pipeline import run_partition
from segpipe.publishing.destinations import DESTINATIONS
from tests.extensions.sqlite_destination import SQLITE, SqliteDestination
from tests.fixtures.landing import PARTITION, LandingWriter, striped_mask

_TO_SQLITE: dict[str, Any] = {"destination": "sqlite", "verify_masks": None}


@pytest.fixture(autouse=True)
def entered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The destination, in the table for the time of a test."""
    monkeypatch.setitem(DESTINATIONS, SQLITE.name, SQLITE)


@pytest.fixture
def materialized(landing: LandingWriter, root: segpipe.Root) -> segpipe.Root:
    """A root with three validated predictions."""
    landing.manifest([landing.row(id) for id in ("a", "b", "c")])
    root.materialize(PARTITION)
    return root


def _change(landing: LandingWriter, root: segpipe.Root) -> None:
    """Another prediction for ``b``."""
    landing.manifest([landing.row("a"), landing.row("b", (0, 3)), landing.row("c")])
    root.materialize(PARTITION)


def _rows(root: segpipe.Root, provenance: Any) -> list[dict[str, Any]]:
    destination = root.destination("sqlite")
    assert isinstance(destination, SqliteDestination)
    return sorted(destination.rows(provenance()), key=lambda row: str(row["reference_id"]))


def _outcomes(publication: segpipe.Publication) -> dict[str, int]:
    assert publication.verification is None or not publication.verification.mismatches
    return {outcome: count for outcome, count in publication.outcomes.items() if count}


def test_publishing_twice_is_publishing_once(materialized: segpipe.Root, provenance: Any) -> None:
    first = materialized.publish(PARTITION, **_TO_SQLITE)
    rows = _rows(materialized, provenance)
    second = materialized.publish(PARTITION, **_TO_SQLITE)
    assert (_outcomes(first), _outcomes(second)) == ({"inserted": 3}, {"unchanged": 3})
    assert _rows(materialized, provenance) == rows
    assert first.content is not None and second.content is not None
    assert first.content.digest == second.content.digest


def test_what_is_there_changes_with_update_and_not_without(
    materialized: segpipe.Root, landing: LandingWriter, provenance: Any
) -> None:
    materialized.publish(PARTITION, **_TO_SQLITE)
    before = _rows(materialized, provenance)
    _change(landing, materialized)
    left = materialized.publish(PARTITION, **_TO_SQLITE)
    assert _outcomes(left) == {"unchanged": 2, "ignored": 1}
    assert _rows(materialized, provenance) == before
    replaced = materialized.publish(PARTITION, update=True, **_TO_SQLITE)
    assert _outcomes(replaced) == {"unchanged": 2, "replaced": 1}
    after = _rows(materialized, provenance)
    assert [row["reference_id"] for row in after] == ["a", "b", "c"]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


def test_a_dry_run_says_what_would_happen_and_touches_nothing(
    materialized: segpipe.Root, landing: LandingWriter
) -> None:
    said = materialized.publish(PARTITION, destination="sqlite", dry_run=True)
    assert (_outcomes(said), said.receipts) == ({"inserted": 3}, None)
    assert not (landing.root / "sent").exists()


def test_receipts_say_what_happened_to_each_prediction(
    materialized: segpipe.Root, landing: LandingWriter
) -> None:
    materialized.publish(PARTITION, **_TO_SQLITE)
    _change(landing, materialized)
    publication = materialized.publish(PARTITION, update=True, run_id="second", **_TO_SQLITE)
    assert publication.receipts is not None
    assert Path(publication.receipts).is_relative_to(landing.root / "sent" / "sqlite" / "receipts")
    told = {row["reference_id"]: row for row in pq.read_table(publication.receipts).to_pylist()}
    assert {id: row["outcome"] for id, row in told.items()} == {
        "a": "unchanged", "b": "replaced", "c": "unchanged",
    }  # fmt: skip
    assert {row["run_id"] for row in told.values()} == {"second"}
    assert told["b"]["previous_fingerprint"] not in (None, told["b"]["fingerprint"])


def test_what_is_published_is_what_was_validated_pixel_for_pixel(
    materialized: segpipe.Root, provenance: Any
) -> None:
    publication = materialized.publish(PARTITION, **_TO_SQLITE)
    assert publication.verification is not None
    assert (publication.verification.receipts, publication.verification.masks) == (3, 3)
    for row in _rows(materialized, provenance):
        np.testing.assert_array_equal(
            segpipe.decode_mask(row["mask"]).pixels, striped_mask((0, 1, 2))
        )


def test_a_prediction_whose_mask_is_gone_fails_by_itself(
    materialized: segpipe.Root, landing: LandingWriter
) -> None:
    landing.manifest([landing.row("a"), landing.row("d", (4, 5))])
    materialized.materialize(PARTITION)
    tables = materialized.validated(PARTITION)
    (batch,) = tables.batches(10)
    gone = dict(
        zip(*(batch.rows[n].to_pylist() for n in ("reference_id", "mask_path")), strict=True)
    )
    (landing.root / gone["d"]).unlink()
    publication = segpipe.Root.open(landing.root).publish(PARTITION, **_TO_SQLITE)
    assert _outcomes(publication) == {"inserted": 1, "failed": 1}
    assert [id for id, _ in publication.failures] == ["d"]


def test_settings_and_dagster_know_a_new_destination(landing: LandingWriter) -> None:
    landing.manifest([landing.row("a")])
    (landing.root / "segpipe.toml").write_text('destinations = ["catalog", "sqlite"]\n')
    report = run_partition(segpipe.Root.open(landing.root), PARTITION)
    assert report.failure is None
    assert {name: outcomes["inserted"] for name, outcomes in report.published.items()} == {
        "catalog": 1, "sqlite": 1,
    }  # fmt: skip


def test_a_destination_that_is_not_entered_is_named_with_those_that_are(
    root: segpipe.Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(DESTINATIONS, "sqlite")
    with pytest.raises(SettingsError, match="no destination 'sqlite'; there are: catalog, nucleus"):
        root.destination("sqlite")
