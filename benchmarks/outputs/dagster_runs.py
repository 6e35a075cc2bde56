"""Digests of what runs report to Dagster."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.outputs.constants import ID
from benchmarks.outputs.results import Results, json_text

_EVENTS = """SELECT event FROM event_logs WHERE dagster_event_type IN
    ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION', 'ASSET_CHECK_EVALUATION') ORDER BY id"""
# Tags that name events of the same instance by number.
_POINTER = "dagster/input_event_pointer/"


def add_dagster(results: Results, name: str, home: Path) -> None:
    """Materializations and checks of all runs, in the order of the runs: data versions, metadata
    with its pictures and tables, what checks say."""
    nth = Counter[str]()
    for events in sorted(_events_of_runs(home), key=lambda run: float(run[0]["timestamp"])):
        for event in events:
            told = event["dagster_event"]["event_specific_data"]
            if told["__class__"] == "AssetCheckEvaluation":
                partition, key = told["partition"], told["asset_key"]
                entries = {f"metadata {label}": one for label, one in told["metadata"].items()}
                parts = ("description", "success", "severity", "blocking")
                what = f"check {told['check_name']}"
                entries |= {part: told[part] for part in parts}
            else:
                made = told.get("materialization") or told["asset_observation"]
                partition, key = made["partition"], made["asset_key"]
                metadata = made["metadata_entries"]
                entries = {f"metadata {one['label']}": one["entry_data"] for one in metadata}
                what = made["__class__"]
                entries |= {f"tag {tag}": value for tag, value in (made["tags"] or {}).items()}
            place = f"{name}/{partition}/{'.'.join(key['path'])}/{what}"
            nth[place] += 1
            for label, entry in entries.items():
                if not label.startswith(f"tag {_POINTER}"):
                    results.text(f"{place} {nth[place]}/{label}", json_text(entry))


def _events_of_runs(home: Path) -> Iterator[list[dict[str, Any]]]:
    for path in (home / "history" / "runs").glob("*.db"):
        if ID.fullmatch(path.stem):
            with closing(sqlite3.connect(path)) as database:
                if events := [json.loads(event) for (event,) in database.execute(_EVENTS)]:
                    yield events
