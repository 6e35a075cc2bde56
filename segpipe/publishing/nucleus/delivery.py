"""Bringing predictions to Nucleus, and finding out what became of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from segpipe.errors import DestinationError
from segpipe.publishing.nucleus.failures import Patience, ServiceFailed
from segpipe.publishing.nucleus.ledger import Entry, Ledger
from segpipe.publishing.nucleus.parcels import Parcels
from segpipe.publishing.nucleus.service import NucleusService, Sent

#: Predictions that fail one after another, where none got through, before the service counts as
#: away.
_TRIED = 3


@dataclass
class Came:
    """What a chunk came to.

    Attributes:
        failures: reference id -> the service's words, of what it refused.
        others: reference id -> fingerprint of what another run put there meanwhile.
    """

    failures: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Answer:
    """What came of sending once: a summary, or a failure."""

    sent: Sent
    failed: ServiceFailed | None = None

    @property
    def refused(self) -> bool:
        """Whether sending the same again would be refused again."""
        return self.failed is not None and not self.failed.passing

    @property
    def words(self) -> str:
        return "answered, but did not store it" if self.failed is None else self.failed.words

    @property
    def wait(self) -> float | None:
        return None if self.failed is None else self.failed.wait

    def stored_all(self, count: int) -> bool:
        """Whether it leaves no doubt."""
        return self.failed is None and not self.sent.errors and self.sent.processed == count


class Delivery:
    """Sends chunks of a batch to a model, and reads back wherever an answer leaves a doubt.

    Args:
        held: reads the fingerprints of what is there for some items.
    """

    def __init__(
        self,
        service: NucleusService,
        parcels: Parcels,
        ledger: Ledger,
        held: Callable[[Sequence[str]], Mapping[str, str]],
        model: str,
        retry_seconds: float,
    ) -> None:
        self._service, self._parcels, self._ledger = service, parcels, ledger
        self._held, self._model, self._retry_seconds = held, model, retry_seconds
        self._through: str | None = None  # a prediction that got through

    def chunk(self, entries: Mapping[str, Entry], *, update: bool) -> Came:
        """Send predictions until all are there, refused, or overtaken by another run.

        Where nothing but time was left to help and has run out, they are sent one by one, so that
        one the service cannot digest costs no other.

        Raises:
            DestinationError: if the service does not answer for longer than ``retry_seconds``, or
                refuses the key, the dataset or the model.
        """
        number = self._ledger.note(entries)
        came, patience = Came(), Patience(self._retry_seconds)
        missing = [*entries]
        while missing:
            answer = self._send(missing, update=update)
            missing = self._settled(missing, entries, answer, came, update=update)
            if not missing:
                break
            stuck = dict.fromkeys(missing, answer.words)
            if answer.refused:
                stuck = self._one_by_one(missing, came, update=update)
            if stuck and not patience.waits(answer.wait):
                if not answer.refused:
                    stuck = self._one_by_one(missing, came, update=update)
                left = self._settled(
                    [*stuck], entries, _Answer(Sent(0, 0, ())), came, update=update
                )
                self._give_up({id: stuck[id] for id in left}, came)
                break
            missing = [*stuck]
        self._confirm(came, entries)
        self._ledger.acknowledge(number, entries, "stored" if not came.failures else "see receipts")
        return came

    def _send(self, ids: Sequence[str], *, update: bool) -> _Answer:
        try:
            with self._parcels.of(ids) as parcels:
                return _Answer(self._service.upload(self._model, parcels, update=update))
        except ServiceFailed as failed:
            if failed.everywhere:
                raise DestinationError(
                    f"Nucleus refuses what is sent to it: {failed.words}. What it stored before "
                    "is noted: run again"
                ) from None
            return _Answer(Sent(0, 0, ()), failed)

    def _settled(
        self,
        ids: Sequence[str],
        entries: Mapping[str, Entry],
        answer: _Answer,
        came: Came,
        *,
        update: bool,
    ) -> list[str]:
        """Read back what an answer left in doubt; who is not there."""
        if answer.stored_all(len(ids)):
            self._through = ids[0]
            return []
        errors = answer.sent.errors
        refused = _named(errors, ids)
        came.failures.update(refused)
        doubtful = [id for id in ids if id not in refused]
        there = self._held(doubtful)
        missing = []
        for id in doubtful:
            if there.get(id) == entries[id].fingerprint:
                self._through = id
            elif id in there and not update:
                came.others[id] = there[id]
            else:
                missing.append(id)
        nameless = [words for words in errors if not _named([words], ids)]
        if nameless:  # the service refused some without saying which: those that are not there
            came.failures.update(dict.fromkeys(missing, "; ".join(nameless)[:500]))
            return []
        return missing

    def _one_by_one(self, ids: Sequence[str], came: Came, *, update: bool) -> dict[str, str]:
        """Which of a call's predictions is it that cannot be sent?

        Returns:
            Reference id -> words, of those that may pass at another time.
        """
        stuck: dict[str, str] = {}
        got_through = 0
        for place, id in enumerate(ids):
            answer = self._send([id], update=update)
            if answer.refused:
                came.failures[id] = answer.words
            elif answer.sent.errors:
                came.failures[id] = "; ".join(map(_words, answer.sent.errors))[:500]
            elif answer.sent.processed:
                got_through += 1
                self._through = id
            else:
                stuck[id] = answer.words
                if len(stuck) >= _TRIED and not got_through:
                    return stuck | dict.fromkeys(ids[place + 1 :], answer.words)
        return stuck

    def _give_up(self, stuck: Mapping[str, str], came: Came) -> None:
        """Those that are stuck have failed, where it is not the service that is away.

        Raises:
            DestinationError: if nothing gets through any more.
        """
        if not stuck:
            return
        # What is there already is ignored when it is sent again: that shows whether uploads are
        # answered, and changes nothing.
        known = self._through
        if known is None or self._send([known], update=False).failed is not None:
            words = next(iter(stuck.values()))
            raise DestinationError(
                f"{len(stuck)} predictions did not reach Nucleus ({words}); what did is noted: "
                "run again"
            )
        came.failures.update(stuck)

    def _confirm(self, came: Came, entries: Mapping[str, Entry]) -> None:
        """What is there has not failed, whatever was answered to it: an earlier request may have
        stored it after it was given up."""
        if came.failures:
            for id, fingerprint in self._held([*came.failures]).items():
                if fingerprint == entries[id].fingerprint:
                    del came.failures[id]


def _named(errors: Sequence[str], ids: Sequence[str]) -> dict[str, str]:
    """Reference id -> words, of errors that say which prediction they are about."""
    known, found = set(ids), {}
    for line in errors:
        try:
            told = json.loads(line)
            id = told["annotation"]["reference_id"]
        except (ValueError, KeyError, TypeError):
            continue
        if id in known:
            found[id] = _words(line)
    return found


def _words(line: str) -> str:
    """What went wrong, without the prediction it is about."""
    try:
        return str(json.loads(line)["error"])
    except (ValueError, KeyError, TypeError):
        return line[:500]
