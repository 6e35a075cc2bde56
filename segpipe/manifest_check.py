"""Validation of manifests without a root or Dagster; nothing is published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

from segpipe import __version__
from segpipe.errors import listed
from segpipe.manifests.given_files import manifest_files
from segpipe.manifests.items import ItemList
from segpipe.manifests.manifest import Manifest
from segpipe.pictures.label_colours import label_colours
from segpipe.pictures.palette import Colour
from segpipe.pictures.report_page import PageHead, write_page
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.redaction import refusals_without_secrets
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
        files = listed([file.shown for file in check.manifest.files])
        head = PageHead(
            f"Validation of {files}",
            (
                ("manifest", files),
                ("validated", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
                ("segpipe", __version__),
            ),
        )
        colours = _PageColours(check.validation.policy.taxonomy, check.colours)
        page = write_page(report, check.manifest, check.validation, check.out, head, colours)
        Folder(str(place.parent)).write(place.name, page)
    return report


class _PageColours:
    """Gives the labels of a page colours, each the same in all of its pictures."""

    def __init__(self, labels: Iterable[str], declared: Mapping[str, str]) -> None:
        self._labels = dict.fromkeys(labels)
        self._declared = declared

    def __call__(self, labels: Iterable[str]) -> dict[str, Colour]:
        self._labels.update(dict.fromkeys(labels))
        given = label_colours(self._labels, self._declared)
        return {label: given[label] for label in labels}


@dataclass(frozen=True)
class _Check:
    """Manifest files taken as one model run's predictions, and how they are validated.

    Attributes:
        out: folder of the tables and, as ``masks/``, of the canonical masks.
        colours: label -> ``#rrggbb``, where the policy's file says it.
    """

    manifest: Manifest
    validation: Validation
    out: Folder
    colours: Mapping[str, str]

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
        applied, items, colours = _policy(policy)
        manifest = Manifest.open(files, applied.limits)
        validation = Validation(
            dataset=None,
            model_run=None,
            sources=AllowedRoots(tuple(dict.fromkeys(roots))),
            masks=MaskStore(folder.folder("masks")),
            policy=applied,
            items=items,
        )
        return cls(manifest, validation, folder, colours)

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


def _policy(
    file: str | PathLike[str] | None,
) -> tuple[Policy, ItemList | None, Mapping[str, str]]:
    if file is None:
        return Policy(), None, {}
    given = read_toml(Path(file))
    with refusals_without_secrets(given):
        policies = Policies.read(given, str(file))
    policy, items = policies.common, None
    if policy.items is not None:
        items = ItemList.read(str(Path(file).absolute().parent / policy.items))
    return policy, items, policies.colours
