"""Files of a data set on disk: found, read, and named as dataset items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path

import pyarrow as pa

from segpipe.errors import SettingsError
from segpipe.formats.folder_scan import Boundary, FolderScan, LeftOut, told, with_extensions
from segpipe.manifests.rows import ImportFinding

#: Further columns of data sets whose items lie in subfolders, such as videos.
FRAME_COLUMNS = {"sequence": pa.string(), "frame": pa.int64()}


@dataclass(frozen=True)
class Naming:
    """How reference ids are made: a file's path below the source, without extension.

    Attributes:
        strip_prefix, strip_suffix: removed from the file's name where it has them.
    """

    strip_prefix: str = ""
    strip_suffix: str = ""

    def reference_id(self, file: Path, source: Path) -> str:
        """The reference id of a file."""
        name = file.stem.removeprefix(self.strip_prefix).removesuffix(self.strip_suffix)
        return file.relative_to(source).with_name(name or file.stem).as_posix()


@dataclass(frozen=True)
class SourceFiles:
    """Files of a source.

    Attributes:
        source: the folder.
        paths: the files in it and its subfolders, sorted.
        left_out: what else is in them, with the reason.
        boundary: where links may lead.
    """

    source: Path
    paths: tuple[Path, ...]
    left_out: tuple[LeftOut, ...] = ()
    boundary: Boundary | None = None

    @classmethod
    def find(
        cls,
        source: Path,
        extensions: Sequence[str],
        *,
        companions: Sequence[str] = (),
        otherwise: Sequence[str] = (),
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> SourceFiles:
        """Find the files with certain extensions.

        Files and folders of the system and hidden ones are left out, and so are links that lead
        out of the source.

        Args:
            source: a folder, or one file.
            extensions: lower case, with the dot.
            companions: extensions of files that are read along with one of the same name.
            otherwise: extensions of the files that are taken where there is none of the others.
            allowed: folders that links may lead into, besides the source.

        Raises:
            SettingsError: if there is no such folder, or no such file in it.
        """
        if source.is_file():
            if source.suffix.lower() not in (*extensions, *otherwise):
                words = " or ".join((*extensions, *otherwise))
                raise SettingsError(f"{source} is not a {words} file")
            return cls(source.parent, (source,), boundary=Boundary.of(source.parent, allowed))
        if not source.is_dir():
            raise SettingsError(f"there is no folder {source}")
        scan = FolderScan.of(source, allowed)
        found, others = with_extensions(scan, extensions, companions)
        if otherwise and not found:
            found, others = with_extensions(scan, otherwise)
        elif otherwise:
            others = (_or_otherwise(one, extensions, otherwise) for one in others)
        left_out = (*scan.left_out, *others)
        if not found:
            beside = f"; {told(left_out)}" if left_out else ""
            nor = f", nor {' or '.join(otherwise)}," if otherwise else ""
            taken = " or ".join(extensions)
            raise SettingsError(f"there is no {taken} file{nor} in {source}{beside}")
        return cls(source, found, left_out, scan.boundary)

    def keeping(self, kept: Sequence[Path], reason: str) -> SourceFiles:
        """These files alone; the others are left out for the reason."""
        others = [LeftOut(self.shown(one), reason) for one in sorted({*self.paths} - {*kept})]
        return replace(self, paths=tuple(kept), left_out=(*self.left_out, *others))

    @cached_property
    def in_folders(self) -> bool:
        """Whether files lie in subfolders, as the frames of videos do."""
        return any(path.parent != self.source for path in self.paths)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """``FRAME_COLUMNS`` where files lie in subfolders."""
        return FRAME_COLUMNS if self.in_folders else {}

    def shown(self, path: Path) -> str:
        """A file's path below the source, for messages."""
        return path.relative_to(self.source).as_posix()

    def frame(self, path: Path, reference_id: str) -> dict[str, str | int | None]:
        """Values of ``FRAME_COLUMNS``; empty where no file lies in a subfolder."""
        if not self.in_folders:
            return {}
        folder = path.parent.relative_to(self.source).as_posix()
        digits = reference_id.rpartition("/")[2]
        # More digits are no count of frames, and beyond 64 bits.
        numbered = digits.isascii() and digits.isdigit() and len(digits) < 19
        return {
            "sequence": None if folder == "." else folder,
            "frame": int(digits) if numbered else None,
        }

    def __iter__(self) -> Iterator[Path]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def _or_otherwise(one: LeftOut, extensions: Sequence[str], otherwise: Sequence[str]) -> LeftOut:
    """What is left out, told how it is read where it is of the extensions taken otherwise."""
    if Path(one.shown).suffix.lower() not in otherwise:
        return one
    taken, others = " or ".join(extensions), " or ".join(otherwise)
    return replace(one, reason=f"{others}, which are read from a folder without {taken}")


def read(path: Path, shown: str) -> bytes | ImportFinding:
    """A file's bytes; a finding where it cannot be read.

    Args:
        shown: the file, for messages.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return ImportFinding("FILE-MISSING", f"{shown}: there is no such file", "nothing", shown)
    except OSError as error:
        return ImportFinding("FILE-MISSING", f"{shown} cannot be read: {error.strerror}")


def linked_out(path: Path, shown: str, boundary: Boundary | None) -> ImportFinding | None:
    """The finding for a file that links lead out of its source; None for any other.

    Args:
        shown: the file, for messages.
        boundary: where links may lead; None for anywhere.
    """
    try:
        target = path.resolve()
    except (OSError, RuntimeError):
        return None  # reading it will say why
    if boundary is None or boundary.holds(target):
        return None
    return ImportFinding(
        "URL-REFUSED",
        f"{shown} is linked to {target}, out of the source; to allow it, pass --allow-root with "
        "the target's folder",
        found=str(target),
        expected="a file in the source, or in an allowed root",
    )
