"""What the endpoint knows besides masks: datasets, items, models, annotations as they were sent."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from segpipe.nucleus_server.database import Database, new_id
from segpipe.nucleus_server.requests import deleted_meanwhile

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
        fingerprint: of a segmentation's row in the catalog; None where it has none.
    """

    dataset: str
    owner: str
    reference_id: str
    kind: str
    identity: str
    body: Mapping[str, Any]
    findings: Sequence[str] = ()
    fingerprint: str | None = None


#: The owner of annotations that no model predicted.
GROUND_TRUTH = "ground truth"
#: The model run under which annotations are in the catalog.
GROUND_TRUTH_RUN = "ground-truth"
_TAGS = "tags"
_DATASET, _MODEL_RUN = "dataset", "model run"
_MOST_BYTES = 180  # of a name in the catalog, where it is a folder's
_RUN = re.compile(r"run_([0-9a-f]{10})([0-9a-f]{10})")


def run_of(dataset: str, model: str) -> str:
    """The id of a model's run on a dataset, of which there is one."""
    return f"run_{dataset.removeprefix('ds_')[:10]}{model.removeprefix('prj_')[:10]}"


class Registry:
    """What a database says of datasets, items, models and annotations."""

    def __init__(self, database: Database) -> None:
        self._rows, self.transaction = database.rows, database.transaction
        self._transaction_of = database.transaction_of
        with self.transaction():
            self._name(_MODEL_RUN, GROUND_TRUTH, GROUND_TRUTH_RUN)
            for dataset, name in self.datasets():
                self._name(_DATASET, dataset, name)
            for model in self.models():
                self._name(_MODEL_RUN, model["id"], model["ref_id"])

    # --- names in the catalog

    def catalog_identity(self, dataset: str, owner: str) -> tuple[str, str]:
        """The catalog's dataset and model run: names, where the service has ids."""
        found = []
        for kind, id in ((_DATASET, dataset), (_MODEL_RUN, owner)):
            statement = "SELECT name FROM catalog_names WHERE kind = ? AND id = ?"
            rows = self._rows(statement, kind, id)
            found.append(str(rows[0]["name"]) if rows else id)
        return found[0], found[1]

    def _name(self, kind: str, id: str, wanted: str) -> None:
        """Give something the name under which it is in the catalog for as long as it is there.

        It is the one that is wanted, unless another has it or it is too long for a folder's.
        """
        name = wanted if len(quote(wanted, safe="")) <= _MOST_BYTES else id
        statement = "SELECT 1 FROM catalog_names WHERE kind = ? AND name = ? AND id != ?"
        while self._rows(statement, kind, name, id):
            name = f"{name} ({id})"
        statement = "INSERT OR IGNORE INTO catalog_names (kind, id, name) VALUES (?, ?, ?)"
        self._rows(statement, kind, id, name)

    def _forget_name(self, kind: str, id: str) -> None:
        self._rows("DELETE FROM catalog_names WHERE kind = ? AND id = ?", kind, id)

    # --- datasets and their items

    def create_dataset(self, body: Mapping[str, Any]) -> str:
        """A new dataset; its id."""
        dataset = new_id("ds")
        statement = "INSERT INTO datasets (id, name, body) VALUES (?, ?, ?)"
        with self.transaction():
            self._rows(statement, dataset, body["name"], json.dumps(body))
            self._name(_DATASET, dataset, body["name"])
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
            for table in ("items", "annotations", "uploads", "journal"):
                self._rows(f"DELETE FROM {table} WHERE dataset = ?", dataset)
            self._rows("DELETE FROM lists WHERE of = ?", dataset)
            self._rows("DELETE FROM datasets WHERE id = ?", dataset)
            self._forget_name(_DATASET, dataset)

    def put_items(
        self, dataset: str, items: Iterable[Mapping[str, Any]], *, update: bool
    ) -> dict[str, int]:
        """Add items; those that are there are ignored or, with ``update``, replaced.

        Raises:
            RequestRefused: 404 if there is no such dataset any more.
        """
        counts = {"new_items": 0, "updated_items": 0, "ignored_items": 0}
        insertion = "INSERT INTO items (id, dataset, reference_id, body) VALUES (?, ?, ?, ?)"
        with self._transaction_of(dataset):
            for body in items:
                reference_id = body["reference_id"]
                if self.item(dataset, reference_id) is None:
                    told = json.dumps(dict(body))
                    self._rows(insertion, new_id("di"), dataset, reference_id, told)
                    counts["new_items"] += 1
                elif update:
                    statement = "UPDATE items SET body = ? WHERE dataset = ? AND reference_id = ?"
                    self._rows(statement, json.dumps(dict(body)), dataset, reference_id)
                    counts["updated_items"] += 1
                else:
                    counts["ignored_items"] += 1
        return counts

    def add_metadata(self, dataset: str, changes: Iterable[Mapping[str, Any]]) -> list[str]:
        """Add keys to the metadata of items, or change them; reference ids that there are not."""
        unknown = []
        with self.transaction():
            for one in changes:
                id = one["reference_id"]
                body = self.items_of(dataset, [id]).get(id)
                if body is None:
                    unknown.append(id)
                    continue
                before = body.get("metadata")
                body["metadata"] = {
                    **(before if isinstance(before, dict) else {}),
                    **one["metadata"],
                }
                statement = "UPDATE items SET body = ? WHERE dataset = ? AND reference_id = ?"
                self._rows(statement, json.dumps(body), dataset, id)
        return unknown

    def item(self, dataset: str, reference_id: str) -> dict[str, Any] | None:
        """An item as it was sent, with its ``dataset_item_id``."""
        statement = "SELECT * FROM items WHERE dataset = ? AND reference_id = ?"
        return _item(self._rows(statement, dataset, reference_id))

    def item_at(self, dataset: str, place: int) -> dict[str, Any] | None:
        """The n-th item of a dataset, from 0."""
        statement = "SELECT * FROM items WHERE dataset = ? ORDER BY place LIMIT 1 OFFSET ?"
        return _item(self._rows(statement, dataset, place))

    def item_with_id(self, dataset: str, id: str) -> dict[str, Any] | None:
        """An item as :meth:`item`, by the id that the endpoint gave it."""
        statement = "SELECT * FROM items WHERE dataset = ? AND id = ?"
        return _item(self._rows(statement, dataset, id))

    def items(self, dataset: str, start: int = 0, most: int = -1) -> list[dict[str, Any]]:
        """Items of a dataset as :meth:`item`, in the order they were made; all if not limited."""
        statement = "SELECT * FROM items WHERE dataset = ? ORDER BY place LIMIT ? OFFSET ?"
        rows = self._rows(statement, dataset, most, start)
        return [{**json.loads(row["body"]), "dataset_item_id": row["id"]} for row in rows]

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

    # --- lists that are kept as they are

    def tags(self, id: str) -> list[str]:
        """The tags of a dataset or model."""
        model = self.model(id)
        return list(model["tags"]) if model is not None else self._list(id, _TAGS)

    def change_tags(self, id: str, tags: Iterable[str], *, remove: bool) -> list[str]:
        """Add tags to a dataset or model, or remove them; those that remain.

        Raises:
            RequestRefused: 404 if there is no such dataset or model any more.
        """
        with self.transaction():
            if self.dataset_name(id) is None and self.model(id) is None:
                raise deleted_meanwhile()
            known = self.tags(id)
            gone = set(tags) if remove else set()
            kept = [one for one in dict.fromkeys([*known, *tags]) if one not in gone]
            self._keep(id, _TAGS, kept)
        return kept

    def _list(self, of: str, name: str, otherwise: Sequence[str] = ()) -> list[str]:
        found = self._rows("SELECT body FROM lists WHERE of = ? AND name = ?", of, name)
        return list(json.loads(found[0]["body"]) if found else otherwise)

    def _keep(self, of: str, name: str, body: list[str]) -> None:
        statement = "INSERT OR REPLACE INTO lists (of, name, body) VALUES (?, ?, ?)"
        self._rows(statement, of, name, json.dumps(body))

    # --- models

    def put_model(self, body: Mapping[str, Any]) -> str:
        """The id of the model with this reference id; made where there is none."""
        with self.transaction():
            found = self.model_called(body["reference_id"])
            if found is not None:
                return found
            model = new_id("prj")
            statement = "INSERT INTO models (id, reference_id, body) VALUES (?, ?, ?)"
            self._rows(statement, model, body["reference_id"], json.dumps(dict(body)))
            self._name(_MODEL_RUN, model, body["reference_id"])
            return model

    def models(self) -> list[dict[str, Any]]:
        """All models, as the client reads them."""
        return [self._model(row) for row in self._rows("SELECT * FROM models ORDER BY place")]

    def model(self, model: str) -> dict[str, Any] | None:
        """A model; None where there is none of this id."""
        found = self._rows("SELECT * FROM models WHERE id = ?", model)
        return self._model(found[0]) if found else None

    def model_called(self, reference_id: str) -> str | None:
        """The id of the model with this reference id; None where there is none."""
        found = self._rows("SELECT id FROM models WHERE reference_id = ?", reference_id)
        return str(found[0]["id"]) if found else None

    def run(self, run: str) -> tuple[str, str] | None:
        """The dataset and the model of a run's id; None where one of them is not there."""
        parts = _RUN.fullmatch(run)
        if parts is None:
            return None
        datasets = self._rows("SELECT id FROM datasets WHERE substr(id, 4, 10) = ?", parts[1])
        models = self._rows("SELECT id FROM models WHERE substr(id, 5, 10) = ?", parts[2])
        return (datasets[0]["id"], models[0]["id"]) if datasets and models else None

    def _model(self, row: sqlite3.Row) -> dict[str, Any]:
        body = json.loads(row["body"])
        told = {"id": row["id"], "name": body["name"], "ref_id": row["reference_id"]}
        tags = self._list(row["id"], _TAGS, body.get("tags") or ())
        return {**told, "metadata": body.get("metadata") or {}, "tags": tags}

    def delete_model(self, model: str) -> None:
        """Remove a model and what it predicted."""
        with self.transaction():
            for table in ("annotations", "journal"):
                self._rows(f"DELETE FROM {table} WHERE owner = ?", model)
            self._rows("DELETE FROM lists WHERE of = ?", model)
            self._rows("DELETE FROM models WHERE id = ?", model)
            self._forget_name(_MODEL_RUN, model)

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
            "INSERT INTO annotations "
            "(dataset, owner, reference_id, kind, identity, body, findings, fingerprint)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body, "
            "findings = excluded.findings, fingerprint = excluded.fingerprint",
            *(one.dataset, one.owner, one.reference_id, one.kind, one.identity),
            json.dumps(one.body),
            json.dumps(list(one.findings)),
            one.fingerprint,
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

    def segmentations_of(
        self, dataset: str, owner: str, reference_ids: Sequence[str]
    ) -> dict[str, str | None]:
        """:meth:`fingerprints`, of those of these items that have a segmentation."""
        found = {}
        for start in range(0, len(reference_ids), _IDS_AT_ONCE):
            part = reference_ids[start : start + _IDS_AT_ONCE]
            marks = ", ".join("?" * len(part))
            statement = (
                "SELECT reference_id, fingerprint FROM annotations WHERE dataset = ? AND owner = ? "
                f"AND kind = ? AND identity = '' AND reference_id IN ({marks})"
            )
            for row in self._rows(statement, dataset, owner, SEGMENTATION, *part):
                found[row["reference_id"]] = row["fingerprint"]
        return found

    def fingerprints(self, dataset: str, owner: str) -> dict[str, str | None]:
        """Reference id -> fingerprint of the catalog's row, of every segmentation; None where the
        catalog has none."""
        statement = (
            "SELECT reference_id, fingerprint FROM annotations WHERE dataset = ? AND owner = ? "
            "AND kind = ?"
        )
        rows = self._rows(statement, dataset, owner, SEGMENTATION)
        return {row["reference_id"]: row["fingerprint"] for row in rows}

    def delete_segmentations(self, dataset: str, owner: str, reference_ids: Sequence[str]) -> None:
        """Remove an owner's segmentations of some items."""
        statement = (
            "DELETE FROM annotations WHERE dataset = ? AND owner = ? AND reference_id = ? "
            "AND kind = ?"
        )
        with self.transaction():
            for reference_id in reference_ids:
                self._rows(statement, dataset, owner, reference_id, SEGMENTATION)

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


def _item(found: list[sqlite3.Row]) -> dict[str, Any] | None:
    if not found:
        return None
    return {**json.loads(found[0]["body"]), "dataset_item_id": found[0]["id"]}
