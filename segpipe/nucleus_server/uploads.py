"""Stores uploaded items, predictions and annotations, synchronously or as a job."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from segpipe.errors import SegpipeError, StorageError
from segpipe.nucleus_server.arrivals import Arrival
from segpipe.nucleus_server.database import new_id
from segpipe.nucleus_server.jobs import Job, Jobs
from segpipe.nucleus_server.registry import (
    GROUND_TRUTH,
    SEGMENTATION,
    Annotation,
    Registry,
    run_of,
)
from segpipe.nucleus_server.requests import RequestRefused, Upload, entries, flag, json_lines, text
from segpipe.nucleus_server.segmentations import Counts, SegmentationStore, check_there
from segpipe.nucleus_server.taxonomies import CATEGORIES, Taxonomies

ITEMS, PREDICTIONS, ANNOTATIONS = "uploadDatasetItems", "uploadPredictions", "uploadAnnotations"
DELETION = "annotationDeletion"
_SEGMENTATION_TYPES = ("mask", "segmentation")
_MOST_WARNINGS = 100  # in the message of a job
_logger = logging.getLogger("segpipe.nucleus_server")


class Uploads:
    """Stores what requests ask for, and works on jobs one after another."""

    def __init__(
        self,
        registry: Registry,
        taxonomies: Taxonomies,
        jobs: Jobs,
        segmentations: SegmentationStore,
    ) -> None:
        self._registry, self._taxonomies = registry, taxonomies
        self._jobs, self._segmentations = jobs, segmentations
        self._worker = ThreadPoolExecutor(1, "nucleus job")
        for job in jobs.all():
            if job.status in ("Queued", "Running"):  # another process was ended at it
                self._worker.submit(self._work, job)

    def close(self) -> None:
        """Leave jobs that were not begun to the next process."""
        self._worker.shutdown(cancel_futures=True)

    def put_items(self, dataset: str, payload: Mapping[str, Any]) -> dict[str, int]:
        """Add a payload's items to a dataset.

        Raises:
            RequestRefused: if they cannot be read, or the dataset was deleted.
        """
        items = entries(payload, "items")
        return self._registry.put_items(dataset, items, update=flag(payload, "update"))

    def put_annotations(
        self,
        dataset: str,
        owner: str,
        upload: Upload,
        *,
        whole: bool = False,
        arrival: Arrival | None = None,
    ) -> Counts:
        """Store segmentations and annotations of other kinds.

        Args:
            whole: whether the upload is a whole call of the client.
            arrival: of its request.

        Raises:
            SegpipeError: if the root's storage fails.
            RequestRefused: if it cannot be read, or the dataset or the model was deleted.
        """
        payload, update = upload.payload, flag(upload.payload, "update")
        sent, others = entries(payload, "segmentations"), entries(payload, "annotations")
        counts = Counts()
        if sent:
            counts = self._segmentations.take(
                dataset, owner, sent, upload.masks, update=update, whole=whole, arrival=arrival
            )
        elif arrival is not None:  # no answer about masks waits for it
            arrival.end()
        with self._registry.transaction():
            check_there(self._registry, dataset, owner)
            known = self._registry.items_of(dataset, [one["reference_id"] for one in others])
            refusals = self._taxonomies.refusals(dataset, others)
            for one, refused in zip(others, refusals, strict=True):
                if one["reference_id"] not in known:
                    counts.errors.append(f"Item with id {one['reference_id']} doesn't exist.")
                    continue
                if refused is not None:
                    counts.errors.append(refused)
                    continue
                annotation = _other(dataset, owner, one)
                if self._registry.has(annotation) and not update:
                    counts.ignored += 1
                    continue
                self._registry.put(annotation)
                counts.processed += 1
        return counts

    def begin_items(self, dataset: str, items: Sequence[Mapping[str, Any]], *, update: bool) -> Job:
        """A job for items that came with the request."""
        request_id = new_id("request")
        token = self._jobs.sign_upload(dataset, request_id)
        self._jobs.put_upload(token, "\n".join(map(json.dumps, items)).encode())
        return self.begin(dataset, ITEMS, {"requestId": request_id, "update": update})

    def begin(self, dataset: str, kind: str, asked: Mapping[str, Any]) -> Job:
        """A job for what was put under a request id, or for a deletion."""
        if kind != DELETION:
            flag(asked, "update")
            request_id = text(asked, "requestId")
            if self._jobs.upload(dataset, request_id) is None:
                raise RequestRefused(400, f"nothing was put under the request id {request_id!r}")
        job = self._jobs.create(dataset, kind, asked)
        self._worker.submit(self._work, job)
        return job

    def _work(self, job: Job) -> None:
        try:
            self._jobs.begin(job.id)
            self._work_on(job)
        except StorageError as error:
            _logger.error("job %s is left to the next process: %s", job.id, error)

    def _work_on(self, job: Job) -> None:
        try:
            message, errors = self._done(job)
        except (SegpipeError, RequestRefused) as error:
            words = error.words if isinstance(error, RequestRefused) else str(error)
            self._jobs.end(job, "Errored", {"final_error": words}, [words])
        except Exception:
            _logger.exception("job %s failed", job.id)
            self._jobs.end(job, "Errored", {"final_error": "internal error"}, [])
        else:
            self._jobs.end(job, "Completed", message, errors)

    def _done(self, job: Job) -> tuple[Mapping[str, Any], Sequence[str]]:
        if job.kind == DELETION:
            ids = job.asked.get("reference_ids")
            self._segmentations.remove(job.dataset, GROUND_TRUTH, ids)
            return {}, []
        owner = str(job.asked.get("model") or GROUND_TRUTH)
        request_id = text(job.asked, "requestId")
        body = self._jobs.upload(job.dataset, request_id)
        if body is None:
            check_there(self._registry, job.dataset, owner)
            words = f"another job had what was put under the request id {request_id!r}"
            raise RequestRefused(400, f"{words}: put it again, under another one")
        lines, update = json_lines(body), flag(job.asked, "update")
        if job.kind == ITEMS:
            counts = self.put_items(job.dataset, {"items": lines, "update": update})
            return _items_message(job, len(lines), counts), []
        segmentations = [one for one in lines if one.get("type") in _SEGMENTATION_TYPES]
        others = [one for one in lines if one.get("type") not in _SEGMENTATION_TYPES]
        for refused in self._taxonomies.refusals(job.dataset, others):
            if refused is not None:  # before anything is stored
                raise RequestRefused(400, f"BadRequestError: {refused}")
        payload = {"segmentations": segmentations, "annotations": others, "update": update}
        given = Upload({**payload, "annotations": []}, [])
        masks = self.put_annotations(job.dataset, owner, given, whole=True)
        given = Upload({**payload, "segmentations": []}, [])
        rest = self.put_annotations(job.dataset, owner, given)
        noun = "annotation" if owner == GROUND_TRUTH else "prediction"
        # In the form that the client's own tests expect.
        message: dict[str, Any] = {
            f"{noun}_upload": {
                "epoch": 1,
                "total": len(others),
                "processed": rest.processed,
                "ignored": rest.ignored,
                "errored": len(rest.errors),
                "datasetId": job.dataset,
            }
        }
        if segmentations:
            message["segmentation_upload"] = {
                "processed": masks.processed,
                "ignored": masks.ignored,
                "n_errors": len(masks.errors),
            }
        if masks.warnings:
            message["warnings"] = _first(masks.warnings, job.dataset, owner)
        return message, [*masks.errors, *rest.errors]


def _first(warnings: list[str], dataset: str, owner: str) -> list[str]:
    """The first warnings, and where all are told: a job's message is read again and again."""
    more = len(warnings) - _MOST_WARNINGS
    if more <= 0:
        return warnings
    where = "" if owner == GROUND_TRUTH else f": dataset/{dataset}/model/{owner}/findings has all"
    return [*warnings[:_MOST_WARNINGS], f"and {more:,} more{where}"]


