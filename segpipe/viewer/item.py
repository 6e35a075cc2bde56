"""One item: its predictions by all model runs, with Segments, findings, receipts and history."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from segpipe.errors import SegpipeError
from segpipe.pictures.label_colours import colours_of
from segpipe.pictures.offending import MARKED
from segpipe.predictions.view import View
from segpipe.root import Root
from segpipe.validation.rules import CATALOGUE
from segpipe.viewer.blocks import fingerprint_key, looked_up, place_key
from segpipe.viewer.keys import key_of
from segpipe.viewer.looked_up import LookedUp, manifest_row, receipt_text, segments_of
from segpipe.viewer.pictures import Pictures
from segpipe.viewer.row_pictures import WRITTEN_AGAIN
from segpipe.viewer.snapshot import KIND_OF, Snapshot
from segpipe.viewer.sources import Blocks

_MOST_PREDICTIONS = 60
# Predictions that are looked up at a time: most of that is waiting and decoding.
_AT_ONCE = 2
Json = dict[str, Any]


class Items:
    """The items of a root, as the item page shows them."""

    def __init__(self, root: Root, pictures: Pictures, blocks: Blocks) -> None:
        self._root, self._pictures, self._blocks = root, pictures, blocks
        self._looked_up = LookedUp(root)

    def of(
        self, snapshot: Snapshot, dataset: str, reference_id: str, asked: int | None = None
    ) -> Json | None:
        """An item with all its predictions; None where there is none.

        Args:
            asked: a row that is among them, whatever number there is; the only one where it has no
                reference id.

        Raises:
            SegpipeError: if a table cannot be read.
        """
        # Rows without a reference id have nothing in common, and no image either.
        if asked is not None and not reference_id:
            rows = [asked]
        else:
            rows = snapshot.of_item(dataset, reference_id)
        if not rows:
            return None
        predictions, image = [], None
        shown = rows[:_MOST_PREDICTIONS]
        if asked is not None and asked not in shown:
            shown = [asked, *shown[:-1]]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found_rows = list(pool.map(lambda row: self._prediction(snapshot, row), shown))
        for made, whole in found_rows:
            predictions.append(made)
            if image is None and whole.get("image_url"):
                image = made["key"], whole
        runs = {snapshot.group_of(row).model_run for row in rows}
        found: Json = {
            "id": reference_id,
            "dataset": dataset,
            "image": None,
            "image_words": "the manifest names no image (image_url)",
            "predictions": predictions,
            "history": self._looked_up.history(dataset, reference_id, sorted(runs)),
            "notes": _left_out(len(rows)),
        }
        if image is not None:
            key, whole = image
            size = self._pictures.image_size(whole["image_url"], whole.get("manifest"))
            if isinstance(size, str):
                found["image_words"] = size
            else:
                found["image_words"] = None
                found["image"] = {
                    "url": f"/image?key={quote(key)}", "width": size[0], "height": size[1],
                }  # fmt: skip
        return found

    def _prediction(self, snapshot: Snapshot, row: int) -> tuple[Json, Json]:
        """A prediction as JSON, and its row of the tables."""
        group, date = snapshot.group_of(row), snapshot.date_of(row)
        id = snapshot.rows.ids[row].as_py()
        key, outcome = key_of(snapshot, row), snapshot.outcome_of(row)
        kind = int(KIND_OF[snapshot.rows.outcome[row]])
        receipt: Json | None = None
        if kind == 2:
            whole, findings = self._rejected(snapshot, row)
        else:
            accepted = self._looked_up.accepted(group.model_run, date, id)
            whole = accepted or {}
            if kind == 0:
                place = int(snapshot.rows.place[row])
                published = self._looked_up.published(snapshot.source_of(row), place)
                policy = self._root.settings.policies.of(group.model_run)
                own = fingerprint_key(whole.get("fingerprint") or "")
                same = own == int(snapshot.rows.key[row])
                if not same and policy.publish_as is View.GIVEN:
                    whole = {}  # of another row of the item, which has not been published
                digest = looked_up(self._blocks.of(snapshot.source_of(row)), place)["mask_sha256"]
                whole = {**whole, **published, "mask_sha256": digest}
                receipt = self._looked_up.receipt(group.dataset, published)
            findings = [
                _finding(one, key, severity=one["severity"]) for one in whole.get("findings") or ()
            ]
        labels = [one["label"] for one in whole.get("segments") or ()]
        colours = colours_of(self._root.settings, labels)
        made = {
            "key": key,
            "model_run": group.model_run,
            "date": date,
            "outcome": outcome,
            "mask": None if whole.get("mask_sha256") is None else f"/mask?key={quote(key)}",
            "width": whole.get("width"),
            "height": whole.get("height"),
            "segments": segments_of(whole, colours),
            "findings": findings,
            "manifest": whole.get("manifest"),
            "manifest_row": whole.get("manifest_row"),
            "row": manifest_row(whole, self._root.settings.root),
            "receipt": receipt_text(receipt),
        }
        return made, whole

    def _rejected(self, snapshot: Snapshot, row: int) -> tuple[Json, list[Json]]:
        group, date = snapshot.group_of(row), snapshot.date_of(row)
        key = key_of(snapshot, row)
        found = self._looked_up.rejected(
            group.model_run, date, snapshot.rows.ids[row].as_py() or ""
        )
        own = [
            one for one in found
            if place_key(one["manifest"], one["manifest_row"]) == int(snapshot.rows.key[row])
        ]  # fmt: skip
        findings = [_finding(one, key, severity=one["severity"]) for one in own]
        whole: Json = {name: own[0][name] for name in ("manifest", "manifest_row")} if own else {}
        try:
            if own:
                whole |= self._declared(group.model_run, date, own[0])
        except SegpipeError as error:
            whole["row_words"] = str(error)
        return whole, findings

    def _declared(self, model_run: str, date: str, place: Json) -> Json:
        """What a rejected row of the manifest declares."""
        evidence, _ = self._root.evidence(
            model_run, date, manifest=place["manifest"], row=place["manifest_row"]
        )
        if (evidence.row.reference_id or "") != (place["reference_id"] or ""):
            return {"row_words": WRITTEN_AGAIN}
        segments = [
            {
                "index": one.index, "label": one.label or "", "confidence": one.confidence,
                "class_pdf": None if one.class_pdf is None else one.class_pdf.top(5),
            }
            for one in evidence.declaration.segments
        ]  # fmt: skip
        found: Json = {"segments": segments, "image_url": evidence.row.image_url}
        if evidence.mask is not None:
            header = evidence.mask.header
            found |= {"width": header.width, "height": header.height, "mask_sha256": ""}
        return found


def _finding(found: Json, key: str, *, severity: str) -> Json:
    rule = found["rule"]
    known = CATALOGUE.get(rule)
    remedy = found.get("remedy") or ("" if known is None else known.remedy)
    marks = f"/offending?key={quote(key)}&rule={quote(rule)}" if rule in MARKED else None
    return {
        "rule": rule, "severity": severity, "message": found["message"], "remedy": remedy,
        "offending": marks,
    }  # fmt: skip


def _left_out(rows: int) -> list[str]:
    more = rows - _MOST_PREDICTIONS
    return [f"{more} more predictions of this item are left out"] if more > 0 else []
