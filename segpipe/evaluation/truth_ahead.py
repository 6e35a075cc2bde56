"""The ground truth of partitions that are looked at one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from segpipe.errors import StorageError, TableError
from segpipe.evaluation.of_partition import rejected_ids, validated_ids
from segpipe.manifests.partition import Partition
from segpipe.publishing.ground_truth import PublishedTruth
from segpipe.storage.files import Folder

# Items whose ground truth is read at once: their fingerprints are held, and a bounded number of
# bytes of their Segments.
_ITEMS_AHEAD = 4096


class TruthAhead:
    """Published ground truth that is read for a partition and those after it at once.

    Where reference ids say nothing of the day, each reading goes through all files of the ground
    truth: many small partitions would read all of it each.

    Args:
        truth: as it is now.
        partitions: in the order in which they are looked at.
        tables: the folder of a partition's validated tables.
    """

    def __init__(
        self,
        truth: PublishedTruth,
        partitions: Sequence[Partition],
        tables: Callable[[Partition], Folder],
    ) -> None:
        self._whole, self._partitions, self._tables = truth, partitions, tables
        self._places = {partition: place for place, partition in enumerate(partitions)}
        self._within: set[Partition] = set()
        self._truth = truth

    def of(self, partition: Partition) -> PublishedTruth:
        """The ground truth, to be asked about one of the partitions; nothing is read before."""
        if partition not in self._within:
            first = self._places[partition]
            self._within = set()  # filled as soon as anything is read
            self._truth = self._whole.read_together(lambda: self._ids(self._partitions[first:]))
        return self._truth

    def _ids(self, partitions: Sequence[Partition]) -> Collection[str]:
        """The items of as many of the first partitions as may be held, in their order."""
        found: dict[str, None] = {}
        for partition in partitions:
            try:
                folder = self._tables(partition)
                ids = dict.fromkeys([*validated_ids(folder), *rejected_ids(folder)])
            except (StorageError, TableError):
                continue  # whoever evaluates it says what is wrong
            if len(found | ids) > _ITEMS_AHEAD:
                break
            found |= ids
            self._within.add(partition)
        return found
