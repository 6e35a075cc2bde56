"""Stores received segmentations: validates them and publishes them to the catalog.

Requests are validated concurrently. One thread then decides their outcomes, in the order they
arrived, and publishes all waiting ones in one commit: the client sends ten masks at a time, and a
commit costs the same for ten as for a thousand.

The catalog is written before the registry. A process killed in between has not answered: the
client sends the request again, and its masks are in place already.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import SegpipeError
from segpipe.manifests.rows import ManifestChunk, ManifestRow
from segpipe.nucleus_server.received import ReceivedMasks
from segpipe.nucleus_server.reconciliation import Reconciliation
from segpipe.nucleus_server.registry import SEGMENTATION, Annotation, Registry
from segpipe.publishing.maintenance import unpublish
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
from segpipe.storage.sources import recorded
from segpipe.validation.chunk import Validation, validate_chunk
from segpipe.validation.validated import PredictionBatch, nested

_TOGETHER = 200  # requests published in one commit, at most
_logger = logging.getLogger("segpipe.nucleus_server")


class Checks(StrEnum):
    """Whether masks that segpipe would reject are refused or accepted with findings."""

    STRICT = "strict"
    AS_NUCLEUS = "as-nucleus"


@dataclass(frozen=True)
class Segmentation:
    """One validated segmentation of a request.

    Attributes:
        sent: as it was sent.
        refused: why it cannot be stored; None where it can.
        findings: what segpipe found, the reasons first.
        prediction: one row and its Segments for the catalog; None where the mask is not fit for it.
    """

    sent: Mapping[str, Any]
    refused: str | None
    findings: Sequence[str] = ()
    prediction: PredictionBatch | None = None

    @property
    def reference_id(self) -> str:
        """Of the item."""
        return str(self.sent["reference_id"])

    @property
    def error(self) -> str:
        """The refusal in the form of the service: the segmentation and the reason, as JSON."""
        return json.dumps({"annotation": dict(self.sent), "error": self.refused})


@dataclass(frozen=True)
class Counts:
    """Outcome of a request: segmentations processed and ignored, and an error for each refusal."""

    processed: int
    ignored: int
    errors: list[str]


@dataclass
class _Waiting:
    dataset: str
    owner: str
    update: bool
    segmentations: list[Segmentation]
    answer: Future[Counts]


class SegmentationStore:
    """Takes segmentations in."""

    def __init__(
        self, root: Root, registry: Registry, reconciliation: Reconciliation, checks: Checks
    ) -> None:
        self._root, self._registry, self._checks = root, registry, checks
        self._reconciliation = reconciliation
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue()
        self._writer = threading.Thread(target=self._write, name="catalog writer", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Finish what is waiting."""
        self._waiting.put(None)
        self._writer.join()

    def take(
        self,
        dataset: str,
        owner: str,
        segmentations: Sequence[Mapping[str, Any]],
        masks: Sequence[bytes],
        *,
        update: bool,
    ) -> Counts:
        """Store a request's segmentations; returns when they are in the catalog.

        Args:
            segmentations: as they were sent; each has a ``reference_id`` that is text.
            masks: PNG bytes of each, or nothing where their URLs are remote.

        Raises:
            SegpipeError: if the root's storage fails; a part may be stored then.
        """
        if update:
            self._reconciliation.catch_up()
            segmentations = [self._with_id(dataset, owner, one) for one in segmentations]
        looked = self._looked_at(dataset, owner, segmentations, masks)
        answer: Future[Counts] = Future()
        self._waiting.put(_Waiting(dataset, owner, update, looked, answer))
        return answer.result()

    def remove(self, dataset: str, owner: str, reference_ids: Sequence[str] | None) -> None:
        """Remove an owner's annotations of some items, or of all, here and in the catalog."""
        with self._reconciliation.changing():
            ids = list(self._registry.fingerprints(dataset, owner))
            if reference_ids is not None:
                ids = sorted(set(ids) & set(reference_ids))
            self._unpublish(dataset, owner, ids)
            self._registry.delete_annotations(dataset, owner, reference_ids)

    # --- looking

    def _with_id(self, dataset: str, owner: str, sent: Mapping[str, Any]) -> Mapping[str, Any]:
        """What replaces another without an annotation id of its own keeps the other's."""
        if sent.get("annotation_id") is not None:
            return sent
        kept = self._registry.segmentation_id(dataset, owner, str(sent["reference_id"]))
        return {**sent, "annotation_id": kept}

    def _looked_at(
        self,
        dataset: str,
        owner: str,
        segmentations: Sequence[Mapping[str, Any]],
        masks: Sequence[bytes],
    ) -> list[Segmentation]:
        items = self._registry.items_of(dataset, [str(s["reference_id"]) for s in segmentations])
        name, model_run = self._registry.catalog_identity(dataset, owner)
        sources = ReceivedMasks.of(self._root.settings.sources(), masks)
        policy = self._root.settings.policies.of(model_run)
        validation = Validation(name, model_run, sources, self._root.masks, policy)
        known = [place for place, s in enumerate(segmentations) if s["reference_id"] in items]
        rows = tuple(
            _row(place, segmentations[place], items[segmentations[place]["reference_id"]], sources)
            for place in known
        )
        chunk = ManifestChunk("received", rows, pa.table({"place": pa.array(known, pa.int64())}))
        found = validate_chunk(chunk, validation)
        accepted = _predictions(found.validated, found.segments, segmentations)
        rejected: dict[int, list[str]] = {}
        for row in found.rejected.to_pylist():
            rejected.setdefault(row["manifest_row"], []).append(f"{row['rule']}: {row['message']}")
        looked = []
        for place, sent in enumerate(segmentations):
            if sent["reference_id"] not in items:
                refused = f"Item with id {sent['reference_id']} doesn't exist."
                looked.append(Segmentation(sent, refused))
            elif place in accepted:
                told = accepted[place].rows["findings"][0].as_py()
                findings = [f"{one['rule']}: {one['message']}" for one in told]
                looked.append(Segmentation(sent, None, findings, accepted[place]))
            else:
                findings = rejected.get(place, ["it was not accepted"])
                strict = self._checks is Checks.STRICT
                looked.append(Segmentation(sent, "; ".join(findings) if strict else None, findings))
        return looked

    # --- writing

    def _write(self) -> None:
        ending = False
        while not ending:
            first = self._waiting.get()
            together = [] if first is None else [first]
            while len(together) < _TOGETHER and first is not None and not self._waiting.empty():
                more = self._waiting.get()
                if more is None:
                    ending = True
                    break
                together.append(more)
            ending = ending or first is None
            while together:
                whose = (together[0].dataset, together[0].owner)
                group = [one for one in together if (one.dataset, one.owner) == whose]
                together = [one for one in together if (one.dataset, one.owner) != whose]
                self._write_group(*whose, group)

    def _write_group(self, dataset: str, owner: str, group: list[_Waiting]) -> None:
        try:
            with self._reconciliation.changing():
                stored, counts = self._decided(dataset, owner, group)
                self._publish(dataset, owner, stored)
                with self._registry.transaction():
                    for one in stored:
                        self._registry.put(_annotation(dataset, owner, one))
        except BaseException as error:  # nobody may wait for ever
            for waiting in group:
                waiting.answer.set_exception(error)
            if not isinstance(error, SegpipeError):
                _logger.exception("storing segmentations failed")
            return
        for waiting, told in zip(group, counts, strict=True):
            waiting.answer.set_result(told)

    def _decided(
        self, dataset: str, owner: str, group: list[_Waiting]
    ) -> tuple[list[Segmentation], list[Counts]]:
        """The segmentations to store from some requests, and the counts of each request."""
        stored: dict[str, Segmentation] = {}
        counts = []
        for waiting in group:
            processed, ignored, errors = 0, 0, []
            for one in waiting.segmentations:
                there = one.reference_id in stored or self._registry.has(
                    _annotation(dataset, owner, one)
                )
                if one.refused is not None:
                    errors.append(one.error)
                elif there and not waiting.update:
                    ignored += 1
                else:
                    stored[one.reference_id] = one
                    processed += 1
            counts.append(Counts(processed, ignored, errors))
        return list(stored.values()), counts

    def _publish(self, dataset: str, owner: str, stored: list[Segmentation]) -> None:
        name, model_run = self._registry.catalog_identity(dataset, owner)
        batches = [one.prediction for one in stored if one.prediction is not None]
        now = datetime.now(UTC)
        if batches:
            batch = PredictionBatch(
                pa.concat_tables([one.rows for one in batches]),
                pa.concat_arrays([one.segments for one in batches]),
            )
            run = self._reconciliation.run_id()
            provenance = Provenance(name, model_run, now.date().isoformat(), run, now, update=True)
            self._root.catalog.publish(batch, self._root.masks, provenance)
            self._log_remarks()
        # What the catalog holds for these items is not what the service would hold.
        unfit = [one.reference_id for one in stored if one.prediction is None]
        self._unpublish(dataset, owner, unfit)

    def _unpublish(self, dataset: str, owner: str, ids: Sequence[str]) -> None:
        if ids:
            name, model_run = self._registry.catalog_identity(dataset, owner)
            run = self._reconciliation.run_id()
            unpublish(self._root.catalog, name, model_run, run, reference_ids=ids)
            self._log_remarks()

    def _log_remarks(self) -> None:
        for remark in self._root.catalog.take_remarks():
            _logger.warning(remark)


