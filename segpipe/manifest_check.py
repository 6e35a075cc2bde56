"""Validation of manifests without a root or Dagster; nothing is published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from segpipe.manifests.given_files import manifest_files
from segpipe.manifests.items import ItemList
from segpipe.manifests.manifest import Manifest
from segpipe.pictures.report_page import write_page
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
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
        files = [file for given in manifests for file in manifest_files(given)]
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
