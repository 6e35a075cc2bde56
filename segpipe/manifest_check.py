"""Validation of manifests without a root or Dagster; nothing is published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from segpipe.errors import ManifestError
from segpipe.manifests.items import ItemList
from segpipe.manifests.landing import Landing, not_read, unfinished
from segpipe.manifests.layout import is_manifest
from segpipe.manifests.manifest import Manifest
from segpipe.pictures.report_page import write_page
from segpipe.storage.files import Folder
from segpipe.storage.local_paths import local_path
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.redaction import redacted
from segpipe.storage.sources import AllowedRoots
from segpipe.storage.toml import read_toml
from segpipe.validation.chunk import Validation
from segpipe.validation.materialization import Progress, materialize
from segpipe.validation.report import ValidationReport
from segpipe.validation.rules.policy import Policies, Policy
from segpipe.workers.chunks import Workers


def validate(
    manifests: str | PathLike[str] | Sequence[str | PathLike[str]],
    out: str | PathLike[str] = "segpipe-validation",
    *,
    allowed_roots: Sequence[str] = (),
    policy: str | PathLike[str] | None = None,
    html: str | PathLike[str] | None = None,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ValidationReport:
    """Check the masks of manifests, without a root, and publish nothing.

    Args:
        manifests: manifest files, or folders of them; together one model run's predictions.
        out: folder for ``validated.parquet``, ``segments.parquet``, ``rejected.parquet`` and
            ``masks/``.
        allowed_roots: more folders or URLs masks may be read from, besides the manifests' own.
        policy: a TOML file with a ``[policy]`` table.
        html: file for a page with a picture per rule.
        workers: number of worker processes; 0 means one per processor.
        progress: called with the number of rows done and of all rows.

    Raises:
        ManifestError: if there is no such manifest, or it cannot be used.
        SettingsError: if the policy cannot be used.
        StorageError: if storage fails.
    """
    given = [manifests] if isinstance(manifests, (str, PathLike)) else list(manifests)
    check = _Check.open(
        list(map(str, given)),
        str(out),
        allowed_roots=allowed_roots,
        policy=None if policy is None else str(policy),
    )
    report = check.run(workers, progress)
    if html is not None:
        place = Path(html).absolute()
        page = write_page(report, check.manifest, check.validation)
        Folder(str(place.parent)).write(place.name, page)
    return report


@dataclass(frozen=True)
class _Check:
    """Manifest files taken as one model run's predictions, and how they are validated.

    Attributes:
        out: folder of the tables and, as ``masks/``, of the canonical masks.
    """

    manifest: Manifest
    validation: Validation
    out: Folder

    @classmethod
    def open(
        cls,
        manifests: Sequence[str],
        out: str,
        *,
        allowed_roots: Sequence[str] = (),
        policy: str | None = None,
    ) -> _Check:
        """Find the files and read the policy.

        Args:
            manifests: manifest files, or folders of them.
            allowed_roots: more folders or URLs masks may be read from, besides the manifests' own.
            policy: a TOML file with a ``[policy]`` table.

        Raises:
            ManifestError: if there is no such manifest, or it cannot be used.
            SettingsError: if the policy cannot be used.
        """
        files = [file for given in manifests for file in _files(given)]
        folder = Folder(out)
        roots = [*(place.url for place, _, _ in files), *allowed_roots]
        applied, items = _policy(policy)
        manifest = Manifest.open(files, applied.limits)
        validation = Validation(
            dataset=None,
            model_run=None,
            sources=AllowedRoots(tuple(dict.fromkeys(roots))),
            masks=MaskStore(folder.folder("masks")),
            policy=applied,
            items=items,
        )
        return cls(manifest, validation, folder)

    def run(self, workers: int = 0, progress: Progress | None = None) -> ValidationReport:
        """Validate every row, write tables and masks, and return the report.

        Args:
            workers: number of worker processes; 0 means one per processor.
            progress: called with the number of rows done and of all rows.

        Raises:
            ManifestError: if a file turns out to be damaged.
            StorageError: if storage fails.
        """
        materialize(
            self.manifest, self.validation, self.out, workers=Workers(workers), progress=progress
        )
        return ValidationReport.read(self.out)


def _policy(file: str | PathLike[str] | None) -> tuple[Policy, ItemList | None]:
    if file is None:
        return Policy(), None
    policy = Policies.read(read_toml(Path(file)), str(file)).common
    if policy.items is None:
        return policy, None
    return policy, ItemList.read(str(Path(file).absolute().parent / policy.items))


def _files(given: str) -> Iterator[tuple[Folder, str, str]]:
    """The manifest files an argument names: itself, or all in a folder."""
    try:
        local = local_path(given)
    except ValueError as error:
        raise ManifestError(f"{redacted(given)} is no manifest: {error}") from None
    if local is None:
        parent, _, name = given.rpartition("/")
        folder = Folder(parent)
        if not folder.exists(name):
            raise ManifestError(f"there is no manifest {given}")
        yield folder, name, given
        return
    path = Path(local)
    if not path.exists():
        raise ManifestError(f"there is no manifest {given}")
    if not path.is_dir():
        yield Folder(str(path.parent.absolute())), path.name, str(path)
        return
    absolute = path.absolute()
    has_parts = is_manifest(absolute.name)
    # Masks that part files name are relative to the folder that holds the folder of part files.
    day = absolute.parent if has_parts else absolute
    # Whoever names the folder may read what its links lead to.
    landing = Landing(Folder(str(day.parent)), AllowedRoots(("/",)))
    found = landing.parts(day.name, absolute.name) if has_parts else landing.delivered([day.name])
    if found.unfinished:
        raise ManifestError(unfinished(given, found.unfinished))
    if not found.files:
        raise ManifestError(
            f"there are no .parquet files in the folder {given}; name the manifest files of one "
            f"model run and day, or the folder they lie in{not_read(found.unread)}"
        )
    for file in found.files:
        below = Path(file.name).relative_to(absolute.name) if has_parts else file.name
        yield file.folder, file.name, str(path / below)
