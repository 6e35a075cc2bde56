"""Bringing predictions to Nucleus, and finding out what became of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from segpipe.errors import DestinationError, SettingsError
from segpipe.publishing.nucleus.content import Content
from segpipe.publishing.nucleus.ledger import Entry, Ledger
from segpipe.publishing.nucleus.service import (
    NucleusService,
    Outgoing,
    Patience,
    Sent,
    ServiceFailed,
)
from segpipe.publishing.nucleus.settings import REMOTE, NucleusSettings
from segpipe.storage import MaskStore

_REMOTE_SCHEMES = ("s3://", "gs://", "http://", "https://")


class Parcels:
    """Predictions as they are sent: with files of masks, or with their URLs.

    Args:
        masks: where the mask files are.

    Raises:
        SettingsError: if masks are to be fetched by Nucleus from where it cannot reach them.
    """

    def __init__(
        self, wanted: Mapping[str, Content], masks: MaskStore, settings: NucleusSettings
    ) -> None:
        self._wanted, self._masks = wanted, masks
        self._base = ""
        if settings.masks == REMOTE:
            self._base = (settings.masks_url or masks.folder.url).rstrip("/")
            if not self._base.startswith(_REMOTE_SCHEMES):
                raise SettingsError(
                    f'masks = "remote" in [nucleus]: Nucleus cannot fetch {masks.folder.shown}; '
                    "keep masks under an s3 or gs URL, set masks_url, or send them along "
                    '(masks = "local")'
                )

    @contextmanager
    def of(self, ids: Sequence[str]) -> Iterator[list[Outgoing]]:
        """These predictions; files that were made for sending are gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="segpipe-") as aside:
            yield [self._parcel(self._wanted[id], Path(aside)) for id in ids]

    def _parcel(self, one: Content, aside: Path) -> Outgoing:
        name = MaskStore.name_of(one.mask_sha256)
        if self._base:
            mask = f"{self._base}/{name}"
        elif self._masks.folder.is_local:
            mask = str(Path(self._masks.folder.path) / name)
        else:
            path = aside / Path(name).name
            path.write_bytes(self._masks.read(one.mask_sha256))
            mask = str(path)
        return Outgoing(one.reference_id, mask, one.segments, one.annotation_id)


@dataclass
class Came:
    """What a chunk came to.

    Attributes:
        failures: reference id -> the service's words, of what it refused.
        others: reference id -> fingerprint of what another run put there meanwhile.
    """

    failures: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


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

    def chunk(self, entries: Mapping[str, Entry], *, update: bool) -> Came:
        """Send predictions until all are there, refused, or overtaken by another run.

        Raises:
            DestinationError: if the service does not answer for longer than ``retry_seconds``.
        """
        number = self._ledger.note(entries)
        came = Came()
        patience = Patience(self._retry_seconds)
        missing = [*entries]
        while missing:
            failed: ServiceFailed | None = None
            sent = Sent(0, 0, ())
            try:
                sent = self._send(missing, update=update)
            except ServiceFailed as error:
                failed = error
            if failed is None and not sent.errors and sent.processed == len(missing):
                break
            missing = self._settled(missing, entries, sent, failed, came, update=update)
            if missing and not patience.waits(None if failed is None else failed.wait):
                words = "answered, but did not store them" if failed is None else failed.words
                raise DestinationError(
                    f"{len(missing)} predictions did not reach Nucleus ({words}); what did is "
                    "noted: run again"
                )
        self._ledger.acknowledge(number, entries, "stored" if not came.failures else "see receipts")
        return came

    def _send(self, ids: Sequence[str], *, update: bool) -> Sent:
        with self._parcels.of(ids) as parcels:
            return self._service.upload(self._model, parcels, update=update)

    def _settled(
        self,
        ids: Sequence[str],
        entries: Mapping[str, Entry],
        sent: Sent,
        failed: ServiceFailed | None,
        came: Came,
        *,
        update: bool,
    ) -> list[str]:
        """Read back what an answer left in doubt; who has to be sent again."""
        refused = _named(sent.errors, ids)
        came.failures.update(refused)
        doubtful = [id for id in ids if id not in refused]
        there = self._held(doubtful)
        missing = []
        for id in doubtful:
            if there.get(id) == entries[id].fingerprint:
                continue
            if id in there and not update:
                came.others[id] = there[id]
            else:
                missing.append(id)
        if not missing or (failed is not None and failed.passing):
            return missing
        if failed is not None:
            return self._one_by_one(missing, failed, came, update=update)
        nameless = [words for words in sent.errors if not _named([words], ids)]
        if nameless:  # the service refused some without saying which: those that are not there
            came.failures.update(dict.fromkeys(missing, "; ".join(nameless)[:500]))
            return []
        return missing

    def _one_by_one(
        self, ids: Sequence[str], failed: ServiceFailed, came: Came, *, update: bool
    ) -> list[str]:
        """A call was refused as a whole: which of its predictions is it that cannot be sent?"""
        if len(ids) == 1:
            came.failures[ids[0]] = failed.words
            return []
        left = []
        for id in ids:
            try:
                sent = self._send([id], update=update)
            except ServiceFailed as error:
                if error.passing:
                    left.append(id)
                else:
                    came.failures[id] = error.words
                continue
            if sent.errors:
                came.failures[id] = "; ".join(map(_words, sent.errors))[:500]
            elif not sent.processed:
                left.append(id)
        return left


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
