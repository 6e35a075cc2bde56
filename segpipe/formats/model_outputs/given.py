"""Values as frameworks give them: numbers in tensors, options as text, names by class number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import ManifestError, listed, nearest, shortened
from segpipe.formats.given_masks import as_array
from segpipe.formats.ids import Ids
from segpipe.manifests.rows import ImportFinding
from segpipe.predictions.prediction import Segment

#: Options of the importers as arguments of the writer, for messages.
OVERLAPS_ARGUMENT = 'overlaps="{}"'
OVER_256_ARGUMENT = 'over_256="{}"'

_ROUNDED_ONE = 1 + 1e-6

Option = TypeVar("Option", bound=StrEnum)
#: The names of classes: by number, or in the order of the numbers.
ClassNames = Mapping[Any, str] | Sequence[str]


@dataclass(frozen=True)
class Output:
    """A model's output as a prediction.

    Attributes:
        mask: H x W uint8.
        findings: what is to be told of it; none rejects it.
    """

    mask: NDArray[np.uint8]
    segments: Sequence[Segment]
    findings: tuple[ImportFinding, ...] = ()


def pixels_of(ids: Ids) -> NDArray[np.uint8]:
    """Index values as H x W uint8."""
    return np.ascontiguousarray(ids.pixels, np.uint8)


def option_of(kind: type[Option], value: str, name: str) -> Option:
    """An option's value.

    Raises:
        ManifestError: naming the values there are.
    """
    if value not in list(kind):
        known = [one.value for one in kind]
        hint = nearest(value, known) if isinstance(value, str) else f" (there are: {listed(known)})"
        raise ManifestError(f"{name} is {value!r}{hint}")
    return kind(value)


def scalar(value: Any) -> Any:
    """A number out of a tensor or NumPy's type; what is none of these as it is."""
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value


def plain(value: Any) -> Any:
    """A value for the metadata: arrays and tensors as lists."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value.tolist() if hasattr(value, "tolist") else value


def members(given: Any, said: str) -> list[Any]:
    """A list, tuple, array or tensor of single values as a list of Python's own.

    Args:
        said: what it is, for messages: "the scores of 'a'".

    Raises:
        ManifestError: if it is none.
    """
    if isinstance(given, (list, tuple)):
        return [scalar(one) for one in given]
    array = as_array(given, said)
    if array.ndim != 1:
        raise ManifestError(f"{said} have shape {array.shape}, expected one for each instance")
    values: list[Any] = array.tolist()
    return values


def probability(value: Any, said: str) -> float | None:
    """A score as a confidence: a number from 0 to 1, or None. What rounding carried above 1 is 1.

    Raises:
        ManifestError: if it is none.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise ManifestError(
            f"{said} is {shortened(repr(value), 80)}, expected a number from 0 to 1"
        )
    if 1 < value <= _ROUNDED_ONE:
        return 1.0
    if not 0 <= value <= 1:
        cause = (
            "percent: divide by 100" if 1 < value <= 100 else "a logit: apply sigmoid or softmax"
        )
        raise ManifestError(
            f"{said} is {value:g}, expected 0 to 1. Is it {cause}? What is no probability goes "
            "into the metadata, not into the confidence"
        )
    return float(value)


def whole_numbers(given: Any, said: str) -> NDArray[Any]:
    """An array of whole numbers, H x W or H x W x 3, also where they are held as floats.

    Raises:
        ManifestError: if there is another kind of value in it.
    """
    array = as_array(given, said)
    if (array.ndim != 2 and array.shape[2:] != (3,)) or 0 in array.shape:
        hint = ""
        if array.ndim in (3, 4) and array.shape[0] == 1:
            hint = ": it is a batch of one; give its item [0]"
        elif array.ndim == 3:
            hint = (
                ": a stack of masks is given to add_instances"
                if array.dtype == np.bool_
                else ": probabilities C x H x W are given to add_scores"
            )
        raise ManifestError(f"{said} has shape {array.shape}, expected H x W{hint}")
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ManifestError(f"{said} has pixels that are masked out: fill them first")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ManifestError(f"{said} holds NaN or infinite values, expected whole numbers")
        whole = array.astype(np.int64)
        if not (whole == array).all():
            raise ManifestError(
                f"{said} holds {array[whole != array][0]:g}, expected whole numbers: probabilities "
                "C x H x W are given to add_scores, masks with scores to add_instances"
            )
        return whole
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype.kind not in "iu":
        raise ManifestError(f"{said} holds {array.dtype}, expected whole numbers")
    return array


def name_of(number: int, names: ClassNames) -> str | None:
    """The name of a class; None where it has none. Keys may be numbers as text, as JSON has."""
    if isinstance(names, Mapping):
        found = names.get(number, names.get(str(number)))
    else:
        found = names[number] if 0 <= number < len(names) else None
    return None if found is None else str(found)


def check_names(names: Any, said: str) -> None:
    """Check that something gives names of classes.

    Raises:
        ManifestError: if it does not.
    """
    if isinstance(names, (str, bytes)) or not hasattr(names, "__getitem__"):
        raise ManifestError(
            f"{said} are {shortened(repr(names), 80)}, expected the names of the classes: a list, "
            "or a dict from number to name"
        )


def shown_names(names: ClassNames) -> str:
    """The first names, for a message."""
    pairs = names.items() if isinstance(names, Mapping) else enumerate(names)
    return listed([f"{number}={name}" for number, name in pairs], 5)
