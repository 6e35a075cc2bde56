"""The summary of a materialized view, stored beside its tables."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from segpipe.errors import TableError
from segpipe.storage.files import Folder

NOTE_FILE = "_view.json"


@dataclass(frozen=True)
class ViewSummary:
    """What materializing a view did.

    Attributes:
        view: its name.
        predictions: rows of the view's table; as many as in the validated table.
        changed: predictions whose pixel values the view changed.
        segments: rows of the view's segment table.
        given_segments: Segments of the predictions it was made from.
        undecided: Segments kept as things because nothing says thing or stuff.
        undecided_labels: their labels; the first ten, sorted.
        digest: of the view's content (hex).
        source_digest: of the validated tables it was made from (hex).
        rules_digest: of the view and the taxonomy (hex).
    """

    view: str
    predictions: int
    changed: int
    segments: int
    given_segments: int
    undecided: int
    undecided_labels: tuple[str, ...]
    digest: str
    source_digest: str
    rules_digest: str

    def to_json(self) -> str:
        """JSON text, as stored beside the tables."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def read(cls, folder: Folder) -> ViewSummary:
        """The note stored beside the tables of a view.

        Raises:
            TableError: if there is none, or it is damaged.
        """
        if not folder.exists(NOTE_FILE):
            raise TableError(f"{folder.shown} holds no finished view: materialize it first")
        try:
            note = json.loads(folder.read(NOTE_FILE))
            note["undecided_labels"] = tuple(note["undecided_labels"])
            return cls(**note)
        except (ValueError, TypeError, KeyError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise TableError(
                f"{folder.shown}/{NOTE_FILE} is damaged ({error}; expected {names}): materialize "
                "the view again"
            ) from None
