"""The policy for model runs: severities, ignored values, taxonomy, limits.

The table ``[policy]`` in segpipe.toml applies to all model runs. A table per model run
(``[model_runs."NAME"]``) overrides it key by key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from segpipe.errors import SettingsError, nearest
from segpipe.manifests.limits import MAX_ROW_BYTES, MAX_ROWS, Limits
from segpipe.predictions.declared_colours import declared_colours
from segpipe.predictions.declared_metadata import Declared
from segpipe.predictions.view import View
from segpipe.validation.rules.catalogue import CATALOGUE, Rule, Severity
from segpipe.validation.rules.declaring import declared_metadata

TASKS = ("semantic", "instance", "panoptic")
KINDS = ("thing", "stuff")


@dataclass(frozen=True)
class Policy:
    """What applies to the predictions of a model run.

    Attributes:
        severities: rule id -> severity, for rules that do not keep the catalogue's.
        ignore_values: pixel value, 0 to 255 -> label of the Segment that its pixels get.
        taxonomy: label -> ``thing`` or ``stuff``; empty if labels are not checked.
        task: ``semantic``, ``instance`` or ``panoptic``; None if not declared.
        publish_as: the view of the predictions that is published.
        items: URL of a list of the dataset's items (Parquet, CSV or text); None for no check.
        retired: the model run has ended: new manifests of it no longer start runs.
        max_rejection_rate: share of a partition's rows, 0 to 1. If more are rejected, something
            systematic is wrong, and nothing of the partition is published.
        min_coverage: share of the listed items, 0 to 1, that a partition should predict.
        max_drift: 0 to 1; a check warns if the labels' shares of pixels are further than this
            from those of the partition before (see ``distributions.Drift.distance``).
        max_age_hours: a model run is late if its newest published day ended more hours ago; None
            for no limit. With 30, a day has to be published by 06:00 of the day after.
        max_pixels: limit on a mask's width times height.
        max_bytes: limit on the size of a mask file.
        max_segments: limit on the number of Segments of a row.
        max_metadata_bytes: limit on the metadata of one Segment, as UTF-8 JSON.
        max_rows: limit on the rows of a manifest; one with more is refused as a whole.
        max_row_bytes: limit on a row of a manifest when it is decoded; one with more is rejected.
        metadata: keys of the Segments' metadata that are columns, with their types; the same for
            all model runs (the table ``[metadata]``).
    """

    severities: Mapping[str, Severity] = field(default_factory=dict)
    ignore_values: Mapping[int, str] = field(default_factory=dict)
    taxonomy: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None
    publish_as: View = View.GIVEN
    items: str | None = None
    retired: bool = False
    max_rejection_rate: float = 0.5
    min_coverage: float = 0.0
    max_drift: float = 0.3
    max_age_hours: float | None = None
    max_pixels: int = 100_000_000
    max_bytes: int = 100_000_000
    max_segments: int = 256
    max_metadata_bytes: int = 65_536
    max_rows: int = MAX_ROWS
    max_row_bytes: int = MAX_ROW_BYTES
    metadata: Declared = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """The limits of manifests, for who opens them."""
        return Limits(self.max_rows, self.max_row_bytes)

    def severity_of(self, rule: Rule) -> Severity:
        """The severity that applies to a rule under this policy."""
        return rule.severity if rule.essential else self.severities.get(rule.id, rule.severity)

    def overridden(self, given: Mapping[str, Any], shown: str) -> Policy:
        """This policy, with the keys of a TOML table replaced.

        Args:
            given: key -> value, as TOML has it.
            shown: the file and table, for messages.

        Raises:
            SettingsError: naming the key, what was found and what was expected.
        """
        return replace(self, **{key: _read(key, value, shown) for key, value in given.items()})


@dataclass(frozen=True)
class Policies:
    """The policy of a dataset, and the policies of model runs that differ.

    Attributes:
        common: for every model run without its own.
        by_model_run: model run -> its policy.
        colours: label -> ``#rrggbb``, for pictures of any model run (``[policy.colours]``).
        from_file: they were read from the root's settings file, and are read again when it
            changes.
    """

    common: Policy = field(default_factory=Policy)
    by_model_run: Mapping[str, Policy] = field(default_factory=dict)
    colours: Mapping[str, str] = field(default_factory=dict)
    from_file: bool = field(default=False, compare=False)

    @classmethod
    def read(cls, given: Mapping[str, Any], shown: str) -> Policies:
        """From a TOML file's ``policy``, ``model_runs`` and ``metadata`` tables.

        Raises:
            SettingsError: naming the table and key.
        """
        declared = declared_metadata(_table(given.get("metadata", {}), shown, "metadata"), shown)
        policy = dict(_table(given.get("policy", {}), shown, "policy"))
        colours = declared_colours(policy.pop("colours", {}), shown)
        common = Policy(metadata=declared).overridden(policy, shown)
        model_runs = _table(given.get("model_runs", {}), shown, "model_runs")
        return cls(
            common,
            {
                name: common.overridden(
                    _table(table, shown, f"model_runs.{name}"), f"{shown}, model run {name!r}"
                )
                for name, table in model_runs.items()
            },
            colours,
        )

    def retired(self, model_run: str) -> bool:
        """Whether a model run has ended."""
        return self.of(model_run).retired

    def of(self, model_run: str | None) -> Policy:
        """The policy of a model run."""
        return self.by_model_run.get(model_run or "", self.common)


def _table(value: object, shown: str, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{shown}: {name} is {value!r}, expected a table [{name}]")
    return value


def _read(key: str, value: object, shown: str) -> Any:
    reader = _READERS.get(key)
    if key == "colours":
        raise SettingsError(
            f"{shown}: colours are the same for all model runs: put them in [policy.colours]"
        )
    if reader is None:
        hint = nearest(key, list(_READERS))
        raise SettingsError(f"{shown}: unknown key {key!r} in the policy{hint}")
    try:
        return reader(value)
    except ValueError as error:
        raise SettingsError(f"{shown}: {key} is {value!r}: {error}") from None


def _severities(value: object) -> Mapping[str, Severity]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a table of rule = severity")
    read = {}
    for rule, severity in value.items():
        if rule not in CATALOGUE:
            raise ValueError(f"there is no rule {rule!r}{nearest(rule, list(CATALOGUE))}")
        if severity not in ("reject", "warn", "off"):
            raise ValueError(f"{rule} = {severity!r}, expected reject, warn or off")
        if CATALOGUE[rule].essential and severity != "reject":
            raise ValueError(f"{rule} cannot be {severity!r}: such a row cannot be published")
        if CATALOGUE[rule].check is None and severity == "reject" and not CATALOGUE[rule].essential:
            raise ValueError(f"{rule} is seen after its row was accepted: warn or off")
        read[rule] = Severity(severity)
    return read


def _ignore_values(value: object) -> Mapping[int, str]:
    if not isinstance(value, Mapping):
        raise ValueError('expected a table such as {255 = "void"}')
    read = {}
    for number, label in value.items():
        if not str(number).isdigit() or not 0 <= int(number) <= 255:
            raise ValueError(f"{number!r} is not a pixel value from 0 to 255")
        if not isinstance(label, str) or not label.strip():
            raise ValueError(f"{number} needs a label")
        read[int(number)] = label
    return read


def _taxonomy(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError('expected a table of label = "thing" or "stuff"')
    for label, kind in value.items():
        if kind not in KINDS:
            raise ValueError(f"{label!r} = {kind!r}, expected thing or stuff")
    return dict(value)


def _task(value: object) -> str:
    if value not in TASKS:
        raise ValueError(f"expected {', '.join(TASKS)}")
    return str(value)


def _view(value: object) -> View:
    if value not in list(View):
        raise ValueError(f"expected {', '.join(View)}")
    return View(str(value))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _url(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a URL")
    return value


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError("expected a share from 0.0 to 1.0")
    return float(value)


def _hours(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
        raise ValueError("expected a number of hours above 0")
    return float(value)


def positive(value: object) -> int:
    """A positive whole number.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("expected a positive whole number")
    return value


_READERS: dict[str, Callable[[object], object]] = {
    "severities": _severities,
    "ignore_values": _ignore_values,
    "taxonomy": _taxonomy,
    "task": _task,
    "publish_as": _view,
    "items": _url,
    "retired": _flag,
    "max_rejection_rate": _share,
    "min_coverage": _share,
    "max_drift": _share,
    "max_age_hours": _hours,
    "max_pixels": positive,
    "max_bytes": positive,
    "max_segments": positive,
    "max_metadata_bytes": positive,
    "max_rows": positive,
    "max_row_bytes": positive,
}
