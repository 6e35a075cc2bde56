"""What a root has of one dataset item: published, validated and rejected predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from segpipe.manifests.landing import Landing
from segpipe.manifests.partition import Partition
from segpipe.predictions.view import View
from segpipe.publishing.catalog import Catalog
from segpipe.settings import Settings
from segpipe.storage.files import Folder
from segpipe.tables.item_rows import rows_of_item
from segpipe.tables.schemas import REJECTED, SEGMENTS, VALIDATED
from segpipe.validation.rules import CATALOGUE, Evidence
from segpipe.validation.summary import REJECTED_FILE, SEGMENTS_FILE, SUMMARY_FILE, VALIDATED_FILE

#: What became of a prediction.
PUBLISHED, ACCEPTED, REFUSED = "published", "validated", "rejected"
#: Reads a row of a partition's manifest again.
ReadEvidence = Callable[[Partition, str, int], tuple[Evidence, bytes]]


@dataclass(frozen=True)
class ItemFinding:
    """What a rule found in a prediction.

    Attributes:
        severity: ``reject``, ``warn`` or ``convert``.
        remedy: what to do; empty where nothing is to be done, or the message ends with it.
    """

    rule: str
    severity: str
    message: str
    remedy: str


@dataclass
class ItemVersion:
    """One prediction for an item.

    Attributes:
        outcome: ``published``, ``validated`` (and not published) or ``rejected``.
        row: of the catalog or, with ``segments``, of the validated table; of a rejected one
            ``reference_id``, ``manifest`` and ``manifest_row``.
        findings: of the rules; not known of what was published from tables that are gone.
        manifest_row: number of the row it came from, in ``row["manifest"]``; None if not known.
    """

    outcome: str
    model_run: str
    date: str
    row: Mapping[str, Any]
    findings: list[ItemFinding] = field(default_factory=list)
    manifest_row: int | None = None

    @property
    def partition(self) -> Partition:
        """The partition it is of."""
        return Partition(self.model_run, self.date)

    @property
    def name(self) -> str:
        """Model run and, where that is not the published one, day and outcome."""
        if self.outcome == PUBLISHED:
            return self.model_run
        said = "rejected" if self.outcome == REFUSED else "validated, not published"
        place = f", {self.row['manifest']} row {self.manifest_row}"
        return f"{self.model_run}  {self.date}: {said}{place * (self.outcome == REFUSED)}"


def versions_of(
    settings: Settings,
    catalog: Catalog,
    reference_id: str,
    model_run: str | None = None,
    date: str | None = None,
) -> list[ItemVersion]:
    """All predictions for an item: by model run, the published one first, then by day.

    Args:
        model_run, date: only of these; of all where None. Each partition that is looked at costs
            reading its reference ids.

    Raises:
        SegpipeError: if a table cannot be read.
    """
    rows = catalog.predictions(model_run, [reference_id], date=date).to_pylist()
    published = {
        row["model_run"]: ItemVersion(PUBLISHED, row["model_run"], row["partition"], row)
        for row in rows
    }
    others: list[ItemVersion] = []
    folder = settings.folder("validated")
    for partition in Landing(folder).partitions():
        tables = folder.folder(*partition.folders)
        wanted = model_run in (None, partition.model_run) and date in (None, partition.date)
        if wanted and tables.exists(SUMMARY_FILE):
            for one in _in_partition(tables, partition, settings.dataset, reference_id):
                there = published.get(partition.model_run)
                given = settings.policies.of(partition.model_run).publish_as is View.GIVEN
                if one.outcome == REFUSED or there is None or not _is_same(there, one, given):
                    others.append(one)
                elif there.date == one.date:
                    there.findings, there.manifest_row = one.findings, one.manifest_row
    return sorted(
        [*published.values(), *others],
        key=lambda one: (one.model_run, one.outcome != PUBLISHED, one.date),
    )


def _is_same(published: ItemVersion, validated: ItemVersion, given: bool) -> bool:
    """Whether a validated prediction is what was published, ``given`` or as a view of it."""
    if given:
        return bool(published.row["fingerprint"] == validated.row["fingerprint"])
    source = (validated.date, validated.row["manifest"])
    return source == (published.date, published.row["manifest"])


def _in_partition(
    tables: Folder, partition: Partition, dataset: str, reference_id: str
) -> Iterator[ItemVersion]:
    model_run, date = partition.model_run, partition.date
    for row in _rows(tables, VALIDATED_FILE, VALIDATED.names, reference_id):
        if row["dataset"] == dataset:
            segments = list(_rows(tables, SEGMENTS_FILE, SEGMENTS.names, reference_id))
            findings = [_finding(one) for one in row["findings"] or ()]
            row |= {"segments": segments}
            yield ItemVersion(ACCEPTED, model_run, date, row, findings, row["manifest_row"])
    found: dict[tuple[str, int], ItemVersion] = {}
    for row in _rows(tables, REJECTED_FILE, REJECTED.names, reference_id):
        if row["dataset"] == dataset:
            place = (row["manifest"], row["manifest_row"])
            new = ItemVersion(REFUSED, model_run, date, row, manifest_row=row["manifest_row"])
            one = found.setdefault(place, new)
            one.findings.append(_finding(row))
    yield from found.values()


def _rows(
    tables: Folder, name: str, columns: list[str], reference_id: str
) -> Iterator[dict[str, Any]]:
    """The rows of a table that are about an item, with all columns."""
    for row in rows_of_item(tables, name, reference_id, columns).to_pylist():
        yield {**dict.fromkeys(columns), **row}  # an earlier segpipe wrote fewer


def _finding(row: Mapping[str, Any]) -> ItemFinding:
    known = CATALOGUE.get(row["rule"])
    remedy = row.get("remedy") or (known.remedy if known is not None else "")
    is_said = row["severity"] == "convert" or remedy.rstrip(".").lower() in row["message"].lower()
    return ItemFinding(row["rule"], row["severity"], row["message"], "" if is_said else remedy)
