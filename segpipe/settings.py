"""Where things are and what the limits are: one declarative file, ``segpipe.toml``, in the root."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from segpipe.errors import SettingsError, nearest
from segpipe.evaluation.requirements import Requirements, read_evaluation
from segpipe.publishing.destinations import CATALOG, DESTINATIONS, DestinationEntry
from segpipe.publishing.nucleus.settings import NucleusSettings
from segpipe.settings_keys import DAGSTER_KEYS, ROOT_KEYS, TABLES
from segpipe.storage.files import Folder
from segpipe.storage.local_paths import is_url, local_path
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.redaction import redacted, refusals_without_secrets, told
from segpipe.storage.sources import AllowedRoots
from segpipe.storage.toml import parse_toml
from segpipe.validation.rules.policy import Policies

#: The settings file, in the root.
SETTINGS_FILE = "segpipe.toml"
#: The environment variable that names the root for Dagster.
ROOT_VARIABLE = "SEGPIPE_ROOT"


class HasSettings(Protocol):
    """A root that was opened."""

    @property
    def settings(self) -> Settings: ...


@dataclass(frozen=True)
class Settings:
    """All settings of a root.

    Attributes:
        root: fsspec URL or path that holds ``manifests/``, ``validated/``, ``views/``, ``masks/``
            and ``catalog/``, unless they are named apart.
        dataset: the dataset whose items the predictions are for; part of every identity.
        manifests, validated, views, masks, catalog: URLs of these places, where not under
            ``root``.
        allowed_roots: folders masks may be read from, besides ``root`` and ``manifests``.
        storage_options: given to fsspec and to the catalog for remote URLs.
        first_date: the first day that can have a partition; None for the first that has landed.
        last_date: the last one; None for today in ``time_zone``.
        missing_manifest: what a run of a partition without a manifest does that a person did not
            ask for by name: ``skip`` it, or ``fail``.
        policies: what applies to the predictions, by model run (``policy``, ``model_runs``), with
            the metadata that is declared (``metadata``).
        rows_per_chunk: manifest rows worked on at a time by one worker.
        workers: how many work on a step's masks on this machine; 0 means one per processor.
        scheduler: address of a Dask scheduler whose workers do it instead; empty for none.
        publish_rows: predictions per catalog commit.
        single_publisher: whether never more than one process publishes or maintains the catalog at
            a time; only then may it be in a store that does not hold conditional puts.
        time_zone: of the daily schedule, and of the day that is today; a name such as
            ``Europe/Berlin``.
        daily_at: when the daily schedule requests the day before, HH:MM.
        automatic: whether sensor and schedule run unless they are switched off.
        links: http(s) address under which the root's files are reached by people, if any: places on
            Dagster's pages become links there.
        browse_url: http(s) address at which ``segpipe browse`` serves the root, if any: Dagster's
            pages link to it.
        destinations: where predictions are published: ``catalog``, ``nucleus``, or both.
        nucleus: the dataset at Scale Nucleus; needed for that destination.
        maintenance: what the schedule ``maintenance`` does once it is switched on: ``report`` what
            would be rewritten and deleted, or ``clean``.
        owners, group, tags: of the assets in Dagster (``[dagster]``).
        ground_truth: model runs whose published predictions are true, the first that has an item
            before the others (``[evaluation] ground_truth``); empty for none.
        requirements: how good predictions have to be, and whether those that are not are published
            (``[evaluation]``).
    """

    root: str
    dataset: str = "default"
    manifests: str = ""
    validated: str = ""
    views: str = ""
    masks: str = ""
    catalog: str = ""
    allowed_roots: tuple[str, ...] = ()
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    first_date: date | None = None
    last_date: date | None = None
    missing_manifest: str = "skip"
    policies: Policies = field(default_factory=Policies)
    rows_per_chunk: int = 256
    workers: int = 0
    scheduler: str = ""
    publish_rows: int = 20_000
    single_publisher: bool = False
    time_zone: str = "UTC"
    daily_at: str = "06:00"
    automatic: bool = False
    links: str = ""
    browse_url: str = ""
    destinations: tuple[str, ...] = (CATALOG,)
    nucleus: NucleusSettings | None = None
    maintenance: str = "report"
    owners: tuple[str, ...] = ()
    group: str = "segmentation_predictions"
    tags: Mapping[str, str] = field(default_factory=dict)
    ground_truth: tuple[str, ...] = ()
    requirements: Requirements = field(default_factory=Requirements)

    @classmethod
    def load(cls, root: str) -> Settings:
        """The settings of a root: its ``segpipe.toml`` where there is one, defaults elsewhere.

        Raises:
            SettingsError: naming the file and the key, with the nearest key that exists.
        """
        root = _absolute(root)
        folder = Folder(root)
        if not folder.exists(SETTINGS_FILE):
            folder.check_bucket()
            return cls(root, policies=Policies(from_file=True))
        shown = f"{folder.shown}/{SETTINGS_FILE}"
        given = _checked(parse_toml(folder.read(SETTINGS_FILE), shown), shown)
        for key in ("manifests", "validated", "views", "masks", "catalog"):
            if key in given:
                given[key] = _below(root, given[key])
        if "allowed_roots" in given:
            given["allowed_roots"] = tuple(_below(root, url) for url in given["allowed_roots"])
        given["policies"] = replace(given["policies"], from_file=True)
        settings = cls(root, **given)
        _check_together(settings, shown)
        return settings

    def replaced(self, shown: str, **given: Any) -> Settings:
        """A copy in which some keys of the settings file have other values.

        Args:
            shown: where the values are from, for messages.
            given: values as a settings file has them.

        Raises:
            SettingsError: naming the key whose value cannot be used.
        """
        checked = _checked(given, shown)
        del checked["policies"]
        settings = replace(self, **checked)
        _check_together(settings, shown)
        return settings

    @classmethod
    def of(cls, root: RootLike) -> Settings:
        """The settings of a root as a call names it: opened, or by its path or URL.

        Raises:
            SettingsError: if the settings file cannot be used.
        """
        if isinstance(root, Settings):
            return root
        return cls.load(os.fspath(root)) if isinstance(root, (str, os.PathLike)) else root.settings

    def with_current_policies(self) -> Settings:
        """A copy with the policies read again, if they came from the settings file.

        For long-lived processes. All other settings take effect when the process starts.

        Raises:
            SettingsError: if the file cannot be used any more.
        """
        if not self.policies.from_file:
            return self
        return replace(self, policies=Settings.load(self.root).policies)

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings of the root that ``SEGPIPE_ROOT`` names.

        Raises:
            SettingsError: if the variable is not set.
        """
        root = os.environ.get(ROOT_VARIABLE)
        if not root:
            raise SettingsError(
                f"{ROOT_VARIABLE} is not set: set it to the folder or URL that holds manifests/, "
                "or start Dagster with `segpipe dev --root DIR`"
            )
        return cls.load(root)

    def with_allowed_roots(self, *roots: str) -> Settings:
        """The same with more roots allowed."""
        return replace(self, allowed_roots=(*self.allowed_roots, *roots))

    def with_workers(self, workers: int | None, scheduler: str | None) -> Settings:
        """The same with other workers, where they are named.

        Raises:
            SettingsError: if that is no scheduler's address.
        """
        if scheduler and not _is_scheduler(scheduler):
            expected = "the address of a Dask scheduler, such as tcp://host:8786"
            raise SettingsError(f"scheduler is {told(scheduler)}, expected {expected}")
        return replace(
            self,
            workers=self.workers if workers is None else workers,
            scheduler=self.scheduler if scheduler is None else scheduler,
        )

    def today(self) -> date:
        """The day it is in ``time_zone``."""
        return datetime.now(ZoneInfo(self.time_zone)).date()

    def of_destination(self, entry: DestinationEntry) -> Any:
        """A destination's own table of the settings file; None where there is none."""
        return None if entry.table is None else getattr(self, entry.table)

    def folder(self, name: str) -> Folder:
        """A place: ``manifests``, ``validated``, ``views``, ``masks``, ``catalog`` or ``sent``."""
        url = getattr(self, name, "") or f"{self.root.rstrip('/')}/{name}"
        return Folder(url, self.storage_options if "://" in url else None)

    def below_root(self, url: str) -> str:
        """A path or URL of the settings file: absolute, or relative to the root.

        Raises:
            SettingsError: for a ``file:`` URL that names no file of this machine.
        """
        return _below(self.root, url)

    def mask_store(self) -> MaskStore:
        """Where canonical masks are kept."""
        folder = self.folder("masks")
        return MaskStore(folder, folder.shown if self.masks else "masks")

    def sources(self) -> AllowedRoots:
        """Where masks and images may be read from."""
        roots = (self.root, self.folder("manifests").url, *self.allowed_roots)
        return AllowedRoots(roots, self.storage_options)


