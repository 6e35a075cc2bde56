"""Stores received segmentations: validates them and publishes them to the catalog.

Requests are validated concurrently. One thread then decides their outcomes, in the order they
arrived, and notes them in the journal and the registry. The client sends one call as many requests,
ten at a time, and knows of no call: a request is answered as soon as another of the same model
follows it, and the last one when the catalog has them all, in one version. So a call returns when
everything is in the catalog.

The journal is written before the catalog. A process killed in between leaves it to the next one.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from segpipe.errors import SegpipeError
from segpipe.nucleus_server.arrivals import Arrival, Arrivals
from segpipe.nucleus_server.journal import Journal
from segpipe.nucleus_server.judging import Judge, Segmentation, joined
from segpipe.nucleus_server.limits import Limits
from segpipe.nucleus_server.publishing import CatalogPublisher
from segpipe.nucleus_server.reconciliation import Reconciliation
from segpipe.nucleus_server.registry import GROUND_TRUTH, SEGMENTATION, Annotation, Registry
from segpipe.nucleus_server.requests import RequestRefused, deleted_meanwhile

# Segmentations in a request of the client, if more of the call may follow.
_LOCAL_PER_REQUEST, _REMOTE_PER_REQUEST = 10, 20
_MOST_ROWS = 10_000  # published together
_RETRY_SECONDS = 5.0  # after the catalog could not be written
_TOGETHER = 200  # requests stored together
_Owner = tuple[str, str]  # a dataset and a model, or the ground truth
_logger = logging.getLogger("segpipe.nucleus_server")


@dataclass
class Counts:
    """Outcome of a request.

    Attributes:
        processed, ignored: numbers of segmentations.
        errors: one for each that was refused.
        warnings: one for each that was stored and is not fit for the catalog.
    """

    processed: int = 0
    ignored: int = 0
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass
class _Waiting:
    """A request that waits to be stored.

    Attributes:
        remote: whether its masks are URLs.
        whole: whether nothing more of its call follows, whatever its size.
    """

    dataset: str
    owner: str
    update: bool
    segmentations: list[Segmentation]
    answer: Future[Counts]
    remote: bool
    whole: bool

    @property
    def is_last(self) -> bool:
        """Whether it ends a call: the client fills every other request of it."""
        full = _REMOTE_PER_REQUEST if self.remote else _LOCAL_PER_REQUEST
        return self.whole or len(self.segmentations) < full


@dataclass
class _Burst:
    """Requests of one owner that are stored and not yet published.

    Attributes:
        held: the last one and its answer; None if it was answered.
        newest: when it was stored, on the monotonic clock.
        ended: whether the last one ends its call.
    """

    rows: int = 0
    held: tuple[_Waiting, Counts] | None = None
    newest: float = field(default_factory=time.monotonic)
    ended: bool = False


@dataclass(frozen=True)
class _Decided:
    """What some requests change.

    Attributes:
        stored: reference id -> segmentation.
        withdrawn: reference id -> why what is stored is not in the catalog, which has another.
        counts: of each request.
    """

    stored: Mapping[str, Segmentation]
    withdrawn: Mapping[str, str]
    counts: Sequence[Counts]


class SegmentationStore:
    """Takes segmentations in.

    Args:
        limits: how long it is waited for more of a call.
        arrivals: the requests that an answer may wait for.
    """

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        reconciliation: Reconciliation,
        publisher: CatalogPublisher,
        judge: Judge,
        limits: Limits,
        arrivals: Arrivals,
    ) -> None:
        self._registry, self._journal, self._publisher = registry, journal, publisher
        self._reconciliation, self._judge, self._limits = reconciliation, judge, limits
        self._arrivals = arrivals
        self._bursts: dict[_Owner, _Burst] = {}
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue()
        try:
            self._publisher.resume()
        except SegpipeError as error:
            _logger.error("what was stored before is not in the catalog yet: %s", error)
            retried = time.monotonic() + _RETRY_SECONDS
            self._bursts |= {owner: _Burst(newest=retried) for owner in journal.owners()}
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
        whole: bool = False,
        arrival: Arrival | None = None,
    ) -> Counts:
        """Store a request's segmentations; returns when they are stored, and in the catalog unless
        more of the same call follow.

        Args:
            segmentations: as they were sent; each has a ``reference_id`` that is text.
            masks: PNG bytes of each, or nothing where their URLs are remote.
            whole: whether they are a whole call.
            arrival: the request's, if it began before.

        Raises:
            SegpipeError: if the root's storage fails; a part may be stored then.
            RequestRefused: if the dataset or the model was deleted meanwhile.
        """
        answer: Future[Counts] = Future()
        with arrival or self.arrival(dataset, owner):
            if update:
                self._reconciliation.catch_up()
                segmentations = [self._with_id(dataset, owner, one) for one in segmentations]
            judged = self._judge.judged(dataset, owner, segmentations, masks)
            self._waiting.put(_Waiting(dataset, owner, update, judged, answer, not masks, whole))
        return answer.result()

    def arrival(self, dataset: str, owner: str) -> Arrival:
        """Let it be known that a request of an owner begins, until it is put to those that wait."""
        return Arrival(self._arrivals, (dataset, owner))

    def remove(self, dataset: str, owner: str, reference_ids: Sequence[str] | None) -> None:
        """Remove an owner's annotations of some items, or of all, here and in the catalog."""
        with self._reconciliation.changing():
            self._publisher.settle(dataset, owner)
            ids = list(self._registry.fingerprints(dataset, owner))
            if reference_ids is not None:
                ids = sorted(set(ids) & set(reference_ids))
            self._publisher.remove(dataset, owner, ids)
            self._registry.delete_annotations(dataset, owner, reference_ids)

    def _with_id(self, dataset: str, owner: str, sent: Mapping[str, Any]) -> Mapping[str, Any]:
        """What replaces another without an annotation id of its own keeps the other's."""
        if sent.get("annotation_id") is not None:
            return sent
        kept = self._registry.segmentation_id(dataset, owner, str(sent["reference_id"]))
        return {**sent, "annotation_id": kept}

    # --- writing

    def _write(self) -> None:
        ending = False
        while not ending or self._bursts:
            patience = 0.0 if ending else self._limits.call_seconds / 4
            waiting = self._next(patience if self._bursts else None)
            ending = ending or None in waiting
            requests = [one for one in waiting if one is not None]
            for key, group in groupby(requests, lambda one: (one.dataset, one.owner, one.update)):
                self._store(key[:2], list(group), update=key[2])
            for owner in [one for one in self._bursts if ending or self._is_over(one)]:
                self._publish(owner, ending=ending)

    def _next(self, patience: float | None) -> list[_Waiting | None]:
        """All that wait; nothing if nothing came within a time (seconds)."""
        waiting: list[_Waiting | None] = []
        with suppress(queue.Empty):
            waiting.append(self._waiting.get(timeout=patience))
            while len(waiting) < _TOGETHER:
                waiting.append(self._waiting.get_nowait())
        return waiting

    def _is_over(self, owner: _Owner) -> bool:
        """Whether nothing more of a call is to be expected, or nobody may wait any longer."""
        burst = self._bursts[owner]
        age = time.monotonic() - burst.newest
        if burst.rows >= _MOST_ROWS or age > self._limits.held_seconds:
            return True
        # In this order: a request is put before it counts as having arrived.
        if owner in self._arrivals or not self._waiting.empty():
            return False
        return burst.ended or age > self._limits.call_seconds

    def _store(self, owner: _Owner, group: list[_Waiting], *, update: bool) -> None:
        """Note requests in journal and registry, and answer all but the last."""
        try:
            with self._reconciliation.changing():
                check_there(self._registry, *owner)
                decided = self._decided(owner, group)
                if decided.stored:
                    self._note(owner, decided, update=update)
        except BaseException as error:  # nobody may wait for ever
            for one in group:
                self._fail(one, error)
            return
        burst = self._bursts.setdefault(owner, _Burst())
        burst.rows += len(decided.stored)
        burst.newest = time.monotonic()
        for one, counts in zip(group, decided.counts, strict=True):
            self._answer(burst)
            burst.held, burst.ended = (one, counts), one.is_last
        if group[-1].remote and not burst.ended:  # its call waits for this answer
            self._answer(burst)

    def _decided(self, owner: _Owner, group: list[_Waiting]) -> _Decided:
        ids = [one.reference_id for waiting in group for one in waiting.segmentations]
        known = self._registry.segmentations_of(*owner, ids)
        stored: dict[str, Segmentation] = {}
        withdrawn: dict[str, str] = {}
        told = []
        for waiting in group:
            counts = Counts()
            for one in waiting.segmentations:
                id = one.reference_id
                if one.refused is not None:
                    counts.errors.append(one.error)
                    continue
                if id in known and not waiting.update:
                    counts.ignored += 1
                    continue
                counts.processed += 1
                if one.prediction is None:
                    counts.warnings.append(_warning(one, replaced=bool(known.get(id))))
                    if known.get(id):
                        withdrawn[id] = one.reason
                known[id] = one.fingerprint
                stored[id] = one
            told.append(counts)
        return _Decided(stored, withdrawn, told)

    def _note(self, owner: _Owner, decided: _Decided, *, update: bool) -> None:
        stored = decided.stored.values()
        fit = [one.prediction for one in stored if one.prediction is not None]
        batch = joined(fit) if fit else None
        if batch is not None:  # the masks outlive a cut of the power if the journal does
            self._publisher.sync_masks(batch)
        with self._registry.transaction():
            for one in stored:
                self._registry.put(_annotation(*owner, one))
            if fit or decided.withdrawn:
                self._journal.add(*owner, batch, decided.withdrawn, update=update)

    def _publish(self, owner: _Owner, *, ending: bool) -> None:
        burst = self._bursts.pop(owner)
        try:
            self._publisher.settle(*owner)
        except BaseException as error:
            # It stays in the journal: published later, or by the next process.
            _logger.error("what was stored is not in the catalog yet: %s", error)
            if burst.held is not None:
                self._fail(burst.held[0], error)
            if not ending:
                self._bursts[owner] = _Burst(newest=time.monotonic() + _RETRY_SECONDS)
            return
        self._answer(burst)

    def _answer(self, burst: _Burst) -> None:
        if burst.held is not None:
            waiting, counts = burst.held
            burst.held = None
            waiting.answer.set_result(counts)

    def _fail(self, one: _Waiting, error: BaseException) -> None:
        one.answer.set_exception(error)
        if not isinstance(error, SegpipeError | RequestRefused):
            _logger.error("storing segmentations failed", exc_info=error)


def check_there(registry: Registry, dataset: str, owner: str) -> None:
    """Raises:
    RequestRefused: 404 if the dataset or the model was deleted since the request began.
    """
    owned = owner == GROUND_TRUTH or registry.model(owner) is not None
    if not owned or registry.dataset_name(dataset) is None:
        raise deleted_meanwhile()


def _warning(one: Segmentation, *, replaced: bool) -> str:
    words = f"{one.reference_id}: stored, but not in segpipe's catalog: {one.reason}"
    if replaced:
        words += ". The prediction that was there is withdrawn from it; segpipe history names the "
        words += "version, and segpipe restore brings the one before it back"
    return f"{words}. {one.advice}" if one.advice else words


def _annotation(dataset: str, owner: str, one: Segmentation) -> Annotation:
    found, kept = one.findings, one.fingerprint
    return Annotation(dataset, owner, one.reference_id, SEGMENTATION, "", one.sent, found, kept)
