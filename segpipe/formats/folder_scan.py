"""What a scan of a folder takes, and what it leaves out with the reason.

People's folders hold more than their data: thumbnails of NAS systems, checkpoints of notebooks,
recycle bins, resource forks of macOS. None of it is data, so it is left out. Symbolic links are
followed while they stay inside the source, or inside a folder that was allowed; whatever they lead
to otherwise is not read. Nothing is left out without a :class:`LeftOut` that says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SYSTEM_FOLDERS = frozenset(
    {
        "__macosx", "__pycache__", "@eadir", "@recycle", "@recently-snapshot", "#recycle",
        "#snapshot", "$recycle.bin", "system volume information", "lost+found",
    }
)  # fmt: skip
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
# A few folders that link to each other have more paths than anybody could import.
_MOST_NESTED_LINKS = 4
_MOST_NAMED = 3
_IN_A_CIRCLE = "linked in a circle"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something in a source that is not imported.

    Attributes:
        shown: its path below the source, with its target where it is a link.
        reason: why, in words that can follow a number: ``in system or hidden folders``.
        files: how many files it stands for.
    """

    shown: str
    reason: str
    files: int = 1


def told(left_out: Sequence[LeftOut]) -> str:
    """What was left out in one line, by reason, the first of each named; empty for nothing."""
    if not left_out:
        return ""
    by_reason: dict[str, list[LeftOut]] = {}
    for one in left_out:
        by_reason.setdefault(one.reason, []).append(one)
    parts = []
    for reason, group in by_reason.items():
        named = ", ".join(one.shown for one in group[:_MOST_NAMED])
        more = ", ..." if len(group) > _MOST_NAMED else ""
        parts.append(f"{sum(one.files for one in group)} {reason} ({named}{more})")
    total = sum(one.files for one in left_out)
    return f"{total} file{'s' * (total != 1)} left out: {'; '.join(parts)}"


@dataclass(frozen=True)
class Boundary:
    """Where a source's links may lead.

    Attributes:
        folders: the source and the allowed roots, resolved.
    """

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, source: Path, allowed: Sequence[str | os.PathLike[str]] = ()) -> Boundary:
        """The boundary of a source; allowed roots are folders on this machine."""
        return cls((source.resolve(), *(Path(one).expanduser().resolve() for one in allowed)))

    def holds(self, target: Path) -> bool:
        """Whether a resolved path lies inside."""
        return any(target.is_relative_to(folder) for folder in self.folders)

    def problem(self, path: Path) -> tuple[str, Path] | None:
        """Why a path is not followed, and where it leads; None where it may be followed."""
        try:
            target = path.resolve(strict=True)
        except FileNotFoundError:
            return "linked to what is not there", path.resolve()
        except (OSError, RuntimeError):  # which of them a circle raises depends on the version
            return _IN_A_CIRCLE, Path(os.readlink(path))
        if self.holds(target):
            return None
        return "linked out of the source, which takes --allow-root with the target", target


@dataclass
class FolderScan:
    """One scan of a folder and the folders in it.

    Attributes:
        files: the files found, as they are named below the source; links keep their own names.
        left_out: what is not data, or may not be read.
    """

    source: Path
    boundary: Boundary
    files: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    # Folders to read: each with the resolved folders on the way to it, itself included, and how
    # many of them are links.
    _waiting: list[tuple[Path, tuple[Path, ...], int]] = field(default_factory=list)

    @classmethod
    def of(cls, source: Path, allowed: Sequence[str | os.PathLike[str]] = ()) -> FolderScan:
        """Scan a folder.

        Args:
            allowed: folders that links may lead into, besides the source.
        """
        scan = cls(source, Boundary.of(source, allowed))
        scan._waiting.append((source, (source.resolve(),), 0))
        while scan._waiting:
            folder, above, links = scan._waiting.pop()
            scan._read(folder, above, links)
        return scan

    def _read(self, folder: Path, above: tuple[Path, ...], links: int) -> None:
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            words = f"in folders that cannot be read: {error.strerror}"
            self.left_out.append(LeftOut(self._shown(folder), words))
            return
        for entry in found:
            path, is_link = Path(entry.path), entry.is_symlink()
            # The functions of os.path take a link in a circle for nothing; those of entry raise.
            is_folder = os.path.isdir(path) if is_link else entry.is_dir()
            system = _system_kind(entry.name, is_folder=is_folder)
            problem = self.boundary.problem(path) if is_link and system is None else None
            if system is not None:
                count = _files_in(path) if is_folder and not is_link else 1
                if count:
                    self.left_out.append(LeftOut(self._shown(path), system, count))
            elif problem is not None:
                reason, target = problem
                self.left_out.append(LeftOut(f"{self._shown(path)} -> {target}", reason))
            elif is_folder:
                self._await(path, above, links, is_link=is_link)
            elif os.path.isfile(path):
                self.files.append(path)
            else:
                self.left_out.append(LeftOut(self._shown(path), "not regular files"))

    def _await(self, folder: Path, above: tuple[Path, ...], links: int, *, is_link: bool) -> None:
        real = folder.resolve() if is_link else above[-1] / folder.name
        if real in above:
            self.left_out.append(LeftOut(f"{self._shown(folder)} -> {real}", _IN_A_CIRCLE))
        elif is_link and links == _MOST_NESTED_LINKS:
            words = f"linked below {_MOST_NESTED_LINKS} other links to folders"
            self.left_out.append(LeftOut(f"{self._shown(folder)} -> {real}", words))
        else:
            self._waiting.append((folder, (*above, real), links + is_link))

    def _shown(self, path: Path) -> str:
        return path.relative_to(self.source).as_posix()


def with_extensions(
    scan: FolderScan, wanted: Sequence[str], companions: Sequence[str] = ()
) -> tuple[tuple[Path, ...], Iterator[LeftOut]]:
    """The files of a scan with wanted extensions, sorted; and all others, as left out.

    Args:
        wanted: extensions, lower case, with the dot.
        companions: extensions of files that are read along with a wanted one of the same name.
    """
    taken = tuple(sorted(path for path in scan.files if path.suffix.lower() in wanted))
    beside = {path.with_suffix(extension) for extension in companions for path in taken}
    others = (
        LeftOut(path.relative_to(scan.source).as_posix(), f"not {' or '.join(wanted)}")
        for path in sorted(scan.files)
        if path.suffix.lower() not in wanted and path not in beside
    )
    return taken, others


def _system_kind(name: str, *, is_folder: bool) -> str | None:
    """Why a name is taken for no data; None for any other name."""
    hidden = name.startswith(".")
    if is_folder and (hidden or name.casefold() in _SYSTEM_FOLDERS):
        return "in system or hidden folders"
    if not is_folder and (hidden or name.casefold() in _SYSTEM_FILES):
        return "of the system or hidden"
    return None


def _files_in(folder: Path) -> int:
    """Number of files in a folder and its subfolders; links are not followed."""
    return sum(len(files) for _, _, files in os.walk(folder))
