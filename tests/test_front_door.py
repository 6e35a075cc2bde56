"""The front door: everything the command line does is one short call on ``segpipe``."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segpipe
from segpipe.demo.landing import write_demo_landing

PROJECT = Path(__file__).resolve().parents[1]
MODEL_RUN, DATE = "street-unet-v1", "2026-01-05"


@pytest.fixture
def demo(tmp_path: Path) -> segpipe.Root:
    """A root with a small demo landed, nothing materialized."""
    write_demo_landing(tmp_path / "root", items_per_day=6, until=date(2026, 1, 7))
    return segpipe.Root.open(tmp_path / "root")


@pytest.fixture
def published(demo: segpipe.Root) -> segpipe.Root:
    """The same with one partition published."""
    demo.materialize(MODEL_RUN, DATE)
    demo.publish(MODEL_RUN, DATE)
    return demo


def public_members(kind: type) -> Iterator[tuple[str, Callable[..., object]]]:
    for name, member in inspect.getmembers(kind, inspect.isroutine):
        if not name.startswith("_"):
            yield f"{kind.__name__}.{name}", member


def test_every_public_name_can_be_imported_and_says_what_it_is() -> None:
    for name in segpipe.__all__:
        found = getattr(segpipe, name)
        if inspect.isclass(found) or inspect.isroutine(found):
            assert len(inspect.getdoc(found) or "") > 20, name
    assert set(segpipe.__all__) <= set(dir(segpipe))


@pytest.mark.parametrize("kind", [segpipe.Root, segpipe.Catalog, segpipe.ManifestWriter])
def test_every_call_says_what_it_takes(kind: type) -> None:
    for name, member in public_members(kind):
        assert inspect.getdoc(member), name


def test_the_page_on_python_imports_from_segpipe_and_its_pipeline_alone() -> None:
    page = (PROJECT / "docs" / "python.md").read_text("utf-8")
    modules = set(re.findall(r"(?:from|import) (segpipe[\w.]*)", page))
    modules |= set(re.findall(r"(segpipe(?:\.[a-z_]+)+)\.\w+\(", page))
    assert modules <= {"segpipe", "segpipe.pipeline"}


def test_importing_segpipe_takes_less_than_half_a_second_and_no_dagster() -> None:
    code = (
        "import sys, time; begun = time.perf_counter(); import segpipe;"
        "print(time.perf_counter() - begun, 'dagster' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, dagster = done.stdout.split()
    assert float(seconds) < 0.5
    assert dagster == "False"


def test_a_partition_is_named_by_model_run_and_date_or_by_itself(demo: segpipe.Root) -> None:
    partition = segpipe.Partition(MODEL_RUN, DATE)
    assert partition in demo.partitions()
    first = demo.materialize(MODEL_RUN, DATE)
    assert demo.materialize(partition) == first
    assert demo.publish(partition).outcomes["inserted"] == first.accepted
    assert demo.publish(MODEL_RUN, DATE).outcomes["unchanged"] == first.accepted


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ((MODEL_RUN,), "date of model run"),
        ((MODEL_RUN, "5 January"), "expected a day as YYYY-MM-DD"),
        ((segpipe.Partition(MODEL_RUN, DATE), "2026-01-06"), "has a date of its own"),
    ],
)
def test_a_partition_named_wrong_is_refused_in_words(
    demo: segpipe.Root, named: tuple[str, ...], words: str
) -> None:
    with pytest.raises(segpipe.SegpipeError, match=words):
        demo.materialize(*named)


def test_published_predictions_are_an_arrow_table(published: segpipe.Root) -> None:
    catalog = published.catalog
    table = catalog.predictions(model_run=MODEL_RUN)
    some = table["reference_id"].to_pylist()[:2]
    assert catalog.predictions(MODEL_RUN, some)["reference_id"].to_pylist() == some
    only = catalog.predictions(MODEL_RUN, some, columns=["fingerprint"])
    assert only.column_names == ["fingerprint"]
    assert only.num_rows == 2
    assert catalog.predictions(MODEL_RUN, date=DATE).num_rows == table.num_rows
    assert catalog.predictions("another").num_rows == 0
    assert set(table.to_pandas()["model_run"]) == {MODEL_RUN}
    with pytest.raises(segpipe.SegpipeError, match=r"no column 'fingerprnt'.*'fingerprint'"):
        catalog.predictions(columns=["fingerprnt"])


def test_what_was_published_is_undone_and_restored(published: segpipe.Root) -> None:
    catalog = published.catalog
    before = catalog.version()
    assert before is not None
    count = catalog.predictions().num_rows
    assert catalog.unpublish(MODEL_RUN, DATE) == count
    assert catalog.diff(before).num_rows == count
    assert catalog.predictions().num_rows == 0
    catalog.restore(before)
    assert catalog.predictions().num_rows == count
    assert [one.operation for one in catalog.history(2)] == ["restore", "unpublish"]


def test_a_catalog_opened_without_its_root_says_how_to_unpublish(published: segpipe.Root) -> None:
    alone = segpipe.open_catalog(published.settings.root)
    with pytest.raises(segpipe.SegpipeError, match=r"segpipe\.Root\.open"):
        alone.unpublish(MODEL_RUN, DATE)


def test_an_item_is_shown_as_segments_and_as_a_picture(
    published: segpipe.Root, tmp_path: Path
) -> None:
    reference_id = published.catalog.predictions()["reference_id"][0].as_py()
    item = published.show(reference_id)
    assert repr(item).startswith(f"{reference_id}  {MODEL_RUN}  ")
    item.save(tmp_path / "item.png")
    with Image.open(tmp_path / "item.png") as picture:
        assert picture.size == item.picture.size
    with pytest.raises(segpipe.SegpipeError, match="no prediction for 'nowhere'"):
        published.show("nowhere")


def test_results_are_shown_as_tables(published: segpipe.Root) -> None:
    summary = published.materialize(MODEL_RUN, DATE)
    assert repr(summary).startswith(f"{summary.rows} rows: {summary.accepted} accepted")
    assert all(rule in repr(summary) for rule in summary.findings)
    publication = published.publish(MODEL_RUN, DATE)
    assert re.search(rf"unchanged +{summary.accepted}$", repr(publication))
    assert "publish" in repr(published.catalog.history())
    for result in (summary, publication, published.catalog.history()):
        assert "<table>" in result._repr_html_()
    assert repr(published.report(MODEL_RUN, DATE)).startswith(f"{summary.rows} rows")


def test_manifests_are_validated_without_a_root(demo: segpipe.Root, tmp_path: Path) -> None:
    folder = Path(demo.settings.root) / "manifests" / f"model_run={MODEL_RUN}" / f"date={DATE}"
    report = segpipe.validate(
        folder,
        tmp_path / "checked",
        allowed_roots=[demo.settings.root],
        html=tmp_path / "page.html",
    )
    assert report.summary.findings == demo.materialize(MODEL_RUN, DATE).findings
    assert (tmp_path / "checked" / "validated.parquet").exists()
    assert "<html" in (tmp_path / "page.html").read_text("utf-8")


def test_masks_are_imported_and_exported_again(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.eye(6, dtype=np.uint8)).save(tmp_path / "masks" / "a.png")
    (tmp_path / "labels.json").write_text('{"0": "ground", "1": "wire"}')
    root = segpipe.Root.open(tmp_path / "root")
    done = segpipe.import_masks(
        "mask-folder",
        tmp_path / "masks",
        root=root,
        model_run="m",
        date=DATE,
        labels=tmp_path / "labels.json",
    )
    assert (done.imported, done.refused) == (1, 0)
    root.materialize("m", DATE)
    root.publish("m", DATE)
    assert root.export("mask-folder", tmp_path / "out", "m") == 1
    assert (tmp_path / "out" / "masks" / "a.png").exists()


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("mask-foldr", {}, "no format 'mask-foldr'.*'mask-folder'"),
        ("mask-folder", {"label": "x"}, "takes no 'label'.*'labels'"),
        ("colour-map", {}, "needs 'colours'"),
        ("mask-folder", {}, "say what the values mean"),
    ],
)
def test_an_import_asked_for_wrongly_is_refused_in_words(
    tmp_path: Path, kind: str, options: dict[str, str], words: str
) -> None:
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(segpipe.SegpipeError, match=words):
        segpipe.import_masks(
            kind, tmp_path / "masks", root=tmp_path / "root", model_run="m", date=DATE, **options
        )
    assert not (tmp_path / "root").exists()


def test_a_partition_runs_through_dagster_in_one_call(
    demo: segpipe.Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segpipe.pipeline import run_partition

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    report = run_partition(demo, MODEL_RUN, DATE)
    assert report.failure is None
    assert report.outcomes is not None
    assert report.outcomes["inserted"] == demo.catalog.predictions().num_rows > 0
