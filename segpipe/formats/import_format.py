"""An entry of the registry of import formats, and how its options are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segpipe.errors import SettingsError

if TYPE_CHECKING:
    from segpipe.formats.files import Naming
    from segpipe.formats.identifiers import Over256
    from segpipe.formats.imported import Format
    from segpipe.formats.labels import Labels
    from segpipe.formats.overlaps import Overlaps

#: Options of formats that take a label map, that name items by files, and that scan folders.
LABEL_OPTIONS = ("labels", "objects", "ignore", "values")
NAMING_OPTIONS = ("strip_prefix", "strip_suffix")
FOLDER_OPTIONS = (*NAMING_OPTIONS, "allow_root")


@dataclass(frozen=True)
class ImportFormat:
    """One format that can be imported.

    Attributes:
        name: of the command, and for :func:`open_source`.
        help: the command's help text: a sentence, optional details, and an example.
        options: names of the options it takes.
        open: opens a source; called with its path and the options that were given.
        required: names of the options that must be given.
        defaults: values of options that have another default here than elsewhere.
    """

    name: str
    help: str
    options: tuple[str, ...]
    open: Callable[..., Format]
    required: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)


def path_of(given: str | PathLike[str] | None) -> Path | None:
    """A path that may not be given."""
    return None if given is None else Path(given)


def over_of(options: Mapping[str, Any]) -> Over256:
    """What is done with more than 256 ids."""
    from segpipe.formats.identifiers import Over256

    return Over256(options.get("over", "refuse"))


def overlaps_of(options: Mapping[str, Any]) -> Overlaps:
    """Which instance is on top where several overlap."""
    from segpipe.formats.overlaps import Overlaps

    return Overlaps(options.get("overlaps", "score"))


def naming_of(options: Mapping[str, Any]) -> Naming:
    """How reference ids are made of file names."""
    from segpipe.formats.files import Naming

    return Naming(**{name: options[name] for name in NAMING_OPTIONS if name in options})


def labels_of(options: Mapping[str, Any]) -> Labels:
    """What values mean.

    Raises:
        SettingsError: unless either a label map or a label of all objects is given.
    """
    from segpipe.formats.label_map import read_label_map
    from segpipe.formats.labels import Labels
    from segpipe.formats.value_map import ValueMap

    label_map, objects, ignored, values = map(options.get, LABEL_OPTIONS)
    if (label_map is None) == (not objects):
        raise SettingsError("say what the values mean: either --labels FILE or --objects LABEL")
    by_index = read_label_map(Path(label_map)) if label_map is not None else {}
    return Labels(by_index, objects or "", dict(ignored or {}), ValueMap.read(values or {}))


def classes_of(options: Mapping[str, Any]) -> Labels:
    """The label map of scores: an entry for each class, from 0."""
    other = [name for name in ("objects", "ignore", "values") if options.get(name)]
    if options.get("over", "refuse") != "refuse":
        other.append("over")
    if other:
        named = {"values": "--value", "over": "--over-256"}.get(other[0], f"--{other[0]}")
        raise SettingsError(
            f"{named} is for whole numbers, and --scores are probabilities of classes: leave one "
            "of the two out"
        )
    if options.get("labels") is None:
        raise SettingsError("--scores needs --labels FILE: the name of each class, from index 0")
    labels = labels_of(options)
    indexes = sorted(labels.by_index)
    missing = next((place for place, one in enumerate(indexes) if place != one), None)
    if missing is not None:
        raise SettingsError(
            f"{options['labels']} has {indexes[missing]} and not {missing}: the classes of --scores"
            " are numbered from 0 without a gap, in the order of the arrays' first axis"
        )
    return labels


def links_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Where a folder's links may lead."""
    return {"allowed": tuple(options.get("allow_root") or ())}
