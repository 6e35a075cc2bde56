"""segpipe in a project of ``dg``: its component, and lineage on both sides."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
import yaml

import segpipe
from segpipe.errors import SettingsError
from segpipe.pipeline import (
    ManifestDep,
    build_definitions,
    partition_key,
    partitions_of,
    published_table,
)
from segpipe.pipeline.instance import register
from segpipe.pipeline.runs import run_partition
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.places import PROJECT

KEY = partition_key(PARTITION)
#: Not under version control: what ``dg`` prints.
ARTEFACTS = PROJECT / "test-artefacts" / "dg"
UNET = dg.AssetSpec("unet")


@dg.asset(deps=[UNET], partitions_def=dg.DailyPartitionsDefinition("2026-01-01"))
def inference() -> None:
    """Delivers the manifests of a day."""


ATTRIBUTES = {
    "key_prefix": "streets",
    "owners": ["team:vision", "a@example.com"],
    "group": "published",
    "tags": {"domain": "streets"},
    "schedule": {"daily_at": "07:30", "time_zone": "Europe/Berlin", "automatic": True},
    "manifest_deps": [{"asset": "inference", "partitions": "day"}, {"asset": "unet"}],
}


def definitions_of(root: Root, **attributes: object) -> dg.Definitions:
    given = {"root": root.settings.root, **attributes}
    component = segpipe.SegpipeRoot.from_attributes_dict(attributes=given)
    made: dg.Definitions = component.build_defs(dg.ComponentTree.for_test().load_context)
    return made


def test_what_the_component_says_is_on_the_assets_and_left_of_the_manifests(root: Root) -> None:
    definitions = dg.Definitions.merge(
        definitions_of(root, **ATTRIBUTES), dg.Definitions(assets=[UNET, inference])
    )
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.resolve_asset_graph()
    for name in ("prediction_manifest", "validated_masks", "published_predictions"):
        node = graph.get(dg.AssetKey(["streets", name]))
        assert node.group_name == "streets_published"
        assert [*node.owners] == ATTRIBUTES["owners"]
        assert node.tags["domain"] == "streets"
    manifest = graph.get(dg.AssetKey(["streets", "prediction_manifest"]))
    assert {key.to_user_string() for key in manifest.parent_keys} == {"inference", "unet"}
    schedule = definitions.resolve_schedule_def("streets_previous_day")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 7 * * *", "Europe/Berlin")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_without_fields_the_component_is_what_the_settings_file_says(
    landing: LandingWriter, root: Root
) -> None:
    (landing.root / "segpipe.toml").write_text('[dagster]\nowners = ["team:crops"]\n')
    by_hand = build_definitions(Root.open(root.settings.root).settings)
    for definitions in (definitions_of(root), by_hand):
        node = definitions.resolve_asset_graph().get(dg.AssetKey("validated_masks"))
        assert [*node.owners] == ["team:crops"]
        assert node.group_name == "segmentation_predictions"


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"owners": ["vision"]}, "defs.yaml: owners is .*e-mail addresses and teams"),
        ({"destinations": ["nucleus"]}, r"needs a table \[nucleus\]"),
        ({"schedule": {"daily_at": "soon"}}, "daily_at is 'soon', expected a time"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(
    root: Root, field: dict[str, object], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        definitions_of(root, **field)


def test_a_day_of_inference_is_followed_to_what_is_published_of_it(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a")])
    register(instance, PARTITION)
    deps = [ManifestDep("inference", "day"), ManifestDep("unet")]
    definitions = dg.Definitions.merge(
        build_definitions(root.settings, manifest_deps=deps),
        dg.Definitions(assets=[UNET, inference]),
    )
    first = dg.evaluate_automation_conditions(definitions, instance)
    assert first.total_requested == 0
    instance.report_runless_asset_event(dg.AssetMaterialization("unet"))
    for day in (PARTITION.date, "2026-01-04"):  # of the second there is no partition
        dg.materialize([inference], instance=instance, partition_key=day)
    found = dg.evaluate_automation_conditions(definitions, instance, cursor=first.cursor)
    requested = {
        name: found.get_requested_partitions(dg.AssetKey(name))
        for name in ("prediction_manifest", "validated_masks", "segments", "published_predictions")
    }
    assert requested == {name: {KEY} for name in requested}


def test_an_asset_of_ones_own_reads_what_was_published_of_its_partition(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 9))])
    assert run_partition(root, PARTITION, instance=instance).failure is None
    read: list[pa.Table] = []

    @dg.asset(partitions_def=partitions_of(root.settings), deps=["published_predictions"])
    def crops(context) -> None:  # type: ignore[no-untyped-def]
        read.append(published_table(root, context.partition_key, ["reference_id"]))

    project = dg.Definitions.merge(build_definitions(root.settings), dg.Definitions([crops]))
    job = project.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(
        instance=instance, partition_key=KEY, asset_selection=[dg.AssetKey("crops")]
    )
    assert done.success
    assert read[0]["reference_id"].to_pylist() == ["a", "b"]


def run(folder: Path, *command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "src"), *sys.path]),
             **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dg_finds_scaffolds_checks_and_launches_the_component(
    landing: LandingWriter, root: Root, tmp_path: Path
) -> None:
    command = shutil.which("dg", path=str(Path(sys.executable).parent)) or shutil.which("dg")
    if command is None:
        pytest.skip("dg is not installed; `pip install 'segpipe[dg]'` does that")
    if "segpipe" not in {one.name for one in entry_points(group="dagster_dg_cli.registry_modules")}:
        pytest.skip("segpipe's entry point is not installed; install the checkout again")
    project = tmp_path / "vision"
    package = project / "src" / "vision"
    (package / "defs").mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "vision"\nversion = "0.1"\n[tool.dg]\ndirectory_type = "project"\n'
        '[tool.dg.project]\nroot_module = "vision"\n'
    )
    for module in (package, package / "defs"):
        (module / "__init__.py").touch()
    (package / "definitions.py").write_text(
        "from pathlib import Path\nimport dagster as dg\n\n@dg.definitions\ndef defs():\n"
        "    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    there = {"DAGSTER_HOME": str(home), "COLUMNS": "200"}
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    listed = run(project, command, "list", "components", **there)
    (ARTEFACTS / "list-components.txt").write_text(listed)
    assert "segpipe.SegpipeRoot" in listed
    run(project, command, "scaffold", "defs", "segpipe.SegpipeRoot", "streets", **there)
    written = package / "defs" / "streets" / "defs.yaml"
    content = yaml.safe_load(written.read_text())
    assert content["type"] == "segpipe.SegpipeRoot"
    landing.manifest([landing.row("a")])
    content["attributes"] = {"root": root.settings.root, "key_prefix": "streets"}
    written.write_text(yaml.safe_dump(content))
    run(project, command, "check", "defs", **there)  # the YAML files first
    definitions = run(project, command, "list", "defs", **there)
    (ARTEFACTS / "list-defs.txt").write_text(definitions)
    assert "streets/published_predictions" in definitions
    names = ("prediction_manifest", "validated_masks", "segments", "rejected_predictions")
    assets = ",".join(f"streets/{name}" for name in (*names, "published_predictions"))
    # The model run is registered by this very command.
    run(project, command, "launch", "--assets", assets, "--partition", str(KEY), **there)
    assert root.catalog.read(["reference_id"]).num_rows == 1
