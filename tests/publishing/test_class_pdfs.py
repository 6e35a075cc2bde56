"""Class PDFs from the manifest to the catalog, and back with what everyone reads tables with."""

from __future__ import annotations

import json
import math
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from segpipe.demo.scenes import Scene, seed_example
from segpipe.errors import TableError
from segpipe.formats.manifest_writer import ManifestWriter
from segpipe.predictions.prediction import Segment
from segpipe.predictions.view import View
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter, MakeProvenance

_NEW = ("class_pdf", "entropy", "margin")


def seed_with_pdfs() -> Scene:
    """The seed example: each Segment with a confidence has a PDF of its label and one other."""
    scene = seed_example()
    segments = [
        segment
        if segment.confidence is None
        else Segment(segment.label, segment.index, {
            **segment.metadata, "class_pdf": {segment.label: segment.confidence,
                                              "Sky": 1 - segment.confidence},
        })
        for segment in scene.segments
    ]  # fmt: skip
    return Scene(scene.reference_id, scene.image, scene.mask, tuple(segments))


def entropy(share: float) -> float:
    return -sum(p * math.log(p) for p in (share, 1 - share) if p)


def test_the_seed_example_is_read_back_with_its_entropies(
    root: Root, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    scene = seed_with_pdfs()
    with ManifestWriter(root, PARTITION.model_run, PARTITION.date) as writer:
        writer.add(scene.reference_id, scene.mask, scene.segments)
    assert root.materialize(PARTITION).accepted == 1
    assert root.publish(PARTITION, provenance=provenance()).outcomes["inserted"] == 1
    (row,) = root.catalog.predictions().to_pylist()
    assert [one["class_pdf"] and dict(one["class_pdf"]) for one in row["segments"]] == [
        segment.metadata.get("class_pdf") for segment in scene.segments
    ]
    files = [str(p) for p in (landing.root / "catalog" / "predictions").rglob("*.parquet")]
    asked = duckdb.sql(
        f"""select s."index", s.entropy, s.margin, s.class_pdf['Sky'], s.metadata
            from (select unnest(segments) as s from read_parquet({files!r})) order by 1"""
    ).fetchall()
    assert asked[0][1:4] == (None, None, None)
    for segment, (index, found, margin, sky, metadata) in zip(scene.segments, asked, strict=True):
        assert (index, json.loads(metadata)) == (segment.index, segment.metadata)
        if segment.confidence is not None:
            assert found == pytest.approx(entropy(segment.confidence), abs=1e-9)
            assert margin == pytest.approx(abs(2 * segment.confidence - 1))
            assert sky == 1 - segment.confidence


def test_replacing_compacting_and_restoring_keep_class_pdfs(
    root: Root, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    def deliver(share: float) -> None:
        pdf = {"class 1": share, "class 2": 1 - share}
        cells = [{"label": "class 1", "index": 1, "metadata": json.dumps({"class_pdf": pdf})}]
        rows = [{**landing.row(id, (1,)), "segments": cells} for id in ("a", "b")]
        landing.manifest(rows)
        root.materialize(PARTITION)
        root.publish(PARTITION, provenance=provenance(update=True))

    def shares() -> list[float]:
        rows = root.catalog.predictions(columns=["segments"])["segments"].to_pylist()
        return [dict(one[0]["class_pdf"])["class 1"] for one in rows]

    deliver(0.75)
    deliver(0.5)
    assert shares() == [0.5, 0.5]
    root.catalog.optimize()
    assert shares() == [0.5, 0.5]
    root.catalog.restore(1)
    assert shares() == [0.75, 0.75]


def test_predictions_without_class_pdfs_have_nulls(
    root: Root, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    landing.manifest([landing.row("a", (0, 1))])
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    (row,) = root.catalog.predictions().to_pylist()
    assert {one[name] for one in row["segments"] for name in _NEW} == {None}


# --- tables of an earlier segpipe


def test_a_segment_table_without_the_columns_is_told_with_what_to_do(
    root: Root, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    landing.manifest([landing.row("a", (0, 1))])
    root.materialize(PARTITION)
    file = Path(root.tables(PARTITION).path) / "segments.parquet"
    notes = pq.read_metadata(file).metadata
    earlier = pq.read_table(file).drop_columns(list(_NEW))
    pq.write_table(earlier.replace_schema_metadata(notes), file)
    with pytest.raises(TableError, match=r"no column class_pdf, entropy, margin.* again"):
        root.publish(PARTITION, provenance=provenance())
    root.materialize(PARTITION, force=True)  # what another code version does by itself
    assert root.publish(PARTITION, provenance=provenance()).outcomes["inserted"] == 1


def test_probabilities_are_exactly_what_the_model_said(
    root: Root, provenance: MakeProvenance
) -> None:
    random = np.random.default_rng(0)
    numbers = random.dirichlet(np.ones(20)).tolist()
    pdf = {f"class {number:02}": value for number, value in enumerate(numbers)}
    with ManifestWriter(root, PARTITION.model_run, PARTITION.date) as writer:
        segment = Segment(max(pdf, key=lambda name: pdf[name]), 0, {"class_pdf": pdf})
        writer.add("a", np.zeros((2, 2), np.uint8), [segment])
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    (row,) = root.catalog.predictions(columns=["segments"]).to_pylist()
    assert dict(row["segments"][0]["class_pdf"]) == pdf


@pytest.mark.parametrize("form", ["mask-folder", "coco-panoptic"])
def test_an_export_carries_class_pdfs_as_they_were_given(
    root: Root, provenance: MakeProvenance, tmp_path: Path, form: str
) -> None:
    scene = seed_with_pdfs()
    with ManifestWriter(root, PARTITION.model_run, PARTITION.date) as writer:
        writer.add(scene.reference_id, scene.mask, scene.segments)
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    root.export(form, tmp_path / "out", model_run=PARTITION.model_run)
    text = "".join(path.read_text() for path in (tmp_path / "out").rglob("*.json"))
    for segment in scene.segments:
        if "class_pdf" in segment.metadata:
            assert json.dumps(segment.metadata["class_pdf"], sort_keys=True)[1:-1] in text


def test_a_view_has_the_mixture_and_its_entropy_in_its_table(root: Root) -> None:
    mask = np.array([[1, 1, 1, 2]], np.uint8)
    pdfs = {1: {"car": 1}, 2: {"car": 0.5, "road": 0.5}}
    segments = [Segment("car", index, {"class_pdf": pdf}) for index, pdf in pdfs.items()]
    with ManifestWriter(root, PARTITION.model_run, PARTITION.date) as writer:
        writer.add("a", mask, segments)
    root.materialize(PARTITION)
    root.materialize_view(PARTITION, view="semantic")
    (batch,) = root.view(PARTITION, View.SEMANTIC).batches(9)
    ((merged,),) = batch.segments.to_pylist()
    assert merged["class_pdf"] == [("car", 0.875), ("road", 0.125)]
    assert merged["entropy"] == pytest.approx(entropy(0.875), abs=1e-9)
    assert merged["margin"] == 0.75
