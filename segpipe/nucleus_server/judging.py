"""Received segmentations and what validation says of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.manifests.rows import ManifestChunk, ManifestRow
from segpipe.nucleus_server.received import ReceivedMasks
from segpipe.nucleus_server.registry import Registry
from segpipe.root import Root
from segpipe.storage.sources import recorded
from segpipe.validation.chunk import ValidatedChunk, Validation, validate_chunk
from segpipe.validation.rules import Severity
from segpipe.validation.validated import PredictionBatch, nested

#: Rules that reject a mask for nothing else than a value that no Segment explains.
_UNDECLARED = ({"VALUE-NO-SEGMENT"}, {"IGNORE-255"})
_ADVICE = (
    "If 0 is the background, `segpipe nucleus-server --background-label LABEL` gives it a Segment "
    "in the catalog"
)


class Checks(StrEnum):
    """Whether masks that segpipe would reject are refused or accepted with findings."""

    STRICT = "strict"
    AS_NUCLEUS = "as-nucleus"


@dataclass(frozen=True)
class Judging:
    """How masks are judged.

    Attributes:
        background_label: label of the Segment that undeclared pixels of the value 0 get; None where
            a mask with such pixels is rejected.
    """

    checks: Checks = Checks.AS_NUCLEUS
    background_label: str | None = None


@dataclass(frozen=True)
class Segmentation:
    """One validated segmentation of a request.

    Attributes:
        sent: as it was sent.
        refused: why it cannot be stored; None where it can.
        findings: what segpipe found, the reasons first.
        prediction: one row and its Segments for the catalog; None where the mask is not fit for it.
        advice: how it might be; nothing where there is none.
    """

    sent: Mapping[str, Any]
    refused: str | None
    findings: Sequence[str] = ()
    prediction: PredictionBatch | None = None
    advice: str = ""

    @property
    def reference_id(self) -> str:
        """Of the item."""
        return str(self.sent["reference_id"])

    @property
    def error(self) -> str:
        """The refusal in the form of the service: the segmentation and the reason, as JSON."""
        return json.dumps({"annotation": dict(self.sent), "error": self.refused})

    @property
    def fingerprint(self) -> str | None:
        """Of its row in the catalog; None where it is not fit for it."""
        return None if self.prediction is None else self.prediction.rows["fingerprint"][0].as_py()

    @property
    def reason(self) -> str:
        """Why it is not fit for the catalog."""
        return "; ".join(self.findings)


class Judge:
    """Validates received segmentations as a manifest's rows are."""

    def __init__(self, root: Root, registry: Registry, judging: Judging) -> None:
        self._root, self._registry = root, registry
        self._checks, self._background = judging.checks, judging.background_label

    def judged(
        self,
        dataset: str,
        owner: str,
        segmentations: Sequence[Mapping[str, Any]],
        masks: Sequence[bytes],
    ) -> list[Segmentation]:
        """What becomes of a request's segmentations, in their order.

        Args:
            masks: PNG bytes of each, or nothing where their URLs are remote.

        Raises:
            SegpipeError: if the root's storage fails.
        """
        items = self._registry.items_of(dataset, [str(s["reference_id"]) for s in segmentations])
        name, model_run = self._registry.catalog_identity(dataset, owner)
        sources = ReceivedMasks.of(self._root.settings.sources(), masks)
        policy = self._root.settings.policies.of(model_run)
        validation = Validation(name, model_run, sources, self._root.masks, policy)
        rows = {
            place: _row(place, one, items[one["reference_id"]], sources)
            for place, one in enumerate(segmentations)
            if one["reference_id"] in items
        }
        accepted, rejected = _validated(rows, segmentations, validation)
        noted: dict[int, str] = {}
        if self._background is not None:
            again = {
                place: replace(rows[place], segments=[*sent["annotations"], self._segment])
                for place, sent in enumerate(segmentations)
                if isinstance(sent.get("annotations"), list)
                and _rejecting(rejected.get(place, ())) in _UNDECLARED
            }
            more, _ = _validated(again, segmentations, validation)
            words = f"pixels of the value 0, not declared, are {self._background!r} in the catalog"
            noted = dict.fromkeys(more, f"{words} (--background-label)")
            accepted |= more
        looked = []
        for place, sent in enumerate(segmentations):
            if place not in rows:
                refused = f"Item with id {sent['reference_id']} doesn't exist."
                looked.append(Segmentation(sent, refused))
            elif place in accepted:
                told = accepted[place].rows["findings"][0].as_py()
                findings = [f"{one['rule']}: {one['message']}" for one in told]
                findings += [noted[place]] if place in noted else []
                looked.append(Segmentation(sent, None, findings, accepted[place]))
            else:
                found = rejected.get(place, ())
                findings = [f"{one['rule']}: {one['message']}" for one in found]
                findings = findings or ["it was not accepted"]
                advice = _ADVICE if self._background is None and _lacks_zero_alone(found) else ""
                refused = None
                if self._checks is Checks.STRICT:
                    refused = ". ".join(filter(None, ["; ".join(findings), advice]))
                looked.append(Segmentation(sent, refused, findings, advice=advice))
        return looked

    @property
    def _segment(self) -> dict[str, Any]:
        return {"label": self._background, "index": 0}


def joined(batches: Iterable[PredictionBatch]) -> PredictionBatch:
    """Several batches as one; there is at least one."""
    ones = list(batches)
    return PredictionBatch(
        pa.concat_tables([one.rows for one in ones]),
        pa.concat_arrays([one.segments for one in ones]),
    )


def _validated(
    rows: Mapping[int, ManifestRow],
    sent: Sequence[Mapping[str, Any]],
    validation: Validation,
) -> tuple[dict[int, PredictionBatch], dict[int, list[dict[str, Any]]]]:
    """Place in the request -> a batch of that one prediction, or else rows of REJECTED."""
    extras = pa.table({"place": pa.array(list(rows), pa.int64())})
    found = validate_chunk(ManifestChunk("received", tuple(rows.values()), extras), validation)
    rejected: dict[int, list[dict[str, Any]]] = {}
    for row in found.rejected.to_pylist():
        rejected.setdefault(row["manifest_row"], []).append(row)
    return _predictions(found, sent), rejected


def _rejecting(found: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(one["rule"]) for one in found if one["severity"] == Severity.REJECT}


def _lacks_zero_alone(found: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a mask is rejected for nothing else than undeclared pixels of the value 0."""
    rejecting = [one for one in found if one["severity"] == Severity.REJECT]
    return _rejecting(found) in _UNDECLARED and all(
        one["message"].startswith("value 0:")
        # The one rule lists what is not declared, the other is about one value.
        and (one["found"] == "0" or one["rule"] != "VALUE-NO-SEGMENT")
        for one in rejecting
    )


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
    found: ValidatedChunk, sent: Sequence[Mapping[str, Any]]
) -> dict[int, PredictionBatch]:
    """Place in the request -> a batch of that one prediction, its mask's URL as it was sent."""
    validated = found.validated
    places = validated["place"].to_pylist()
    counts = validated["n_segments"].to_numpy()
    urls = pa.array([recorded(str(sent[one].get("mask_url") or ""), "") for one in places])
    column = validated.schema.get_field_index("mask_url")
    rows = validated.drop_columns(["place"]).set_column(column, "mask_url", pc.cast(urls, "string"))
    lists = nested(counts, found.segments)
    return {
        place: PredictionBatch(rows.slice(number, 1), lists.slice(number, 1))
        for number, place in enumerate(places)
    }