def _below(root: str, url: str) -> str:
    """A URL of the settings file: absolute, or relative to the root the file lies in."""
    if is_url(url):
        return _absolute(url)
    path = os.path.expanduser(url)  # as it was, unless it begins with '~' and a user's name
    return path if os.path.isabs(path) else f"{root.rstrip('/')}/{url}"


def _absolute(url: str) -> str:
    """A path or ``file:`` URL as an absolute path; other URLs as they are."""
    try:
        path = local_path(url)
    except ValueError as error:
        raise SettingsError(f"cannot open {redacted(url)}: {error}") from None
    if path is None:
        return url
    return os.path.abspath(path if is_url(url) else os.path.expanduser(path))


_TABLES = tuple(table.name.partition(".")[0] for table in TABLES if table.name)
# Top-level keys whose value is no text.
_KINDS: dict[str, type] = {
    "allowed_roots": list,
    "storage_options": dict,
    "first_date": date,
    "last_date": date,
    "rows_per_chunk": int,
    "workers": int,
    "publish_rows": int,
    "single_publisher": bool,
    "automatic": bool,
    "destinations": list,
}


def _is_text(value: str) -> bool:
    return bool(value.strip())


def _is_time_zone(value: str) -> bool:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return False
    return True


def _is_time(value: str) -> bool:
    return re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value) is not None


