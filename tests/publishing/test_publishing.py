"""Publishing to the embedded catalog: every outcome, row by row, and the laws behind them."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from PIL import Image

import segpipe
from segpipe.errors import CatalogError, StorageError, TableError
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.publication import Publication
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter, MakeProvenance, striped_mask
from tests.fixtures.published import outcomes, published, receipts


@pytest.fixture
def two_items(landing: LandingWriter, root: Root) -> Root:
    """A root with predictions for items a and b, validated."""
    landing.manifest([landing.row("a", (0, 1)), landing.row("b", (0, 2))])
    root.materialize(PARTITION)
    return root


def change_item_a(landing: LandingWriter, root: Root) -> None:
    """The model now says something else of item a, and the same of b."""
    landing.manifest([landing.row("a", (0, 1), label="other"), landing.row("b", (0, 2))])
    root.materialize(PARTITION)


@pytest.mark.parametrize("update", [False, True])
def test_an_item_without_a_prediction_is_inserted(
    two_items: Root, provenance: MakeProvenance, update: bool
) -> None:
    publication = two_items.publish(PARTITION, provenance=provenance(update=update))
    assert outcomes(publication) == {"inserted": 2}
    assert [row["previous_fingerprint"] for row in receipts(publication)] == [None, None]


@pytest.mark.parametrize("update", [False, True])
def test_the_same_prediction_again_is_unchanged_and_commits_nothing(
    two_items: Root, provenance: MakeProvenance, update: bool
) -> None:
    two_items.publish(PARTITION, provenance=provenance())
    version = two_items.catalog.version()
    assert outcomes(two_items.publish(PARTITION, provenance=provenance(update=update))) == {
        "unchanged": 2
    }
    assert two_items.catalog.version() == version


def test_another_prediction_without_update_is_ignored_and_what_is_there_stays(
    landing: LandingWriter, two_items: Root, provenance: MakeProvenance
) -> None:
    two_items.publish(PARTITION, provenance=provenance())
    before, version = published(two_items), two_items.catalog.version()
    change_item_a(landing, two_items)
    publication = two_items.publish(PARTITION, provenance=provenance())
    assert outcomes(publication) == {"ignored": 1, "unchanged": 1}
    assert published(two_items) == before
    assert two_items.catalog.version() == version
    ignored = next(row for row in receipts(publication) if row["outcome"] == "ignored")
    assert ignored["reference_id"] == "a"
    assert ignored["previous_fingerprint"] == before["a"] != ignored["fingerprint"]


def test_another_prediction_with_update_is_replaced(
    landing: LandingWriter, two_items: Root, provenance: MakeProvenance
) -> None:
    two_items.publish(PARTITION, provenance=provenance())
    before = published(two_items)
    change_item_a(landing, two_items)
    publication = two_items.publish(PARTITION, provenance=provenance(update=True))
    assert outcomes(publication) == {"replaced": 1, "unchanged": 1}
    after = published(two_items)
    assert after["b"] == before["b"]
    assert after["a"] != before["a"]
    replaced = next(row for row in receipts(publication) if row["outcome"] == "replaced")
    assert (replaced["previous_fingerprint"], replaced["fingerprint"]) == (before["a"], after["a"])


def test_one_batch_may_insert_and_replace_at_once(
    landing: LandingWriter, two_items: Root, provenance: MakeProvenance
) -> None:
    two_items.publish(PARTITION, provenance=provenance())
    landing.manifest([landing.row("a", (0, 9)), landing.row("c", (0, 1)), landing.row("b", (0, 2))])
    two_items.materialize(PARTITION)
    publication = two_items.publish(PARTITION, provenance=provenance(update=True))
    assert outcomes(publication) == {"inserted": 1, "replaced": 1, "unchanged": 1}
    assert sorted(published(two_items)) == ["a", "b", "c"]


def test_a_prediction_whose_mask_was_lost_fails_and_the_others_go_through(
    two_items: Root, provenance: MakeProvenance
) -> None:
    row = two_items.validated(PARTITION)
    batch = next(row.batches(10))
    lost = batch.rows["mask_sha256"][0].as_py()
    two_items.masks.folder.remove(two_items.masks.name_of(lost))
    publication = two_items.publish(PARTITION, provenance=provenance())
    assert outcomes(publication) == {"inserted": 1, "failed": 1}
    failed = next(row for row in receipts(publication) if row["outcome"] == "failed")
    assert "materialize the partition again" in str(failed["message"])
    assert list(published(two_items)) == ["b"]
    two_items.materialize(PARTITION)
    assert outcomes(two_items.publish(PARTITION, provenance=provenance())) == {
        "inserted": 1,
        "unchanged": 1,
    }


def test_dry_run_gives_the_same_outcomes_and_touches_nothing(
    landing: LandingWriter, two_items: Root, provenance: MakeProvenance
) -> None:
    def files() -> list[Path]:
        return sorted(landing.root.rglob("*"))

    before = files()
    publication = two_items.publish(PARTITION, provenance=provenance(), dry_run=True)
    assert outcomes(publication) == {"inserted": 2}
    assert publication.receipts is None
    assert files() == before

    two_items.publish(PARTITION, provenance=provenance())
    change_item_a(landing, two_items)
    before = files()
    assert outcomes(two_items.publish(PARTITION, provenance=provenance(), dry_run=True)) == {
        "ignored": 1,
        "unchanged": 1,
    }
    assert outcomes(
        two_items.publish(PARTITION, provenance=provenance(update=True), dry_run=True)
    ) == {
        "replaced": 1,
        "unchanged": 1,
    }
    assert files() == before


def test_model_runs_do_not_touch_each_other(
    landing: LandingWriter, two_items: Root, provenance: MakeProvenance
) -> None:
    two_items.publish(PARTITION, provenance=provenance())
    change_item_a(landing, two_items)
    other = provenance(update=True, model_run="another")
    assert outcomes(two_items.publish(PARTITION, provenance=other)) == {"inserted": 2}
    assert two_items.catalog.read().num_rows == 4


def test_what_is_published_reads_back_pixel_for_pixel_with_everyday_tools(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    mask = striped_mask((3, 7))
    row = landing.row("a", (3, 7), annotation_id="mine")
    landing.manifest([row])
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    table = DeltaTable(f"{landing.root}/catalog/predictions").to_pandas()
    assert table["annotation_id"].tolist() == ["mine"]
    stored = landing.root / table["mask_path"][0]
    assert np.array_equal(np.asarray(Image.open(stored)), mask)
    segments = table["segments"][0]
    assert [(s["index"], s["label"], s["area_px"]) for s in segments] == [
        (3, "class 3", 24),
        (7, "class 7", 24),
    ]


def test_duckdb_queries_nested_segments_without_segpipe(
    landing: LandingWriter, two_items: Root, provenance: MakeProvenance
) -> None:
    two_items.publish(PARTITION, provenance=provenance())
    files = [str(p) for p in (landing.root / "catalog" / "predictions").rglob("*.parquet")]
    rows = duckdb.sql(
        f"""select reference_id, s.label, s.area_fraction
            from (select reference_id, unnest(segments) as s from read_parquet({files!r}))
            where s.confidence < 0.6 and s."index" = 2"""
    ).fetchall()
    assert rows == [("b", "class 2", 0.5)]


def test_publishing_in_small_batches_equals_publishing_at_once(
    landing: LandingWriter, tmp_path: Path, provenance: MakeProvenance
) -> None:
    landing.manifest([landing.row(f"item {n}", (0, n + 1)) for n in range(7)])
    (landing.root / "segpipe.toml").write_text("publish_rows = 2\n")
    small = Root.open(str(landing.root))
    small.materialize(PARTITION)
    assert outcomes(small.publish(PARTITION, provenance=provenance())) == {"inserted": 7}
    in_batches = small.catalog.read(["reference_id", "segments"]).sort_by("reference_id")
    (landing.root / "segpipe.toml").write_text(f'catalog = "{tmp_path}/other"\n')
    whole = Root.open(str(landing.root))
    whole.publish(PARTITION, provenance=provenance())
    assert whole.catalog.read(["reference_id", "segments"]).sort_by("reference_id") == in_batches


def test_a_rerun_after_a_lost_answer_reports_what_its_own_commit_did(
    landing: LandingWriter, two_items: Root, provenance: MakeProvenance
) -> None:
    interrupted = provenance(run_id="interrupted")
    two_items.publish(PARTITION, provenance=interrupted)
    assert outcomes(two_items.publish(PARTITION, provenance=interrupted)) == {"inserted": 2}
    change_item_a(landing, two_items)
    again = provenance(run_id="again", update=True)
    first = receipts(two_items.publish(PARTITION, provenance=again))
    second = receipts(two_items.publish(PARTITION, provenance=again))
    replaced = [row for row in second if row["outcome"] == "replaced"]
    assert [row["outcome"] for row in first] == [row["outcome"] for row in second]
    assert [row["previous_fingerprint"] for row in replaced] == [
        row["previous_fingerprint"] for row in first if row["outcome"] == "replaced"
    ]


def test_racing_publishers_leave_one_prediction_per_item_and_true_receipts(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    """Four threads, each with catalog objects of its own, publish overlapping content."""
    landing.manifest([landing.row(f"item {n}", (0, n + 1)) for n in range(20)])
    (landing.root / "segpipe.toml").write_text("publish_rows = 5\n")
    root.materialize(PARTITION)
    outcomes: list[Publication] = []
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def publish(own: Provenance) -> None:
        try:
            start.wait()
            outcomes.append(Root.open(str(landing.root)).publish(PARTITION, provenance=own))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=publish, args=(provenance(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(published(root)) == 20
    assert sum(publication.outcomes["inserted"] for publication in outcomes) == 20
    assert sum(publication.outcomes["unchanged"] for publication in outcomes) == 60


def test_a_delta_table_of_someone_else_is_refused(two_items: Root, tmp_path: Path) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    write_deltalake(str(tmp_path / "theirs" / "predictions"), pa.table({"x": [1]}))
    folder = two_items.settings.folder("catalog").__class__(str(tmp_path / "theirs"))
    with pytest.raises(CatalogError, match="not one segpipe"):
        Catalog(folder, two_items.masks).read()


def test_publishing_before_materializing_says_so(root: Root, provenance: MakeProvenance) -> None:
    with pytest.raises(TableError, match="materialize them first"):
        root.publish(PARTITION, provenance=provenance())


def test_tables_of_two_passes_are_never_mixed(
    landing: LandingWriter, two_items: Root, provenance: MakeProvenance
) -> None:
    """As after a crash between the renames of two tables."""
    folder = Path(two_items.tables(PARTITION).path)
    old = (folder / "segments.parquet").read_bytes()
    change_item_a(landing, two_items)
    (folder / "segments.parquet").write_bytes(old)
    with pytest.raises(TableError, match="materialize the partition again"):
        two_items.publish(PARTITION, provenance=provenance())


def test_awkward_names_are_published_exactly(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    ids = [
        "it's",
        'say "x"',
        "a/b/../c",
        "per%20cent",
        "a#b?c=d",
        "日本",
        "A",
        "a",
        "new\nline",
        " ",
    ]
    rows = [landing.row(id, (0, n + 1), name=f"m{n}") for n, id in enumerate(ids)]
    landing.manifest(rows)
    summary = root.materialize(PARTITION)
    assert summary.findings.get("REF-EMPTY") == 1  # " " names no item
    awkward = provenance(model_run="it's/..; DROP TABLE %2F é", dataset="d'\\x")
    assert outcomes(root.publish(PARTITION, provenance=awkward)) == {"inserted": len(ids) - 1}
    assert outcomes(root.publish(PARTITION, provenance=awkward)) == {
        "inserted": len(ids) - 1
    }  # same run
    again = provenance(model_run=awkward.model_run, dataset=awkward.dataset)
    assert outcomes(root.publish(PARTITION, provenance=again)) == {"unchanged": len(ids) - 1}
    table = root.catalog.read(["model_run", "reference_id"])
    assert sorted(table["reference_id"].to_pylist()) == sorted(set(ids) - {" "})
    assert pc.unique(table["model_run"]).to_pylist() == [awkward.model_run]


def test_a_catalog_is_opened_by_its_url_alone(
    landing: LandingWriter, two_items: Root, provenance: MakeProvenance
) -> None:
    with pytest.raises(CatalogError, match="nothing was published there yet"):
        segpipe.open_catalog(str(landing.root))
    two_items.publish(PARTITION, provenance=provenance())
    for url in (landing.root / "catalog", landing.root):
        catalog = segpipe.open_catalog(str(url))
        frame = catalog.read().to_pandas().set_index("reference_id")
        assert list(frame.index) == ["a", "b"]
        stored = catalog.masks.read(frame["mask_sha256"]["a"])
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(stored))), striped_mask((0, 1)))


def test_the_documented_query_finds_unsure_persons_that_cover_much_of_their_image(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    def person(confidence: float) -> list[dict[str, object]]:
        metadata = [{"confidence": 0.9}, {"confidence": confidence}]
        return [
            {"label": label, "index": index, "metadata": metadata[index]}
            for index, label in enumerate(("Road", "Person"))
        ]

    few = np.zeros((6, 8), np.uint8)
    few[0, 0] = 1
    landing.manifest(
        [
            landing.row("sure", (0, 1), segments=person(0.8)),
            landing.row("unsure", (0, 1), segments=person(0.2)),
            {**landing.row("small", segments=person(0.1)), "mask_url": landing.mask("few", few)},
        ]
    )
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    # DuckDB reads any Arrow stream; where its delta extension is, delta_scan(url) says the same.
    predictions = DeltaTable(root.catalog.uri).scan()  # noqa: F841
    found = duckdb.sql(
        """SELECT reference_id, s.confidence, s.area_fraction
           FROM (SELECT reference_id, unnest(segments) AS s FROM predictions)
           WHERE s.label = 'Person' AND s.confidence < 0.3 AND s.area_fraction > 0.1"""
    ).fetchall()
    assert found == [("unsure", 0.2, 0.5)]


def test_a_partition_with_too_many_rejections_is_not_published_by_itself_either(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    bad = [{**landing.row(f"bad {n}"), "height": 7} for n in range(3)]
    landing.manifest([landing.row("good"), *bad])
    root.materialize(PARTITION)
    with pytest.raises(TableError, match=r"3 of 4 rows were rejected.*max_rejection_rate \(0.5\)"):
        root.publish(PARTITION, provenance=provenance())
    assert root.catalog.version() is None


def test_receipts_of_what_was_published_before_a_failure_are_kept(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    landing.manifest([landing.row(f"item {n}", (0, n + 1)) for n in range(5)])
    (landing.root / "segpipe.toml").write_text("publish_rows = 2\n")
    small = Root.open(str(landing.root))
    small.materialize(PARTITION)
    commits = iter(range(10))
    catalog = small.catalog
    really = catalog._commit

    def second_fails(*arguments: Any) -> str | None:
        if next(commits) == 1:
            raise StorageError("the disk is full")
        return really(*arguments)

    catalog._commit = second_fails  # type: ignore[method-assign]
    own = provenance()
    with pytest.raises(StorageError, match="disk is full"):
        small.publish(PARTITION, provenance=own)
    (kept,) = (landing.root / "catalog" / "receipts").rglob("*.parquet")
    with kept.open("rb") as handle:
        assert pq.read_table(handle)["outcome"].to_pylist() == ["inserted"] * 2


def test_places_in_the_settings_are_relative_to_the_root_and_not_to_where_one_stands(
    landing: LandingWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.root.mkdir(parents=True)
    (landing.root / "segpipe.toml").write_text('catalog = "cat"\nallowed_roots = ["more"]\n')
    monkeypatch.chdir(tmp_path)
    settings = Root.open(str(landing.root)).settings
    assert settings.folder("catalog").path == f"{landing.root}/cat"
    assert settings.allowed_roots == (f"{landing.root}/more",)