def _row(
    place: int, sent: Mapping[str, Any], item: Mapping[str, Any], sources: ReceivedMasks
) -> ManifestRow:
    return ManifestRow(
        manifest="received",
        number=place,
        reference_id=str(sent["reference_id"]),
        mask_url=sources.url_of(place, str(sent.get("mask_url") or "")),
        segments=sent.get("annotations"),
        annotation_id=sent.get("annotation_id"),
        height=item.get("height"),
        width=item.get("width"),
    )


def _predictions(
    validated: pa.Table, segments: pa.Table, sent: Sequence[Mapping[str, Any]]
) -> dict[int, PredictionBatch]:
    """Place in the request -> a batch of that one prediction, its mask's URL as it was sent."""
    places = validated["place"].to_pylist()
    counts = validated["n_segments"].to_numpy()
    urls = pa.array([recorded(str(sent[one].get("mask_url") or ""), "") for one in places])
    column = validated.schema.get_field_index("mask_url")
    rows = validated.drop_columns(["place"]).set_column(column, "mask_url", pc.cast(urls, "string"))
    lists = nested(counts, segments)
    return {
        place: PredictionBatch(rows.slice(number, 1), lists.slice(number, 1))
        for number, place in enumerate(places)
    }


def _annotation(dataset: str, owner: str, one: Segmentation) -> Annotation:
    kind = SEGMENTATION
    rows = None if one.prediction is None else one.prediction.rows
    fingerprint = None if rows is None else rows["fingerprint"][0].as_py()
    return Annotation(
        dataset, owner, one.reference_id, kind, "", one.sent, one.findings, fingerprint
    )
