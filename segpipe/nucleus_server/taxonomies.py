"""The taxonomies of datasets, and whether categories are of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segpipe.nucleus_server.database import Database

#: Types of annotations of which an item has one for each taxonomy.
CATEGORIES = ("category", "multicategory")


class Taxonomies:
    """The taxonomies of a database."""

    def __init__(self, database: Database) -> None:
        self._rows, self._transaction_of = database.rows, database.transaction_of

    def labels(self, dataset: str, name: str) -> list[str] | None:
        """A taxonomy's labels; None where there is none of this name."""
        statement = "SELECT body FROM lists WHERE of = ? AND name = ?"
        found = self._rows(statement, dataset, _stored(name))
        return list(json.loads(found[0]["body"])) if found else None

    def put(self, dataset: str, name: str, labels: Iterable[str], *, update: bool) -> str:
        """Keep a taxonomy, or add labels to it; what was done, in the service's words.

        Raises:
            RequestRefused: 404 if there is no such dataset any more.
        """
        with self._transaction_of(dataset):
            known = self.labels(dataset, name)
            if known is not None and not update:
                return "Taxonomy already exists"
            body = json.dumps(list(dict.fromkeys([*(known or ()), *labels])))
            statement = "INSERT OR REPLACE INTO lists (of, name, body) VALUES (?, ?, ?)"
            self._rows(statement, dataset, _stored(name), body)
        return "Taxonomy created" if known is None else "Taxonomy updated"

    def delete(self, dataset: str, name: str) -> None:
        """Forget a taxonomy. What was annotated with it stays."""
        self._rows("DELETE FROM lists WHERE of = ? AND name = ?", dataset, _stored(name))

    def refusals(self, dataset: str, sent: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """Why each annotation cannot be taken, in the service's words; None where it can: where it
        is of the taxonomy it names, names none, or is no category."""
        known: dict[str, list[str]] = {}
        found: list[str | None] = []
        for one in sent:
            name = str(one.get("taxonomy_name") or "")
            if not name or one.get("type") not in CATEGORIES:
                found.append(None)
                continue
            if name not in known:
                known[name] = self.labels(dataset, name) or []
            found.append(_refusal(dataset, name, one, known[name]))
        return found


def _refusal(dataset: str, name: str, sent: Mapping[str, Any], known: list[str]) -> str | None:
    labels = sent.get("labels") if sent["type"] == "multicategory" else [sent.get("label")]
    for label in labels if isinstance(labels, list) else [labels]:
        if label not in known:
            return (
                f"Input validation failed: Taxonomy {name} does not exist in dataset {dataset}, "
                f"or label {label} does not exist in the taxonomy {name}."
            )
    return None


def _stored(name: str) -> str:
    """The name in a table that holds tags as well."""
    return f"taxonomy {name}"
