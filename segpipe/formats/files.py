"""Files of a data set on disk: found in order, read whole, and named as items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from segpipe.errors import SettingsError
from segpipe.manifests.rows import ImportFinding

#: Columns of data sets whose items lie in folders, such as videos.
FRAME_COLUMNS = {"sequence": pa.string(), "frame": pa.int64()}


@dataclass(frozen=True)
class Naming:
    """How files become reference ids: the path below the source, without extension.

    Attributes:
        strip_prefix, strip_suffix: taken off the file's name where they are there.
    """

    strip_prefix: str = ""
    strip_suffix: str = ""

    def reference_id(self, file: Path, source: Path) -> str:
        """The reference id of a file."""
        name = file.stem.removeprefix(self.strip_prefix).removesuffix(self.strip_suffix)
        return file.relative_to(source).with_name(name or file.stem).as_posix()


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source with certain extensions, below a folder, sorted."""

    source: Path
    paths: tuple[Path, ...]

    @classmethod
    def find(cls, source: Path, extensions: Sequence[str]) -> SourceFiles:
        """Look for files.

        Raises:
            SettingsError: if there is no such folder, or no such file in it.
        """
        words = " or ".join(extensions)
        if source.is_file():
            if source.suffix.lower() not in extensions:
                raise SettingsError(f"{source} is not a {words} file")
            return cls(source.parent, (source,))
        if not source.is_dir():
            raise SettingsError(f"there is no folder {source}")
        found = sorted(
            path
            for path in source.rglob("*")
            if path.suffix.lower() in extensions and not path.name.startswith(".")
        )
        if not found:
            raise SettingsError(f"there is no {words} file in {source}")
        return cls(source, tuple(found))

    @property
    def in_folders(self) -> bool:
        """Whether files lie in folders of their own, as the frames of videos do."""
        return any(path.parent != self.source for path in self.paths)

    def shown(self, path: Path) -> str:
        """A file, below the source."""
        return path.relative_to(self.source).as_posix()

    def frame(self, path: Path, reference_id: str) -> dict[str, str | int | None]:
        """The columns of FRAME_COLUMNS, where files lie in folders."""
        if not self.in_folders:
            return {}
        folder = path.parent.relative_to(self.source).as_posix()
        digits = reference_id.rpartition("/")[2]
        return {
            "sequence": None if folder == "." else folder,
            "frame": int(digits) if digits.isascii() and digits.isdigit() else None,
        }

    def __iter__(self) -> Iterator[Path]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def read(path: Path, shown: str) -> bytes | ImportFinding:
    """A file's bytes, or why there are none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return ImportFinding("FILE-MISSING", f"{shown}: there is no such file", "nothing", shown)
    except OSError as error:
        return ImportFinding("FILE-MISSING", f"{shown} cannot be read: {error.strerror}")
