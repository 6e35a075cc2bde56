"""What ``[evaluation]`` of the settings file says: whose predictions are true, and how good others
have to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from segpipe.errors import SettingsError, nearest
from segpipe.evaluation.schemas import NUMBERS

#: Numbers that can be required.
METRICS = tuple(name for name in NUMBERS if name != "F")


@dataclass(frozen=True)
class NoRegression:
    """What a number is compared with.

    Attributes:
        against: the model run that others may not fall behind.
        metric: one of ``METRICS``.
        tolerance: how much lower it may be, 0 to 1.
    """

    against: str
    metric: str = "mIoU"
    tolerance: float = 0.0


@dataclass(frozen=True)
class Requirements:
    """How good a partition's predictions have to be.

    Attributes:
        least: metric -> the lowest value that is enough, 0 to 1 (``min``).
        no_regression: None for no comparison.
        gate: whether predictions that are not good enough are not published.
        min_items: how many items have to be evaluated for the numbers to count.
    """

    least: Mapping[str, float] = field(default_factory=dict)
    no_regression: NoRegression | None = None
    gate: bool = False
    min_items: int = 1

    @property
    def boundary(self) -> bool:
        """Whether boundaries have to be evaluated."""
        compared = [] if self.no_regression is None else [self.no_regression.metric]
        return any(name.startswith("boundary") for name in (*self.least, *compared))


def read_evaluation(given: object, shown: str) -> dict[str, Any]:
    """The settings ``ground_truth`` and ``requirements`` of a table ``[evaluation]``.

    Args:
        shown: the settings file, for messages.

    Raises:
        SettingsError: naming the key that cannot be used.
    """
    if not isinstance(given, Mapping):
        raise SettingsError(f"{shown}: evaluation is {given!r}, expected a table [evaluation]")
    for key in given:
        if key not in _KEYS:
            raise SettingsError(
                f"{shown}: unknown key {key!r} in [evaluation]{nearest(key, _KEYS)}"
            )
    truth = _ground_truth(given.get("ground_truth", ()), shown)
    found = Requirements(
        least=_least(given.get("min", {}), shown),
        no_regression=_no_regression(given.get("no_regression"), shown),
        gate=_checked(given, "gate", False, lambda one: isinstance(one, bool), _FLAG, shown),
        min_items=_checked(given, "min_items", 1, _is_count, "a positive whole number", shown),
    )
    asked = [key for key in _KEYS[1:] if key in given]
    if asked and not truth:
        raise SettingsError(
            f"{shown}: {asked[0]} in [evaluation] needs ground_truth, the model run that is true"
        )
    if found.gate and not asked[1:]:
        raise SettingsError(
            f"{shown}: gate in [evaluation] has nothing to ask for: give min, no_regression or "
            "min_items"
        )
    compared = found.no_regression
    if compared is not None and compared.against in truth:
        raise SettingsError(
            f"{shown}: no_regression in [evaluation] is against {compared.against!r}, which is the "
            "ground truth: name a model run of predictions"
        )
    return {"ground_truth": truth, "requirements": found}


_KEYS = ("ground_truth", "gate", "min", "no_regression", "min_items")
_FLAG = "true or false"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _checked(
    given: Mapping[str, Any],
    key: str,
    default: Any,
    fits: Callable[[Any], bool],
    words: str,
    shown: str,
) -> Any:
    value = given.get(key, default)
    if not fits(value):
        raise SettingsError(f"{shown}: {key} is {value!r} in [evaluation], expected {words}")
    return value


def _ground_truth(value: object, shown: str) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise SettingsError(
            f"{shown}: ground_truth is {value!r}, expected the name of a model run, or a list of "
            "names"
        )
    return names


def _metric(name: object, key: str, shown: str) -> str:
    if name not in METRICS:
        raise SettingsError(
            f"{shown}: {key} in [evaluation] names {name!r}{nearest(str(name), METRICS)}"
        )
    return str(name)


def _least(value: object, shown: str) -> dict[str, float]:
    words = "a table of numbers from 0 to 1, such as {mIoU = 0.7}"
    if not isinstance(value, Mapping):
        raise SettingsError(f"{shown}: min is {value!r} in [evaluation], expected {words}")
    for name, least in value.items():
        _metric(name, "min", shown)
        if not _is_share(least):
            raise SettingsError(
                f"{shown}: min of {name} is {least!r} in [evaluation], expected {words}"
            )
    return {name: float(least) for name, least in value.items()}


def _no_regression(value: object, shown: str) -> NoRegression | None:
    if value is None:
        return None
    words = 'a table such as {against = "street-unet-v1", metric = "mIoU", tolerance = 0.01}'
    keys = ("against", "metric", "tolerance")
    if not isinstance(value, Mapping) or "against" not in value:
        raise SettingsError(
            f"{shown}: no_regression is {value!r} in [evaluation], expected {words}"
        )
    for key in value:
        if key not in keys:
            raise SettingsError(
                f"{shown}: unknown key {key!r} in no_regression of [evaluation]{nearest(key, keys)}"
            )
    against, tolerance = value["against"], value.get("tolerance", 0.0)
    if not isinstance(against, str) or not against.strip() or not _is_share(tolerance):
        raise SettingsError(
            f"{shown}: no_regression is {dict(value)!r} in [evaluation], expected {words}"
        )
    metric = _metric(value.get("metric", "mIoU"), "no_regression", shown)
    return NoRegression(against, metric, float(tolerance))
