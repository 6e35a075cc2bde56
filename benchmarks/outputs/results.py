"""Results by name, as digests."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.outputs.constants import ID, SECONDS, TIME


@dataclass
class Results:
    """Name -> digest, or a few words. Texts wait until all is known that has to be replaced.

    Attributes:
        folder: everything is made in it; its name is replaced.
        passing: digests over texts that name the folder, which are replaced as well.
    """

    folder: Path
    values: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    passing: set[str] = field(default_factory=set)

    def add(self, name: str, value: str) -> None:
        """Keep a result that is the same in every folder."""
        if name in self.values or name in self.texts:
            raise ValueError(f"there are two results {name}")
        self.values[name] = value

    def text(self, name: str, text: str) -> None:
        """Keep a text that may name the folder, ids and times."""
        if name in self.values or name in self.texts:
            raise ValueError(f"there are two results {name}")
        self.texts[name] = text

    def same(self, text: str) -> str:
        """A text without what differs from run to run."""
        text = text.replace(str(self.folder), "FOLDER")
        return TIME.sub("TIME", SECONDS.sub("in N s", ID.sub("ID", text)))

    def finished(self) -> dict[str, str]:
        """All results, by name; short texts as they are."""
        found = dict(self.values)
        replaced = re.compile("|".join(self.passing)) if self.passing else None
        for name, text in self.texts.items():
            text = self.same(replaced.sub("DIGEST", text) if replaced else text)
            found[name] = text if len(text) <= 120 else f"{len(text)} characters {digest(text)}"
        return dict(sorted(found.items()))


def digest(content: str | bytes) -> str:
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()


def json_text(content: object) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
