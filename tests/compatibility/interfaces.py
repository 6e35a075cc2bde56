"""segpipe's interfaces, listed: what other people's code, settings, queries and habits rely on.

``interfaces.json`` beside this file is the committed list. ``python -m
tests.compatibility.interfaces`` adds what is new to it; what is gone is taken out of it by hand.
"""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click
import dagster as dg
import numpy as np

import segpipe
import segpipe.pipeline
from segpipe.cli import exit_status
from segpipe.cli.main import cli
from segpipe.evaluation.stored import TABLES
from segpipe.predictions.view import View
from segpipe.publishing.history import DIFFERENCES
from segpipe.publishing.outcomes import Outcome
from segpipe.publishing.table_format import PREDICTIONS
from segpipe.queries.views import VIEWS
from segpipe.tables.schemas import FORMAT_KEY, RECEIPTS, REJECTED, SEGMENTS, VALIDATED
from tests.fixtures.landing import LandingWriter
from tests.fixtures.places import PROJECT

LIST = Path(__file__).with_name("interfaces.json")
RENEW = "python -m tests.compatibility.interfaces"
#: Name of a group -> its interfaces, a text each.
Interfaces = dict[str, list[str]]

# Classes that users construct; they get the others from calls.
_CONSTRUCTED = {
    "ManifestDep", "ManifestWriter", "Partition", "SegmentationPrediction", "Segment",
    "SegpipeRoot",
}  # fmt: skip
# Whose methods are the catalog's own business, but for those that users call.
_INNER = {"segpipe.publishing.catalog_destination", "segpipe.publishing.stored_predictions"}
_CALLED = {"Catalog.read", "Catalog.datasets", "Catalog.version"}
_UNKNOWN = "qqqqqqqq"  # is close to no key
_UNET, _TRUTH = segpipe.Partition("unet", "2026-01-05"), segpipe.Partition("truth", "2026-01-05")


def interfaces(folder: Path) -> Interfaces:
    """All of them, as they are now.

    Args:
        folder: an empty one, for a small root.
    """
    root = _published_root(folder)
    found = {
        "asset checks, jobs, sensors, schedules": _automation(root.settings),
        "asset keys": _asset_keys(root.settings),
        "columns": _columns(),
        "commands": list(_commands(cli, "segpipe")),
        "environment variables": _variables(),
        "exit statuses": _exit_statuses(),
        "files of a root": _files(folder),
        "fingerprint": [_fingerprint()],
        "JSON that is printed": _printed(root),
        "outcomes": [one.value for one in Outcome],
        "partition key": [segpipe.pipeline.partition_key(_UNET.model_run, _UNET.date)],
        "Python": list(_python()),
        "rules": [f"{rule.id}: {rule.severity}" for rule in segpipe.RULES.values()],
        "settings": _settings(folder),
        "views": [one.value for one in View],
        "views of queries": [*VIEWS],
    }
    return {group: sorted(set(names)) for group, names in found.items()}


def listed() -> Interfaces:
    """Those of the committed list."""
    content: Interfaces = json.loads(LIST.read_text("utf-8"))
    return content


def missing(those: Mapping[str, list[str]], among: Mapping[str, list[str]]) -> Interfaces:
    """Which of those are not among others; groups without any are left out."""
    gone = {group: sorted({*names} - {*among.get(group, ())}) for group, names in those.items()}
    return {group: names for group, names in gone.items() if names}


def _published_root(folder: Path) -> segpipe.Root:
    """A root that has a file of every kind."""
    landing = LandingWriter(folder)
    landing.manifest([landing.row("a"), {"reference_id": "without a mask"}], _UNET)
    landing.manifest([landing.row("a", (0, 2), partition=_TRUTH)], _TRUTH)
    settings = 'destinations = ["catalog", "nucleus"]\n[nucleus]\ndataset_id = "ds_1"\n'
    (folder / "segpipe.toml").write_text(
        settings + '[evaluation]\nground_truth = "truth"\nmin = {mIoU = 0.1}\n'
    )
    root = segpipe.Root.open(folder)
    for partition in (_TRUTH, _UNET):
        root.materialize(partition)
        root.publish(partition)
    root.materialize_view(_UNET, view="instance")
    root.materialize_view(_UNET, view="semantic")
    root.evaluate(_UNET)
    return root


