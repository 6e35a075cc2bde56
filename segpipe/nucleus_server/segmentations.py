"""Segmentations that come in: validated, decided on, and put into the catalog.

Requests are validated side by side. One thread then decides what each comes to, in the order they
came, and publishes what is waiting in one commit: the client sends ten masks at a time, and a
commit costs the same for ten as for a thousand.

The catalog is written before the registry. Who is killed in between answered nobody: what was sent
is sent again, and finds its masks in place.
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
from segpipe.manifest import ManifestChunk, ManifestRow
from segpipe.nucleus_server.database import new_id
from segpipe.nucleus_server.received import ReceivedMasks
from segpipe.nucleus_server.registry import GROUND_TRUTH, SEGMENTATION, Annotation, Registry
from segpipe.publishing.maintenance import unpublish
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
from segpipe.sources import recorded
from segpipe.validated import PredictionBatch, nested
from segpipe.validation import Validation, validate_chunk

#: The model run under which annotations are in the catalog.
GROUND_TRUTH_RUN = "ground-truth"
_TOGETHER = 200  # requests published in one commit, at most
_logger = logging.getLogger("segpipe.nucleus_server")


class Checks(StrEnum):
    """What becomes of masks segpipe would reject."""

    STRICT = "strict"
    AS_NUCLEUS = "as-nucleus"


@dataclass(frozen=True)
class Segmentation:
    """One segmentation of a request, looked at.

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
    """What a request came to."""

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

    def __init__(self, root: Root, registry: Registry, checks: Checks) -> None:
        self._root, self._registry, self._checks = root, registry, checks
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue()
        self._writer = threading.Thread(target=self._write, name="catalog writer", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Finish what is waiting."""
        self._waiting.put(None)
        self._writer.join()

    def catalog_identity(self, dataset: str, owner: str) -> tuple[str, str]:
        """The catalog's dataset and model run: names, where the service has ids."""
        name = self._registry.dataset_name(dataset) or dataset
        same = [other for other, called in self._registry.datasets() if called == name]
        if same and same[0] != dataset:
            name = f"{name} ({dataset})"
        if owner == GROUND_TRUTH:
            return name, GROUND_TRUTH_RUN
        model = self._registry.model(owner)
        return name, str(model["ref_id"]) if model else owner

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
            segmentations = [self._with_id(dataset, owner, one) for one in segmentations]
        looked = self._looked_at(dataset, owner, segmentations, masks)
        answer: Future[Counts] = Future()
        self._waiting.put(_Waiting(dataset, owner, update, looked, answer))
        return answer.result()

    def remove(self, dataset: str, owner: str, reference_ids: Sequence[str] | None) -> None:
        """Remove an owner's annotations of some items, or of all, here and in the catalog."""
        name, model_run = self.catalog_identity(dataset, owner)
        there = self._registry.annotations(dataset, owner).get(SEGMENTATION, [])
        ids = [one["reference_id"] for one in there]
        if reference_ids is not None:
            ids = sorted(set(ids) & set(reference_ids))
        if ids:
            unpublish(self._root.catalog, name, model_run, new_id("request"), reference_ids=ids)
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
        name, model_run = self.catalog_identity(dataset, owner)
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
            stored: dict[str, Segmentation] = {}
            counts = []
            for waiting in group:
                told = Counts(0, 0, [])
                for one in waiting.segmentations:
                    there = one.reference_id in stored or self._registry.has(
                        _annotation(dataset, owner, one)
                    )
                    if one.refused is not None:
                        told.errors.append(one.error)
                    elif there and not waiting.update:
                        told = Counts(told.processed, told.ignored + 1, told.errors)
                    else:
                        stored[one.reference_id] = one
                        told = Counts(told.processed + 1, told.ignored, told.errors)
                counts.append(told)
            self._publish(dataset, owner, list(stored.values()))
            with self._registry.transaction():
                for one in stored.values():
                    self._registry.put(_annotation(dataset, owner, one))
        except BaseException as error:  # nobody may wait for ever
            for waiting in group:
                waiting.answer.set_exception(error)
            if not isinstance(error, SegpipeError):
                _logger.exception("storing segmentations failed")
            return
        for waiting, told in zip(group, counts, strict=True):
            waiting.answer.set_result(told)

    def _publish(self, dataset: str, owner: str, stored: list[Segmentation]) -> None:
        name, model_run = self.catalog_identity(dataset, owner)
        batches = [one.prediction for one in stored if one.prediction is not None]
        now = datetime.now(UTC)
        if batches:
            batch = PredictionBatch(
                pa.concat_tables([one.rows for one in batches]),
                pa.concat_arrays([one.segments for one in batches]),
            )
            run = new_id("request")
            provenance = Provenance(name, model_run, now.date().isoformat(), run, now, update=True)
            self._root.catalog.publish(batch, self._root.masks, provenance)
        unfit = [one.reference_id for one in stored if one.prediction is None]
        if unfit:
            # What the catalog holds for these items is not what the service would hold.
            unpublish(self._root.catalog, name, model_run, new_id("request"), reference_ids=unfit)


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
    return Annotation(dataset, owner, one.reference_id, kind, "", one.sent, one.findings)
