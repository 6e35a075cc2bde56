"""What the endpoint knows besides masks: datasets, items, models, annotations as sent, jobs.

One SQLite file below the root. Every change is a transaction; whatever is killed, the next process
finds the state of the last one that was answered.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segpipe.errors import StorageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS datasets (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, name TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS items (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, dataset TEXT, reference_id TEXT, body TEXT,
    UNIQUE (dataset, reference_id));
CREATE TABLE IF NOT EXISTS models (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, reference_id TEXT UNIQUE, body TEXT);
CREATE TABLE IF NOT EXISTS annotations (
    place INTEGER PRIMARY KEY AUTOINCREMENT, dataset TEXT, owner TEXT, reference_id TEXT,
    kind TEXT, identity TEXT, body TEXT, findings TEXT,
    UNIQUE (dataset, owner, reference_id, kind, identity));
CREATE TABLE IF NOT EXISTS jobs (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, dataset TEXT, kind TEXT, status TEXT,
    message TEXT, errors TEXT, created TEXT, asked TEXT);
CREATE TABLE IF NOT EXISTS uploads (request_id TEXT, dataset TEXT, token TEXT UNIQUE, body BLOB,
    PRIMARY KEY (dataset, request_id));
"""
SEGMENTATION = "segmentation"
_IDS_AT_ONCE = 500


@dataclass(frozen=True)
class Annotation:
    """An annotation or prediction as it was sent.

    Attributes:
        owner: the model's id; GROUND_TRUTH for what was annotated.
        kind: ``segmentation``, ``box``, ``category`` and so on.
        identity: what tells it from others of its kind and item: nothing for segmentations, of
            which an item has one; else the annotation id.
        findings: what segpipe found, a message each.
    """

    dataset: str
    owner: str
    reference_id: str
    kind: str
    identity: str
    body: Mapping[str, Any]
    findings: Sequence[str] = ()


#: The owner of annotations that no model predicted.
GROUND_TRUTH = "ground truth"


@dataclass(frozen=True)
class Job:
    """Work the endpoint does after it answered."""

    id: str
    dataset: str
    kind: str
    status: str
    message: Mapping[str, Any]
    errors: Sequence[str]
    created: str
    asked: Mapping[str, Any]


def new_id(prefix: str) -> str:
    """An id as the service's: ``ds_`` and twenty characters."""
    return f"{prefix}_{uuid.uuid4().hex[:20]}"