def _automation(settings: segpipe.Settings) -> Iterator[str]:
    repository = segpipe.pipeline.build_definitions(settings).get_repository_def()
    for job in repository.get_all_jobs():
        if not job.name.startswith("__"):
            yield f"job {job.name}"
    for sensor in repository.sensor_defs:
        yield f"sensor {sensor.name}"
    for schedule in repository.schedule_defs:
        yield f"schedule {schedule.name}"
    for name in repository.get_top_level_resources():
        yield f"resource {name}"
    for check in repository.asset_graph.asset_check_keys:
        yield f"check {check.name} of {check.asset_key.to_user_string()}"


def _asset_keys(settings: segpipe.Settings) -> list[str]:
    graph = segpipe.pipeline.build_definitions(settings).get_repository_def().asset_graph
    keys: list[dg.AssetKey] = list(graph.get_all_asset_keys())
    return [key.to_user_string() for key in keys]


def _columns() -> Iterator[str]:
    tables = {
        "validated": VALIDATED,
        "segments": SEGMENTS,
        "rejected": REJECTED,
        "receipts": RECEIPTS,
        "catalog": PREDICTIONS,
        "differences": DIFFERENCES,
        **{f"evaluation_{name}": schema for name, schema in TABLES.items()},
    }
    yield f"the format of a table: {FORMAT_KEY}"
    for name, schema in tables.items():
        for column in schema:
            members = getattr(column.type, "value_type", None)
            if members is None or not hasattr(members, "fields"):
                yield f"{name}.{column.name}: {column.type}"
            else:
                yield from (f"{name}.{column.name}.{one.name}: {one.type}" for one in members)


def _commands(command: click.Command, name: str) -> Iterator[str]:
    yield name
    for parameter in command.params:
        given = parameter.human_readable_name
        shown = parameter.opts[0] if isinstance(parameter, click.Option) else f"<{given}>"
        yield from (f"{name} {option}" for option in (*parameter.opts[:-1], *parameter.opts[-1:]))
        if isinstance(parameter.type, click.Choice):
            yield from (f"{name} {shown} {choice}" for choice in parameter.type.choices)
    if isinstance(command, click.Group):
        for child in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), child)
            assert found is not None
            yield from _commands(found, f"{name} {child}")


def _variables() -> set[str]:
    named = re.compile(r'"((?:SEGPIPE|NUCLEUS)_[A-Z_]+)"')
    sources = (PROJECT / "segpipe").rglob("*.py")
    return {name for path in sources for name in named.findall(path.read_text("utf-8"))}


def _exit_statuses() -> list[str]:
    statuses = ("ALL_ACCEPTED", "SOME_REJECTED", "UNUSABLE", "UNEXPECTED")
    words = [f"{getattr(exit_status, name)}: {name}" for name in statuses]
    return [
        *words,
        f"{exit_status.after_signal(2)}: SIGINT",
        f"{exit_status.after_signal(15)}: SIGTERM",
    ]


def _files(root: Path) -> Iterator[str]:
    named = [
        (r"/[0-9a-f]{2}/[0-9a-f]{64}\.png", "/<two hex digits>/<SHA-256>.png"),
        (r"model_run=(unet|truth)", "model_run=<M>"),
        (r"date=2026-01-05", "date=<YYYY-MM-DD>"),
        (r"/dataset=[^/]*", "/dataset=<D>"),
    ]
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_dir() or "/_delta_log/" in name or "/masks/" in name:
            continue
        for pattern, words in named:
            name = re.sub(pattern, words, name)
        if name.startswith("catalog/predictions/"):
            name = "catalog/predictions: a Delta table, partitioned by dataset and model_run"
        if "receipts" in name:
            name = f"{name.rpartition('/')[0]}/<run>.parquet"
        if name.startswith("evaluations/"):  # their names have digests; queries have views of them
            continue
        if not name.rpartition("/")[2].startswith("_"):
            yield name


