"""Digests of the files segpipe leaves: tables, catalogs, pictures, folders."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

from benchmarks.outputs.constants import NEVER_THE_SAME, PICTURES, TEXTS, Row
from benchmarks.outputs.dagster_runs import add_dagster
from benchmarks.outputs.results import Results, digest, json_text


def add_tree(results: Results, name: str, folder: Path) -> None:
    """Every file below a folder; pictures of one folder together, and masks of one store."""
    pictures: dict[str, list[Path]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        place = f"{name}/{path.relative_to(folder).as_posix()}"
        if path.suffix in PICTURES:
            parent = path.parent
            store = parent.parent if re.fullmatch("[0-9a-f]{2}", parent.name) else parent
            pictures.setdefault(store.relative_to(folder).as_posix(), []).append(path)
        elif path.name == "_inputs.json":
            results.add(place, "there")  # of the age and identity of files
        elif path.suffix == ".parquet":
            add_table(results, place, path)
        elif path.suffix in TEXTS:
            results.text(place, path.read_text("utf-8"))
        else:
            results.add(place, digest(path.read_bytes()))
    for place, paths in pictures.items():
        lines = [f"{path.name} {digest(path.read_bytes())}" for path in sorted(paths)]
        results.add(
            f"{name}/{place}/*", f"{len(lines)} pictures {digest(json_text(sorted(lines)))}"
        )


def add_table(results: Results, name: str, path: Path) -> None:
    """A Parquet file: its bytes, or its rows where they name the folder. Predictions and rejected
    rows one by one as well."""
    rows: list[Row] = pq.read_table(path, partitioning=None).to_pylist()
    if str(results.folder) in json_text(rows):
        file = pq.ParquetFile(path)
        notes = file.metadata.metadata or {}
        if b"segpipe.digest" in notes:
            results.passing.add(notes[b"segpipe.digest"].decode())
        schema = file.schema_arrow.remove_metadata()
        results.text(name, f"rows: {schema} {json_text(rows)}")
    else:
        results.add(name, f"bytes: {digest(path.read_bytes())}")
    if path.name == "validated.parquet":
        for row in rows:
            told = f"fingerprint {row['fingerprint']} mask {row['mask_sha256']}"
            results.add(f"{name}/{row['reference_id']}", told)
    elif path.name == "rejected.parquet":
        nth = Counter[str]()
        for row in rows:
            finding = f"{row['manifest']} {row['manifest_row']} {row['rule']}"
            nth[finding] += 1
            results.text(f"{name}/{finding} {nth[finding]}", json_text(row))


def add_root(results: Results, name: str, root: Path) -> None:
    """Everything in a root, and what its runs told Dagster."""
    for folder in ("images", "manifests", "validated", "views", "masks"):
        if (root / folder).is_dir():
            add_tree(results, f"{name}/{folder}", root / folder)
    if (root / "catalog").is_dir():
        add_catalog(results, f"{name}/catalog", root / "catalog")
    add_dagster(results, f"{name}/dagster", root / "dagster_home")


def add_catalog(results: Results, name: str, catalog: Path) -> None:
    """The published rows, the table's own description and the receipts."""
    add_predictions(results, name, catalog / "predictions")
    receipts = {path.parent for path in (catalog / "receipts").rglob("*.parquet")}
    for folder in sorted(receipts):
        rows = [row for path in folder.glob("*.parquet") for row in _rows(path)]
        place = folder.relative_to(catalog).as_posix()
        results.text(f"{name}/{place}", json_text(sorted(rows, key=json_text)))


def add_predictions(results: Results, name: str, table: Path) -> None:
    """The rows of the Delta table's newest version, read from its files."""
    live: dict[str, Row] = {}
    description: dict[str, Any] = {}
    operations: list[str] = []
    for commit in sorted((table / "_delta_log").glob("[0-9]*.json")):
        for action in map(json.loads, commit.read_text("utf-8").splitlines()):
            if "add" in action:
                live[action["add"]["path"]] = action["add"]["partitionValues"]
            elif "remove" in action:
                live.pop(action["remove"]["path"], None)
            elif "metaData" in action:
                description = action["metaData"]
            elif "commitInfo" in action:
                operations.append(action["commitInfo"]["operation"])
    for member in ("id", "createdTime"):
        description.pop(member, None)
    results.text(f"{name}/description", json_text(description))
    results.add(f"{name}/operations", json_text(operations))
    for path, partition in live.items():
        for row in _rows(table / unquote(path)):
            row = {**row, **partition}
            place = f"{name}/{row['model_run']}/{row['reference_id']}"
            results.add(place, f"fingerprint {row['fingerprint']} row {digest(json_text(row))}")


def _rows(path: Path) -> Iterator[Row]:
    """A table's rows without what no two runs share."""
    for row in pq.read_table(path, partitioning=None).to_pylist():
        yield {key: value for key, value in row.items() if key not in NEVER_THE_SAME}