class Registry:
    """The file, opened.

    Raises:
        StorageError: if it cannot be opened or made.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{path} cannot be used: {error}") from None

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within, or none."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    # --- datasets and their items

    def create_dataset(self, body: Mapping[str, Any]) -> str:
        """A new dataset; its id."""
        dataset = new_id("ds")
        statement = "INSERT INTO datasets (id, name, body) VALUES (?, ?, ?)"
        self._rows(statement, dataset, body["name"], json.dumps(body))
        return dataset

    def datasets(self) -> list[tuple[str, str]]:
        """Ids and names, in the order they were made."""
        return [(row["id"], row["name"]) for row in self._rows("SELECT * FROM datasets ORDER BY 1")]

    def dataset_name(self, dataset: str) -> str | None:
        """A dataset's name; None where there is no such dataset."""
        found = self._rows("SELECT name FROM datasets WHERE id = ?", dataset)
        return found[0]["name"] if found else None

    def delete_dataset(self, dataset: str) -> None:
        """Remove a dataset with all that is in it."""
        with self.transaction():
            for table in ("items", "annotations", "uploads"):
                self._rows(f"DELETE FROM {table} WHERE dataset = ?", dataset)
            self._rows("DELETE FROM datasets WHERE id = ?", dataset)

    def put_items(
        self, dataset: str, items: Iterable[Mapping[str, Any]], *, update: bool
    ) -> dict[str, int]:
        """Add items; those that are there are ignored or, with ``update``, replaced."""
        counts = {"new_items": 0, "updated_items": 0, "ignored_items": 0}
        with self.transaction():
            for body in items:
                reference_id = body["reference_id"]
                if self.item(dataset, reference_id) is None:
                    statement = (
                        "INSERT INTO items (id, dataset, reference_id, body) VALUES (?, ?, ?, ?)"
                    )
                    self._rows(
                        statement, new_id("di"), dataset, reference_id, json.dumps(dict(body))
                    )
                    counts["new_items"] += 1
                elif update:
                    statement = "UPDATE items SET body = ? WHERE dataset = ? AND reference_id = ?"
                    self._rows(statement, json.dumps(dict(body)), dataset, reference_id)
                    counts["updated_items"] += 1
                else:
                    counts["ignored_items"] += 1
        return counts

    def item(self, dataset: str, reference_id: str) -> dict[str, Any] | None:
        """An item as it was sent, with its ``dataset_item_id``."""
        statement = "SELECT * FROM items WHERE dataset = ? AND reference_id = ?"
        return _item(self._rows(statement, dataset, reference_id))

    def item_at(self, dataset: str, place: int) -> dict[str, Any] | None:
        """The n-th item of a dataset, from 0."""
        statement = "SELECT * FROM items WHERE dataset = ? ORDER BY place LIMIT 1 OFFSET ?"
        return _item(self._rows(statement, dataset, place))

    def items_of(self, dataset: str, reference_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Those of these items that there are."""
        found = {}
        for start in range(0, len(reference_ids), _IDS_AT_ONCE):
            part = reference_ids[start : start + _IDS_AT_ONCE]
            marks = ", ".join("?" * len(part))
            statement = f"SELECT * FROM items WHERE dataset = ? AND reference_id IN ({marks})"
            for row in self._rows(statement, dataset, *part):
                found[row["reference_id"]] = json.loads(row["body"])
        return found

    def count_items(self, dataset: str) -> int:
        """How many items a dataset has."""
        return int(self._rows("SELECT count(*) FROM items WHERE dataset = ?", dataset)[0][0])

    # --- models

    def put_model(self, body: Mapping[str, Any]) -> str:
        """The id of the model with this reference id; made where there is none."""
        with self.transaction():
            statement = "SELECT id FROM models WHERE reference_id = ?"
            found = self._rows(statement, body["reference_id"])
            if found:
                return str(found[0]["id"])
            model = new_id("prj")
            statement = "INSERT INTO models (id, reference_id, body) VALUES (?, ?, ?)"
            self._rows(statement, model, body["reference_id"], json.dumps(dict(body)))
            return model

    def models(self) -> list[dict[str, Any]]:
        """All models, as the client reads them."""
        return [_model(row) for row in self._rows("SELECT * FROM models ORDER BY place")]

    def model(self, model: str) -> dict[str, Any] | None:
        """A model; None where there is none of this id."""
        found = self._rows("SELECT * FROM models WHERE id = ?", model)
        return _model(found[0]) if found else None

    def delete_model(self, model: str) -> None:
        """Remove a model and what it predicted."""
        with self.transaction():
            self._rows("DELETE FROM annotations WHERE owner = ?", model)
            self._rows("DELETE FROM models WHERE id = ?", model)

    # --- annotations

    def has(self, one: Annotation) -> bool:
        """Whether there is an annotation of this identity."""
        statement = (
            "SELECT 1 FROM annotations WHERE dataset = ? AND owner = ? AND reference_id = ? "
            "AND kind = ? AND identity = ?"
        )
        identity = (one.dataset, one.owner, one.reference_id, one.kind, one.identity)
        return bool(self._rows(statement, *identity))

    def put(self, one: Annotation) -> None:
        """Store an annotation in the place of one of the same identity."""
        self._rows(
            "INSERT INTO annotations (dataset, owner, reference_id, kind, identity, body, findings)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body, "
            "findings = excluded.findings",
            *(one.dataset, one.owner, one.reference_id, one.kind, one.identity),
            json.dumps(one.body),
            json.dumps(list(one.findings)),
        )

    def segmentation_id(self, dataset: str, owner: str, reference_id: str) -> str | None:
        """The annotation id of what is there for an item; None where it has none."""
        statement = (
            "SELECT body FROM annotations WHERE dataset = ? AND owner = ? AND reference_id = ? "
            "AND kind = ? AND identity = ''"
        )
        found = self._rows(statement, dataset, owner, reference_id, SEGMENTATION)
        return json.loads(found[0]["body"]).get("annotation_id") if found else None

    def annotations(
        self, dataset: str, owner: str, reference_id: str | None = None
    ) -> dict[str, list[dict[str, Any]]]:
        """What was sent for an item, or for all, by kind; with a ``type`` as it is read back."""
        statement = "SELECT * FROM annotations WHERE dataset = ? AND owner = ?"
        values = [dataset, owner]
        if reference_id is not None:
            statement += " AND reference_id = ?"
            values.append(reference_id)
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self._rows(f"{statement} ORDER BY place", *values):
            body = {**json.loads(row["body"]), "type": row["kind"]}
            found.setdefault(row["kind"], []).append(body)
        return found

    def findings(self, dataset: str, owner: str) -> dict[str, list[str]]:
        """Reference id -> what segpipe found in what was sent for it, where it found anything."""
        statement = (
            "SELECT reference_id, findings FROM annotations WHERE dataset = ? AND owner = ? "
            "AND findings != '[]' ORDER BY place"
        )
        return {
            row["reference_id"]: json.loads(row["findings"])
            for row in self._rows(statement, dataset, owner)
        }

    def delete_annotations(
        self, dataset: str, owner: str, reference_ids: Sequence[str] | None
    ) -> None:
        """Remove an owner's annotations of some items, or of all."""
        with self.transaction():
            if reference_ids is None:
                statement = "DELETE FROM annotations WHERE dataset = ? AND owner = ?"
                self._rows(statement, dataset, owner)
            for reference_id in reference_ids or ():
                statement = (
                    "DELETE FROM annotations WHERE dataset = ? AND owner = ? AND reference_id = ?"
                )
                self._rows(statement, dataset, owner, reference_id)

    def owners(self, dataset: str) -> list[str]:
        """The models that predicted items of a dataset."""
        statement = "SELECT DISTINCT owner FROM annotations WHERE dataset = ? AND owner != ?"
        return [row["owner"] for row in self._rows(statement, dataset, GROUND_TRUTH)]

    # --- jobs and what they work on

    def create_job(self, dataset: str, kind: str, asked: Mapping[str, Any]) -> Job:
        """A job that waits."""
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        job = Job(new_id("job"), dataset, kind, "Queued", {}, [], created, asked)
        statement = (
            "INSERT INTO jobs (id, dataset, kind, status, message, errors, created, asked) "
            "VALUES (?, ?, ?, ?, '{}', '[]', ?, ?)"
        )
        self._rows(statement, job.id, dataset, kind, job.status, created, json.dumps(dict(asked)))
        return job

    def update_job(
        self, job: str, status: str, message: Mapping[str, Any], errors: Sequence[str]
    ) -> None:
        """Say how far a job is."""
        statement = "UPDATE jobs SET status = ?, message = ?, errors = ? WHERE id = ?"
        self._rows(statement, status, json.dumps(dict(message)), json.dumps(list(errors)), job)

    def job(self, job: str) -> Job | None:
        """A job; None where there is none of this id."""
        found = self._rows("SELECT * FROM jobs WHERE id = ?", job)
        return _job(found[0]) if found else None

    def jobs(self) -> list[Job]:
        """All jobs, in the order they were made."""
        return [_job(row) for row in self._rows("SELECT * FROM jobs ORDER BY place")]

    def sign_upload(self, dataset: str, request_id: str) -> str:
        """A token under which the body of a request may be put, once made the same for ever."""
        with self.transaction():
            statement = "SELECT token FROM uploads WHERE dataset = ? AND request_id = ?"
            found = self._rows(statement, dataset, request_id)
            if found:
                return str(found[0]["token"])
            token = uuid.uuid4().hex
            statement = "INSERT INTO uploads (request_id, dataset, token) VALUES (?, ?, ?)"
            self._rows(statement, request_id, dataset, token)
            return token

    def put_upload(self, token: str, body: bytes) -> bool:
        """Keep the body; False where the token is of no upload."""
        with self._lock:
            statement = "UPDATE uploads SET body = ? WHERE token = ?"
            return self._connection.execute(statement, (body, token)).rowcount == 1

    def upload(self, dataset: str, request_id: str) -> bytes | None:
        """The body that was put; None where there is none."""
        statement = "SELECT body FROM uploads WHERE dataset = ? AND request_id = ?"
        found = self._rows(statement, dataset, request_id)
        return found[0]["body"] if found else None


def _item(found: list[sqlite3.Row]) -> dict[str, Any] | None:
    if not found:
        return None
    return {**json.loads(found[0]["body"]), "dataset_item_id": found[0]["id"]}


def _model(row: sqlite3.Row) -> dict[str, Any]:
    body = json.loads(row["body"])
    told = {"id": row["id"], "name": body["name"], "ref_id": row["reference_id"]}
    return {**told, "metadata": body.get("metadata") or {}, "tags": body.get("tags") or []}


def _job(row: sqlite3.Row) -> Job:
    return Job(
        row["id"],
        row["dataset"],
        row["kind"],
        row["status"],
        json.loads(row["message"]),
        json.loads(row["errors"]),
        row["created"],
        json.loads(row["asked"]),
    )
