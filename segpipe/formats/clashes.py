"""Records of one source that predict the same item differently, such as ``a.png`` and ``a.PNG``."""

from __future__ import annotations

from dataclasses import dataclass, field

from segpipe.formats.stored_records import StoredRecord
from segpipe.manifests.rows import ImportFinding


@dataclass
class Clashes:
    """The items of a source so far, to name both records where a second one differs.

    Nothing is decided here: validation rejects them all, since no order between them is trusted.
    """

    # Item -> digest of its prediction, and the records that clash.
    _seen: dict[str, tuple[bytes, list[str]]] = field(default_factory=dict)
    _clashing: set[str] = field(default_factory=set)

    def noted(self, record: StoredRecord) -> tuple[ImportFinding | None, int]:
        """The finding for a record whose item has another prediction, and how many are refused.

        Args:
            record: one that was not refused otherwise.

        Returns:
            The finding, and 2 for the first clash of an item, 1 for each further record; None and
            0 for any other record.
        """
        digest, item = record.digest, record.reference_id
        assert digest is not None
        first, sources = self._seen.setdefault(item, (digest, []))
        sources.append(record.source)
        if item not in self._clashing and digest == first:
            return None, 0
        newly = len(sources) if item not in self._clashing else 1
        self._clashing.add(item)
        files = " and ".join(sources)
        return ImportFinding(
            "REF-DUPLICATE",
            f"{files} are all predictions of the item {item!r}, with different content, and the "
            "run will reject them all: take one away or rename it, and import again",
            found=files,
            expected="one prediction per item",
        ), newly