def _is_address(value: str) -> bool:
    # Shown on pages as it is: a password that has a slash in it is no path, but an @ in the path
    # of a host with a port is no user.
    host = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)"
    return re.fullmatch(rf"https?://{host}(?::\d+)?(?:/[^\s?#]*)?", value) is not None


def _is_scheduler(value: str) -> bool:
    return re.fullmatch(r"(tcp|tls|ucx|ws|wss)://[^\s/?#@]+:\d+", value) is not None


_CHECKS: dict[str, Callable[[str], bool]] = {
    "time_zone": _is_time_zone,
    "daily_at": _is_time,
    "links": _is_address,
    "browse_url": _is_address,
    "scheduler": _is_scheduler,
    "missing_manifest": ("skip", "fail").__contains__,
    "maintenance": ("report", "clean").__contains__,
}


def _checked(given: Mapping[str, Any], shown: str) -> dict[str, Any]:
    with refusals_without_secrets(given):
        return _read(given, shown)


def _read(given: Mapping[str, Any], shown: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"policies": Policies.read(given, shown)}
    if "nucleus" in given:
        settings["nucleus"] = NucleusSettings.read(given["nucleus"], shown)
    if "evaluation" in given:
        settings |= read_evaluation(given["evaluation"], shown)
    if "dagster" in given:
        settings |= _labels(given["dagster"], shown)
    for key, value in given.items():
        if key in _TABLES:
            continue
        if key not in ROOT_KEYS:
            hint = nearest(key, [*ROOT_KEYS, *_TABLES])
            raise SettingsError(f"{shown}: unknown key {key!r}{hint}")
        kind, words = _KINDS.get(key, str), ROOT_KEYS[key].expected
        fits = isinstance(value, kind) and not isinstance(value, datetime)
        fits = fits and isinstance(value, bool) == (kind is bool)
        if kind is int and fits:
            fits = value >= (0 if key == "workers" else 1)
        if kind is list and fits:
            fits = all(isinstance(member, str) for member in value)
        if key == "destinations" and fits:
            fits = bool(value) and {*value} <= {*DESTINATIONS} and len({*value}) == len(value)
        if kind is str and fits:
            fits = _CHECKS.get(key, _is_text)(value)
        if not fits:
            # All of the options may be credentials, in whatever form they were written.
            said = type(value).__name__ if key == "storage_options" else told(value)
            raise SettingsError(f"{shown}: {key} is {said}, expected {words}")
        settings[key] = tuple(value) if kind is list else value
    return settings


def _check_together(settings: Settings, shown: str) -> None:
    first, last = settings.first_date, settings.last_date
    if first is not None and last is not None and last < first:
        raise SettingsError(f"{shown}: last_date is {last}, expected first_date, {first}, or later")
    for name in settings.destinations:
        entry = DESTINATIONS[name]
        if entry.table is not None and settings.of_destination(entry) is None:
            raise SettingsError(f'{shown}: the destination "{name}" needs a table [{entry.table}]')


# What Dagster takes as an owner, and as a group.
_OWNER = re.compile(r"team:\S+|[^@\s]+@[^@\s]+\.[^@\s]+")
_GROUP = re.compile(r"[A-Za-z0-9_]+")


def _labels(given: object, shown: str) -> dict[str, Any]:
    """What the table ``[dagster]`` says of the assets."""
    if not isinstance(given, Mapping):
        raise SettingsError(f"{shown}: dagster is {told(given)}, expected a table [dagster]")

    def texts(value: object) -> bool:
        return all(isinstance(one, str) for one in value) if isinstance(value, list) else False

    kinds: dict[str, Callable[[Any], bool]] = {
        "owners": lambda value: texts(value) and all(map(_OWNER.fullmatch, value)),
        "group": lambda value: isinstance(value, str) and _GROUP.fullmatch(value) is not None,
        "tags": lambda value: isinstance(value, Mapping) and texts([*value.values()]),
    }
    for key, value in given.items():
        if key not in kinds:
            raise SettingsError(
                f"{shown}: unknown key {key!r} in [dagster]{nearest(key, [*kinds])}"
            )
        if not kinds[key](value):
            words = DAGSTER_KEYS[key].expected
            raise SettingsError(f"{shown}: {key} is {value!r} in [dagster], expected {words}")
    found = dict(given)
    return {**found, "owners": tuple(found["owners"])} if "owners" in found else found


#: A root as a call names it: opened, its settings, or its path or URL.
RootLike = str | os.PathLike[str] | HasSettings | Settings
