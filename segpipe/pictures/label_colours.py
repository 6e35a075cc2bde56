"""One colour per label, the same in every picture of a root."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterable, Mapping

from segpipe.errors import SegpipeError, StorageError
from segpipe.pictures.colour_record import COLOURS_FOLDER, ColourRecord, Table
from segpipe.pictures.palette import PALETTE, Colour, free_colours, read_hex
from segpipe.pictures.seen_labels import seen_labels
from segpipe.settings import Settings

#: Colour of labels for no particular class, such as background.
PLAIN_COLOUR: Colour = (160.0, 160.0, 160.0)
_IGNORED = frozenset({"void", "unlabelled", "unlabeled", "ignore", "ignored"})
_PLAIN = _IGNORED | {"background"}
# Labels that are given colours of their own, and the longest of them; the others share.
_MOST_LABELS, _LONGEST_LABEL = 2_000, 500
# Root -> its record, as this process read it last: what was given never changes.
_RECORDS: dict[str, ColourRecord] = {}
_ONE_AT_A_TIME = threading.Lock()


def is_plain(label: str) -> bool:
    """Whether a label stands for no particular class, such as ``background`` or ``void``."""
    return label.lower() in _PLAIN


def is_void(label: str) -> bool:
    """Whether a label's pixels are to be ignored, as ``void`` says."""
    return label.lower() in _IGNORED


def label_colours(
    labels: Iterable[str], declared: Mapping[str, str] | None = None
) -> dict[str, Colour]:
    """Label -> red, green, blue from 0 to 255, for pictures of no root.

    Args:
        labels: in the order they get the palette's colours.
        declared: label -> ``#rrggbb``, where that is said.
    """
    chosen, distinct = _chosen(declared or {}), list(dict.fromkeys(labels))
    return _of({**_given(distinct, {}, chosen), **chosen}, distinct)


def colours_of(settings: Settings, labels: Iterable[str] | None = None) -> dict[str, Colour]:
    """Label -> red, green, blue from 0 to 255: the same in every picture of a root.

    A colour is the one ``[policy.colours]`` names. Else labels get the palette's, in the order of
    the taxonomies, then of what the root's tables hold, then of what is asked for. What was given
    is kept in the root (:mod:`segpipe.pictures.colour_record`) and never changes. A root that
    cannot be written to gives colours in that order, in every process anew.

    Args:
        settings: of the root.
        labels: that are to have colours; None for all that are known.
    """
    chosen = _chosen(settings.policies.colours)
    wanted = None if labels is None else list(dict.fromkeys(labels))
    with _ONE_AT_A_TIME:
        record = _RECORDS.setdefault(settings.root, ColourRecord(settings.folder(COLOURS_FOLDER)))
        ordered = dict.fromkeys([*_in_taxonomies(settings), *(wanted or ())])
        unasked = not record.table and (wanted is None or not record.looked)
        if unasked or _new(ordered, record.table, chosen):
            _record(settings, record, ordered, chosen)
            record.looked = True
        table = {**record.table, **chosen}
    return _of(table, table if wanted is None else wanted)


def _record(settings: Settings, record: ColourRecord, labels: Iterable[str], chosen: Table) -> None:
    """Give labels colours, and keep them in the root where that is possible."""
    try:
        record.read()
        if record.number:
            record.add(lambda table: _given(labels, table, chosen))
            return
    except StorageError as error:
        _warn(error)
    everything = dict.fromkeys([*_in_taxonomies(settings), *_seen(settings), *sorted(labels)])
    try:
        record.add(lambda table: _given(everything, table, chosen))
    except StorageError:  # who may not write sees colours all the same
        record.table = {**record.table, **_given(everything, record.table, chosen)}


def _seen(settings: Settings) -> list[str]:
    try:
        return seen_labels(settings)
    except SegpipeError as error:
        _warn(error)
        return []


def _warn(error: SegpipeError) -> None:
    warnings.warn(f"colours of labels: {error}", stacklevel=4)


def _in_taxonomies(settings: Settings) -> list[str]:
    """The labels of all taxonomies, in their order."""
    policies = settings.policies
    every = [policies.common, *policies.by_model_run.values()]
    return list(dict.fromkeys(label for policy in every for label in policy.taxonomy))


def _chosen(declared: Mapping[str, str]) -> dict[str, Colour]:
    return {label: read_hex(colour) for label, colour in declared.items()}


def _new(labels: Iterable[str], table: Table, chosen: Table) -> list[str]:
    """The labels that are to get a colour of their own and have none."""
    return [
        label
        for label in labels
        if label not in table
        and label not in chosen
        and not is_plain(label)
        and len(label) <= _LONGEST_LABEL
    ][: max(0, _MOST_LABELS - len(table))]


def _given(labels: Iterable[str], table: Table, chosen: Table) -> dict[str, Colour]:
    """The new labels with the palette's next colours; with shared ones where it is used up."""
    new = _new(labels, table, chosen)
    free = free_colours(table.values(), chosen.values())[: len(new)]
    return {**{label: _shared(label) for label in new}, **dict(zip(new, free, strict=False))}


def _of(table: Table, labels: Iterable[str]) -> dict[str, Colour]:
    """Label -> colour, also for those that have none of their own."""
    return {
        label: table.get(label) or (PLAIN_COLOUR if is_plain(label) else _shared(label))
        for label in labels
    }


def _shared(label: str) -> Colour:
    """A colour by the label's name alone."""
    digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).digest()
    return PALETTE[int.from_bytes(digest[:4], "big") % len(PALETTE)]
