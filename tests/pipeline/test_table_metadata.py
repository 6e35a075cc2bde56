"""What the assets' pages know of their tables: names, places, code, where columns come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from segpipe.pipeline import build_definitions
from segpipe.pipeline.runs import run_partition
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter

LINKS = "https://files.example/root"


@pytest.fixture
def linked(landing: LandingWriter, root: Root) -> Root:
    (landing.root / "segpipe.toml").write_text(f'dataset = "streets"\nlinks = "{LINKS}"\n')
    landing.manifest([landing.row("a"), {**landing.row("c"), "width": 9}])
    return Root.open(root.settings.root)


def sources(lineage: dg.TableColumnLineage, column: str) -> set[tuple[str, str]]:
    return {
        (dep.asset_key.to_user_string(), dep.column_name) for dep in lineage.deps_by_column[column]
    }


def test_every_asset_has_a_name_a_place_code_and_columns_with_sources(linked: Root) -> None:
    graph = build_definitions(linked.settings, "streets").resolve_asset_graph()
    names = set()
    for key in graph.get_all_asset_keys():
        metadata = graph.get(key).metadata
        names.add(metadata["dagster/table_name"])
        assert metadata["dagster/uri"].value.startswith(LINKS)
        references = metadata["dagster/code_references"].code_references
        assert Path(references[0].file_path).is_file()
        if key.path[-1] == "prediction_manifest":
            continue
        lineage: Any = metadata["dagster/column_lineage"]
        columns = {column.name for column in metadata["dagster/column_schema"].columns}
        assert set(lineage.deps_by_column) <= columns
        told = {c.name: c.description for c in metadata["dagster/column_schema"].columns}
        for name, deps in lineage.deps_by_column.items():
            assert f"from {deps[0].asset_key.to_user_string()}: {deps[0].column_name}" in told[name]
        # Every source is a column that its own asset tells.
        for deps in lineage.deps_by_column.values():
            for dep in deps:
                schema = graph.get(dep.asset_key).metadata["dagster/column_schema"]
                assert dep.column_name in {column.name for column in schema.columns}
    assert {"streets.validated", "streets.predictions", "streets.instance_masks"} < names
    assert len(names) == len(graph.get_all_asset_keys())


def test_where_confidence_comes_from_is_followed_from_the_catalog_to_the_manifest(
    linked: Root, instance: dg.DagsterInstance
) -> None:
    assert run_partition(linked, PARTITION, instance=instance).failure is None

    def lineage(asset: str) -> dg.TableColumnLineage:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        found = event.asset_materialization.metadata["dagster/column_lineage"].value
        assert isinstance(found, dg.TableColumnLineage)
        return found

    assert sources(lineage("published_predictions"), "segments.confidence") == {
        ("segments", "confidence")
    }
    assert sources(lineage("segments"), "confidence") == {("prediction_manifest", "segments")}
    assert sources(lineage("validated_masks"), "mask_sha256") == {
        ("prediction_manifest", "mask"),
        ("prediction_manifest", "mask_url"),
    }


def test_every_asset_counts_its_rows_and_the_pictures_are_a_click_away(
    linked: Root, instance: dg.DagsterInstance
) -> None:
    run_partition(linked, PARTITION, instance=instance)
    rows = {}
    for name in ("prediction_manifest", "validated_masks", "segments", "rejected_predictions",
                 "published_predictions"):  # fmt: skip
        event = instance.get_latest_materialization_event(dg.AssetKey(name))
        assert event is not None
        assert event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        rows[name] = metadata["dagster/row_count"].value
        if name == "validated_masks":
            picture = str(metadata["picture"].value)
    assert rows == {
        "prediction_manifest": 2, "validated_masks": 1, "segments": 3,
        "rejected_predictions": 1, "published_predictions": 1,
    }  # fmt: skip
    file = Path(linked.settings.root) / picture.removeprefix(LINKS).lstrip("/").replace("%3D", "=")
    assert file.read_bytes()[:2] == b"\xff\xd8"
    graph = build_definitions(linked.settings).resolve_asset_graph()
    told = graph.get(dg.AssetKey("validated_masks")).description or ""
    assert f"]({LINKS}/validated/_predictions.jpg)" in told
