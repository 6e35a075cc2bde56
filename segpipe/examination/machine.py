"""The machine: Python, processors, memory, open files, the folder of temporary files."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
from pathlib import Path

from packaging.specifiers import SpecifierSet

from segpipe.examination.check import Check, note, ok, problem, warning
from segpipe.examination.room import room_of, size_words
from segpipe.workers.chunks import default_workers

_FEW_FILES = 1024
_ENOUGH_FILES = 4096
# docs/scale.md: the process that writes the tables, and each worker process besides.
_MAIN_BYTES, _WORKER_BYTES = 430 * 2**20, 230 * 2**20
# What the kernel says where there is no limit; cgroups of version 1 say a huge number.
_NO_LIMIT = 2**60


def python_version() -> Check:
    """Whether this Python is one that segpipe is for."""
    version = platform.python_version()
    found = f"{platform.python_implementation()} {version}, {sys.executable}"
    try:
        bounds = importlib.metadata.metadata("segpipe")["Requires-Python"] or ">=3.11"
    except importlib.metadata.PackageNotFoundError:
        bounds = ">=3.11"
    if not SpecifierSet(bounds).contains(version, prereleases=True):
        step = f"install segpipe with a Python {bounds}"
        return problem("Python", f"{found}; segpipe needs {bounds}", step)
    return ok("Python", found)


def system() -> Check:
    """What it runs on."""
    name = f"{platform.system()} {platform.release()} ({platform.machine()})"
    if sys.platform == "win32":
        step = "use Linux or macOS, or the Windows Subsystem for Linux"
        return warning("system", f"{name}: segpipe is not tested on Windows", step)
    return ok("system", name)


def processors() -> Check:
    """How many processors there are for workers."""
    workers = default_workers()
    allowed = processors_allowed()
    found = f"{os.cpu_count() or 1}; {workers} workers by default"
    if allowed is not None and allowed < workers:
        most = max(1, int(allowed))
        return note(
            "processors",
            f"{found}, though this container may use {allowed:g} of them",
            f"write this line into segpipe.toml: workers = {most}",
        )
    return ok("processors", found)


def memory() -> Check:
    """Whether there is memory for the workers."""
    free, words = memory_left()
    if free is None:
        return ok("memory", "this system does not say how much there is")
    workers = default_workers()
    needed = _MAIN_BYTES + (workers * _WORKER_BYTES if workers > 1 else 0)
    found = f"{size_words(free)} free{words}"
    if free < needed and workers == 1:
        step = "end what else takes memory, or have more given"
        return warning("memory", f"{found}; a run takes about {size_words(needed)}", step)
    if free < needed:
        most = max(1, (free - _MAIN_BYTES) // _WORKER_BYTES)
        return warning(
            "memory",
            f"{found}; {workers} workers take about {size_words(needed)}",
            f"use fewer workers: --workers {most}, or in segpipe.toml workers = {most}",
        )
    return ok("memory", found)


def open_files() -> Check:
    """How many files a process may have open."""
    try:
        import resource
    except ImportError:  # Windows
        return ok("open files", "this system has no limit that can be read")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _FEW_FILES:
        return ok("open files", "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,}")
    most = _ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(_ENOUGH_FILES, hard)
    found = f"a process may have {soft} open at a time; large runs take more"
    if most <= soft:
        step = f"have whoever runs this machine raise the limit to {_ENOUGH_FILES}"
        return warning("open files", found, step)
    return warning("open files", found, "raise the limit in this shell", f"ulimit -n {most}")


def temporary_folder() -> Check:
    """Whether temporary files can be written."""
    name = "temporary files"
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError as error:
        step = "set TMPDIR to a folder that can be written"
        return problem(name, str(error), step, 'mkdir -p "$HOME/tmp" && export TMPDIR="$HOME/tmp"')
    room = room_of(place)
    step = "free some space there, or name another folder"
    command = 'mkdir -p "$HOME/tmp" && export TMPDIR="$HOME/tmp"'
    if room.is_full:
        return problem(name, f"{place}: {room}", step, command)
    if room.is_tight:
        return warning(name, f"{place}: {room}", step, command)
    return ok(name, f"{place}: {room}")


def processors_allowed() -> float | None:
    """How many processors the control group of this process may use; None for no limit."""
    limits = []
    for folder in _control_groups("cpu"):
        quota = _words(folder / "cpu.max")  # cgroups of version 2
        if len(quota) == 2 and quota[0] != "max":
            limits.append(int(quota[0]) / int(quota[1]))
        share = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
        if all(share) and int(share[0][0]) > 0:
            limits.append(int(share[0][0]) / int(share[1][0]))
    return min(limits, default=None)


def memory_left() -> tuple[int | None, str]:
    """Bytes of memory that can still be used, and what limits them, as the end of a sentence."""
    free, words = _available(), ""
    for folder in _control_groups("memory"):
        for limit_file, used_file in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, used = _words(folder / limit_file), _words(folder / used_file)
            if not limit or not used or limit[0] == "max" or int(limit[0]) >= _NO_LIMIT:
                continue
            # What the kernel keeps of files counts as used, and is given back.
            kept = _kept_files(folder / "memory.stat")
            left = max(0, int(limit[0]) - int(used[0]) + kept)
            if free is None or left < free:
                free, words = left, f" of the {size_words(int(limit[0]))} this container may use"
    return free, words


def _available() -> int | None:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:  # all there is: other systems tell what is free in ways of their own
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _control_groups(controller: str) -> list[Path]:
    """The folders of this process's control group and of those above it."""
    mount = Path("/sys/fs/cgroup")
    folders: dict[Path, None] = {}
    for line in _lines(Path("/proc/self/cgroup")):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        base = mount / controller if controllers else mount
        # In a container the path may be one outside: then the mount itself is the group.
        place = base / path.strip("/")
        while place != base and base in place.parents:
            folders[place] = None
            place = place.parent
        folders[base] = None
    return list(folders)


def _kept_files(file: Path) -> int:
    for line in _lines(file):
        if line.startswith(("inactive_file ", "total_inactive_file ")):
            return int(line.split()[1])
    return 0


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
