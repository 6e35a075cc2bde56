"""Installed packages: whether they are there, what the extras bring, and versions out of bounds."""

from __future__ import annotations

import importlib.metadata as metadata
import shlex
from collections import deque
from collections.abc import Iterator
from functools import cached_property

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from segpipe.errors import listed
from segpipe.examination.check import Check, note, ok, problem, warning
from segpipe.extras import install_command

_OWN = "segpipe"
#: Extra -> what it brings. Those for working on segpipe itself are left out.
BROUGHT = {
    "dagster": "segpipe run, dev and register: the Dagster project",
    "dg": "Dagster's command dg, and the component segpipe.SegpipeRoot",
    "fast": "compiled code for masks, about three times as fast",
    "query": "segpipe query and Root.sql: SQL on a root",
    "coco": "importing polygons",
    "s3": "roots and masks at s3:// URLs",
    "gcs": "roots and masks at gs:// URLs",
    "azure": "roots and masks at az:// and abfss:// URLs",
    "dask": "validating on other machines, through a Dask scheduler",
    "nucleus": "publishing to Scale Nucleus, and segpipe nucleus-server",
    "pandas": "data frames of tables: .to_pandas()",
}


class Installation:
    """What is installed beside segpipe, and what its metadata asks for."""

    def __init__(self) -> None:
        self._own = metadata.distribution(_OWN)

    @cached_property
    def _requirements(self) -> list[Requirement]:
        return _requirements(self._own)

    @property
    def extras(self) -> list[str]:
        """The extras this version has, of those that bring something to users."""
        there = self._own.metadata.get_all("Provides-Extra") or []
        return [name for name in BROUGHT if name in there]

    def base(self) -> list[Requirement]:
        """What segpipe needs whatever is done with it."""
        return [one for one in self._requirements if _applies(one, "")]

    def own(self) -> list[Requirement]:
        """What segpipe needs, and what each extra brings besides."""
        return [*self.base(), *(one for name in self.extras for one in self.of_extra(name))]

    def of_extra(self, extra: str) -> list[Requirement]:
        """What an extra brings besides."""
        needed = []
        for one in self._requirements:
            if not _applies(one, extra) or _applies(one, ""):
                continue
            if one.name == _OWN:  # another extra, which this one stands on
                needed += [own for other in sorted(one.extras) for own in self.of_extra(other)]
            else:
                needed.append(one)
        return needed


def own_version() -> list[Check]:
    """The version of segpipe, and of what it cannot do without."""
    try:
        installation = Installation()
    except metadata.PackageNotFoundError:
        step = "install it where this Python finds it; in its checkout:"
        return [warning("segpipe", "it runs without being installed", step, "pip install -e .")]
    checks = [ok("segpipe", metadata.version(_OWN))]
    base = installation.base()
    missing = [one.name for one in base if version_of(one.name) is None]
    wrong = [words for one in base if (words := _out_of_bounds(one))]
    if missing:
        found = f"not installed: {listed(missing)}"
        checks.append(problem("base", found, "install what is missing", "pip install segpipe"))
    if wrong:
        step = "install versions that segpipe is tested with"
        checks.append(warning("base", "; ".join(wrong), step, "pip install segpipe"))
    if not missing and not wrong:
        checks.append(ok("base", f"{len(base)} packages, of versions segpipe is tested with"))
    return checks


def extras() -> Iterator[Check]:
    """What each extra brings, and whether it is installed."""
    try:
        installation = Installation()
    except metadata.PackageNotFoundError:
        return
    for extra in installation.extras:
        yield _extra(extra, installation.of_extra(extra))


def conflicts() -> Iterator[Check]:
    """Packages that segpipe needs, and that do not fit each other.

    Such as s3fs, which wants fsspec of its own version: pip installs one over the other if it is
    told to.
    """
    try:
        installation = Installation()
    except metadata.PackageNotFoundError:
        return
    found = [
        f"{name} {version_of(name)}: {words}"
        for name, one in _needed_by_others(installation)
        if (words := _out_of_bounds(one))
    ]
    if found:
        step = "install versions that fit each other"
        wanted = ",".join(one for one in installation.extras if _is_whole(installation, one))
        asked = install_command(wanted) if wanted else f"pip install {_OWN}"
        command = f"{asked} --upgrade --upgrade-strategy eager"
        yield warning("versions", listed(found, 3), step, command)


def install_anew_command(*names: str, alone: bool) -> str:
    """What installs packages anew, in versions that fit segpipe and all else it needs.

    Args:
        names: of packages; where there are none, segpipe and all that it needs.
        alone: leave what they need as it is.
    """
    try:
        installation = Installation()
        bounds = [*installation.own(), *(one for _, one in _needed_by_others(installation))]
    except metadata.PackageNotFoundError:
        bounds = []
    wanted = []
    for name in names:
        fitting = SpecifierSet()
        for one in bounds:
            if canonicalize_name(one.name) == canonicalize_name(name):
                fitting &= one.specifier
        wanted.append(f"{name}{fitting}")
    options = ["--force-reinstall", *(["--no-deps"] if alone and names else [])]
    return shlex.join(["pip", "install", *options, *(wanted or [_OWN])])


def package_of(module: str) -> str | None:
    """The installed package that brings a module, such as ``pillow`` for ``PIL``; None if none."""
    return next(iter(metadata.packages_distributions().get(module.partition(".")[0], [])), None)


def version_of(name: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _needed_by_others(installation: Installation) -> Iterator[tuple[str, Requirement]]:
    """What is needed by the packages that segpipe needs, and by those that they need."""
    seen: set[str] = set()
    waiting = deque(canonicalize_name(one.name) for one in installation.own())
    while waiting:
        name = waiting.popleft()
        if name in seen:
            continue
        seen.add(name)
        try:
            needed = _requirements(metadata.distribution(name))
        except metadata.PackageNotFoundError:
            continue
        for one in needed:
            if _applies(one, ""):
                yield name, one
                waiting.append(canonicalize_name(one.name))


def _extra(extra: str, needed: list[Requirement]) -> Check:
    command = install_command(extra)
    missing = [one.name for one in needed if version_of(one.name) is None]
    wrong = [words for one in needed if (words := _out_of_bounds(one))]
    there = [f"{one.name} {version_of(one.name)}" for one in needed if version_of(one.name)]
    brings = BROUGHT[extra]
    if missing:
        among = f" (installed: {', '.join(there)})" if there else ""
        return note(extra, f"not installed; it brings {brings}{among}", "if you need it", command)
    if wrong:
        step = "install the version that segpipe is tested with"
        return warning(extra, f"{brings}; {'; '.join(wrong)}", step, command)
    return ok(extra, f"{brings} ({', '.join(there)})")


def _is_whole(installation: Installation, extra: str) -> bool:
    return all(version_of(one.name) for one in installation.of_extra(extra))


def _out_of_bounds(requirement: Requirement) -> str | None:
    """What is wrong with a package's version; None where it fits, or the package is not there."""
    version = version_of(requirement.name)
    if version is None or requirement.specifier.contains(version, prereleases=True):
        return None
    return f"{requirement.name} is {version}, expected {requirement.specifier}"


def _requirements(distribution: metadata.Distribution) -> list[Requirement]:
    found = []
    for text in distribution.requires or ():
        try:
            found.append(Requirement(text))
        except InvalidRequirement:  # of somebody's older package
            continue
    return found


def _applies(requirement: Requirement, extra: str) -> bool:
    try:
        return requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    except UndefinedEnvironmentName:
        return False
