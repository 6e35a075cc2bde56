"""Sending predictions to Nucleus, and finding out which of them were stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from segpipe.errors import DestinationError
from segpipe.publishing.nucleus.failures import Backoff, ServiceFailed
from segpipe.publishing.nucleus.ledger import Entry, Ledger
from segpipe.publishing.nucleus.outgoing import OutgoingPredictions
from segpipe.publishing.nucleus.service import NucleusService, UploadResult

# If this many predictions in a row fail and none was stored, the service counts as unavailable.
_MOST_FAILURES = 3


@dataclass
class ChunkResult:
    """What became of a chunk; predictions in neither mapping are stored.

    Attributes:
        failures: reference id -> the service's message, for refused predictions.
        others: reference id -> fingerprint of a prediction that another run stored meanwhile.
    """

    failures: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Answer:
    """The answer to one upload: a summary, or a failure."""

    sent: UploadResult
    failed: ServiceFailed | None = None

    @property
    def refused(self) -> bool:
        """Whether the same upload would be refused again."""
        return self.failed is not None and not self.failed.transient

    @property
    def words(self) -> str:
        return "answered, but did not store it" if self.failed is None else self.failed.words

    @property
    def wait(self) -> float | None:
        return None if self.failed is None else self.failed.wait

    def stored_all(self, count: int) -> bool:
        """Whether the answer says that everything was stored."""
        return self.failed is None and not self.sent.errors and self.sent.processed == count


class Delivery:
    """Sends chunks of a batch to a model, and reads them back if an answer is inconclusive.

    Args:
        held: reads the fingerprints of the predictions at Nucleus for some items.
        model: id of the model at Nucleus.
        retry_seconds: how long a failing chunk is sent again.
    """

    def __init__(
        self,
        service: NucleusService,
        outgoing: OutgoingPredictions,
        ledger: Ledger,
        held: Callable[[Sequence[str]], Mapping[str, str]],
        model: str,
        retry_seconds: float,
    ) -> None:
        self._service, self._outgoing, self._ledger = service, outgoing, ledger
        self._held, self._model, self._retry_seconds = held, model, retry_seconds
        self._stored_id: str | None = None  # a prediction that is known to be stored

    def chunk(self, entries: Mapping[str, Entry], *, update: bool) -> ChunkResult:
        """Send predictions until each is stored, refused, or superseded by another run.

        If retrying the chunk as a whole fails, predictions are sent one by one, so that one the
        service cannot process does not affect the others.

        Args:
            entries: reference id -> what is sent for it.
            update: whether predictions at Nucleus may be replaced.

        Raises:
            DestinationError: if the service does not answer for ``retry_seconds``, or refuses the
                key, the dataset or the model.
        """
        number = self._ledger.note(entries)
        result, backoff = ChunkResult(), Backoff(self._retry_seconds)
        missing = [*entries]
        while missing:
            answer = self._send(missing, update=update)
            missing = self._missing(missing, entries, answer, result, update=update)
            if not missing:
                break
            stuck = dict.fromkeys(missing, answer.words)
            if answer.refused:
                stuck = self._one_by_one(missing, result, update=update)
            if stuck and not backoff.wait(answer.wait):
                if not answer.refused:
                    stuck = self._one_by_one(missing, result, update=update)
                left = self._missing(
                    [*stuck], entries, _Answer(UploadResult(0, 0, ())), result, update=update
                )
                self._give_up({id: stuck[id] for id in left}, result)
                break
            missing = [*stuck]
        self._confirm(result, entries)
        self._ledger.acknowledge(
            number, entries, "stored" if not result.failures else "see receipts"
        )
        return result

    def _send(self, ids: Sequence[str], *, update: bool) -> _Answer:
        try:
            with self._outgoing.prepared(ids) as predictions:
                return _Answer(self._service.upload(self._model, predictions, update=update))
        except ServiceFailed as failed:
            if failed.everywhere:
                raise DestinationError(
                    f"Nucleus refuses what is sent to it: {failed.words}. What it stored before "
                    "is noted: run again"
                ) from None
            return _Answer(UploadResult(0, 0, ()), failed)

    def _missing(
        self,
        ids: Sequence[str],
        entries: Mapping[str, Entry],
        answer: _Answer,
        result: ChunkResult,
        *,
        update: bool,
    ) -> list[str]:
        """Read back what an answer left open; the ids of predictions that are not stored."""
        if answer.stored_all(len(ids)):
            self._stored_id = ids[0]
            return []
        errors = answer.sent.errors
        refused = _named(errors, ids)
        result.failures.update(refused)
        uncertain = [id for id in ids if id not in refused]
        held = self._held(uncertain)
        missing = []
        for id in uncertain:
            if held.get(id) == entries[id].fingerprint:
                self._stored_id = id
            elif id in held and not update:
                result.others[id] = held[id]
            else:
                missing.append(id)
        nameless = [words for words in errors if not _named([words], ids)]
        if nameless:  # the service refused some without saying which: those that are missing
            result.failures.update(dict.fromkeys(missing, "; ".join(nameless)[:500]))
            return []
        return missing

    def _one_by_one(
        self, ids: Sequence[str], result: ChunkResult, *, update: bool
    ) -> dict[str, str]:
        """Send predictions one by one, to find those that cannot be stored.

        Returns:
            Reference id -> message, for predictions that may succeed at another time.
        """
        stuck: dict[str, str] = {}
        stored = 0
        for place, id in enumerate(ids):
            answer = self._send([id], update=update)
            if answer.refused:
                result.failures[id] = answer.words
            elif answer.sent.errors:
                result.failures[id] = "; ".join(map(_words, answer.sent.errors))[:500]
            elif answer.sent.processed:
                stored += 1
                self._stored_id = id
            else:
                stuck[id] = answer.words
                if len(stuck) >= _MOST_FAILURES and not stored:
                    return stuck | dict.fromkeys(ids[place + 1 :], answer.words)
        return stuck

    def _give_up(self, stuck: Mapping[str, str], result: ChunkResult) -> None:
        """Record stuck predictions as failed, unless the service is unavailable.

        Raises:
            DestinationError: if the service does not accept any upload.
        """
        if not stuck:
            return
        # Sending a stored prediction again changes nothing, and shows whether uploads work.
        known = self._stored_id
        if known is None or self._send([known], update=False).failed is not None:
            words = next(iter(stuck.values()))
            raise DestinationError(
                f"{len(stuck)} predictions did not reach Nucleus ({words}); what did is noted: "
                "run again"
            )
        result.failures.update(stuck)

    def _confirm(self, result: ChunkResult, entries: Mapping[str, Entry]) -> None:
        """Remove failures that are stored after all, by an earlier request that was given up."""
        if result.failures:
            for id, fingerprint in self._held([*result.failures]).items():
                if fingerprint == entries[id].fingerprint:
                    del result.failures[id]


def _named(errors: Sequence[str], ids: Sequence[str]) -> dict[str, str]:
    """Reference id -> message, for errors that name their prediction."""
    known, found = set(ids), {}
    for line in errors:
        try:
            id = json.loads(line)["annotation"]["reference_id"]
        except (ValueError, KeyError, TypeError):
            continue
        if id in known:
            found[id] = _words(line)
    return found


def _words(line: str) -> str:
    """The message of an error line, without the prediction it names."""
    try:
        return str(json.loads(line)["error"])
    except (ValueError, KeyError, TypeError):
        return line[:500]