def _items_message(job: Job, total: int, counts: Mapping[str, int]) -> dict[str, Any]:
    """What a job of items tells, in the form that the client's own tests expect.

    Items that were there already are told beside it.
    """
    known = {name: n for name, n in counts.items() if n and name != "new_items"}
    return {
        "image_upload_step": {"errored": 0, "pending": 0, "completed": total},
        "started_image_processing": f"Dataset: {job.dataset}, Job: {job.id}",
        "ingest_to_reupload_queue": {
            "epoch": 1,
            "total": total,
            "processed": total,
            "datasetId": job.dataset,
        },
        **known,
    }


def summary(dataset: str, owner: str, counts: Counts) -> dict[str, Any]:
    """What the client is answered, and sums up: counts, and words where something was wrong."""
    told: dict[str, Any] = {"dataset_id": dataset}
    noun = "annotations" if owner == GROUND_TRUTH else "predictions"
    if owner != GROUND_TRUTH:
        told["model_run_id"] = run_of(dataset, owner)
    told |= {f"{noun}_processed": counts.processed, f"{noun}_ignored": counts.ignored}
    words = {"errors": counts.errors, "warnings": counts.warnings}
    return told | {name: lines for name, lines in words.items() if lines}


def _other(dataset: str, owner: str, sent: Mapping[str, Any]) -> Annotation:
    """A box, polygon, category or the like.

    It is told from others by its annotation id or, where it has none, by its label and geometry, of
    which the client makes ids of boxes. An item has one category of each taxonomy. The id that it
    gets where it has none follows from that: sent again, it is the same one.
    """
    kind = str(sent.get("type") or "box")
    if kind in _SEGMENTATION_TYPES:
        kind = SEGMENTATION
    given, identity = sent.get("annotation_id"), str(sent.get("taxonomy_name") or "")
    if kind not in CATEGORIES:
        identity = json.dumps([sent.get("label"), sent.get("geometry")], sort_keys=True)
    told = json.dumps([dataset, owner, sent["reference_id"], kind, identity])
    id = str(given or f"ann_{hashlib.sha256(told.encode()).hexdigest()[:20]}")
    if kind not in CATEGORIES:
        identity = id
    body = {**sent, "annotation_id": id}
    return Annotation(dataset, owner, str(sent["reference_id"]), kind, identity, body)