def _fingerprint() -> str:
    mask = np.repeat(np.arange(6, dtype=np.uint8), 8).reshape(6, 8)
    segments = [segpipe.Segment(f"class {n}", n, {"confidence": 0.5, "n": 1.0}) for n in range(6)]
    return f"of one prediction: {segpipe.fingerprint(mask, segments, 'a')}"


def _printed(root: segpipe.Root) -> Iterator[str]:
    yield from _members("validate", json.loads(root.report(_UNET).to_json()))
    yield from _members("evaluate", json.loads(root.evaluate(_UNET).to_json()), most=1)


def _members(name: str, value: Any, most: int = 4) -> Iterator[str]:
    if isinstance(value, list) and value:
        yield from _members(f"{name}[]", value[0], most)
    elif isinstance(value, dict) and most:
        for key, one in value.items():
            own = "<rule>" if key in segpipe.RULES else "<text>" if " " in key else key
            yield f"{name}.{own}"
            yield from _members(f"{name}.{own}", one, most - 1)


def _python() -> Iterator[str]:
    for module in (segpipe, segpipe.pipeline):
        for name in module.__all__:
            found = getattr(module, name)
            shown = f"{module.__name__}.{name}"
            yield shown
            if inspect.isclass(found):
                yield from _of_class(shown, found)
            elif inspect.isroutine(found):
                yield from _parameters(shown, found)


def _of_class(shown: str, found: type) -> Iterator[str]:
    if found.__name__ in _CONSTRUCTED:
        yield from _parameters(shown, found)
    if is_dataclass(found):  # fields without a default are no attributes of the class
        yield from (f"{shown}.{one.name}" for one in fields(found) if not one.name.startswith("_"))
    for name, member in inspect.getmembers(found):
        owners = [base.__module__ for base in found.__mro__ if name in vars(base)]
        own = bool(owners) and owners[0].startswith("segpipe") and owners[0] not in _INNER
        if name.startswith("_") or not (own or f"{found.__name__}.{name}" in _CALLED):
            continue
        yield f"{shown}.{name}"
        if inspect.isroutine(member):
            yield from _parameters(f"{shown}.{name}", member)


def _parameters(shown: str, call: Any) -> Iterator[str]:
    try:
        given = inspect.signature(call).parameters.values()
    except (ValueError, TypeError):
        return
    for one in given:
        if one.name not in ("self", "args", "kwargs") and not one.name.startswith("_"):
            yield f"{shown}({one.name})"


def _settings(folder: Path) -> Iterator[str]:
    """The keys of each table, as the message about an unknown one lists them."""
    for table in ("", "policy", "evaluation", "nucleus", "dagster"):
        head = f"[{table}]" if table else ""
        (folder / "segpipe.toml").write_text(f"{head}\n{_UNKNOWN} = 1\n")
        try:
            segpipe.Settings.load(str(folder))
        except segpipe.SegpipeError as error:
            (keys,) = re.findall(r"\(there are: (.*)\)", str(error))
            yield from (f"{head} {key}".strip() for key in keys.split(", "))


def main() -> None:
    """Write what is new into the list."""
    with tempfile.TemporaryDirectory() as folder:
        found = interfaces(Path(folder) / "root")
    there = listed() if LIST.exists() else {}
    groups = sorted({*there, *found})
    both = {one: sorted({*there.get(one, ()), *found.get(one, ())}) for one in groups}
    LIST.write_text(json.dumps(both, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for group, names in missing(found, there).items():
        print(f"{group}: {', '.join(names)}")


if __name__ == "__main__":
    main()
