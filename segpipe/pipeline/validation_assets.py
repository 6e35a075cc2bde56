"""The assets of a partition's manifest and of its validation: masks, segments, rejections."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow as pa
from pydantic import Field

from segpipe.errors import ManifestError, NothingLandedError
from segpipe.manifests.landing import Landing
from segpipe.manifests.partition import Partition
from segpipe.pictures.label_colours import colours_of
from segpipe.pictures.palette import Colour
from segpipe.pipeline import checks, gaps, previews, schemas
from segpipe.pipeline.file_links import browse_link, file_link
from segpipe.pipeline.ground_truth_sensor import observation
from segpipe.pipeline.partitions import partition_of
from segpipe.pipeline.prefixed_root import Event, PrefixedRoot
from segpipe.pipeline.resources import ROOT
from segpipe.pipeline.steps import ASSET_ATTRIBUTES, RETRY_POLICY, dagster_failures
from segpipe.pipeline.upstream import follow, follow_within_run
from segpipe.root import Root
from segpipe.validated_root import REPORT_FILE
from segpipe.validation.coverage import coverage_of
from segpipe.validation.distributions import Distribution, distribution_of, drift_between
from segpipe.validation.summary import (
    REJECTED_FILE,
    SEGMENTS_FILE,
    SUMMARY_FILE,
    VALIDATED_FILE,
    Summary,
)
from segpipe.validation.validated import ValidatedPredictions

#: Name of the manifest's asset and step; name of the validation step.
MANIFEST, VALIDATE = "prediction_manifest", "validate_masks"
_DEPS = [MANIFEST]
# Names on a page: whatever stands there is kept with every run.
_MOST_NAMES = 100
_CHECKS = [
    checks.REJECTION_RATE,
    checks.NO_DUPLICATES,
    checks.COVERAGE,
    checks.EVERY_PIXEL_EXPLAINED,
    checks.LABEL_DRIFT,
    checks.EVERY_ROW_ACCOUNTED_FOR,
]
_MANIFEST_SPEC = dg.AssetSpec(
    MANIFEST,
    kinds={"parquet"},
    description="The Parquet manifest of one model run and day: its files, checked to be "
    "readable and to have the columns segpipe needs.",
    metadata={"dagster/column_schema": schemas.prediction_manifest(pa.schema([]))},
    skippable=True,
    **ASSET_ATTRIBUTES,
)
_SPECS = [
    dg.AssetSpec(
        "validated_masks",
        deps=_DEPS,
        kinds={"parquet", "png"},
        description="One row per prediction whose mask was found whole, of its image's size "
        "and explained by its Segments pixel for pixel; its canonical mask file stored.",
        metadata={"dagster/column_schema": schemas.validated_masks},
        skippable=True,
        **ASSET_ATTRIBUTES,
    ),
    dg.AssetSpec(
        "segments",
        deps=_DEPS,
        kinds={"parquet"},
        description="One row per prediction and Segment: label, confidence, area, box and "
        "centroid.",
        metadata={"dagster/column_schema": schemas.segments},
        skippable=True,
        **ASSET_ATTRIBUTES,
    ),
    dg.AssetSpec(
        "rejected_predictions",
        deps=_DEPS,
        kinds={"parquet"},
        description="Quarantine: every finding of every row that was not accepted, with what "
        "was found, what was expected and what to do.",
        metadata={"dagster/column_schema": schemas.rejected_predictions},
        skippable=True,
        **ASSET_ATTRIBUTES,
    ),
]


def manifest_asset(prefixed: PrefixedRoot) -> dg.AssetsDefinition:
    """The asset ``prediction_manifest``."""

    @dg.multi_asset(
        name=prefixed.name(MANIFEST),
        specs=[
            spec.replace_attributes(
                deps=[dep.dep() for dep in prefixed.manifest_deps],
                automation_condition=follow(prefixed.manifest_deps),
            )
            for spec in prefixed.specs([_MANIFEST_SPEC])
        ],
        retry_policy=RETRY_POLICY,
        check_specs=checks.partitioned([checks.MANIFEST_SCHEMA], prefixed),
    )
    def prediction_manifest(context: dg.AssetExecutionContext) -> Iterator[Event]:
        gaps.settle_backfill(context)
        with dagster_failures():
            yield from prefixed.with_keys(_manifest_events(context, prefixed.root))

    return prediction_manifest


def _manifest_events(context: dg.AssetExecutionContext, root: Root) -> Iterator[Event]:
    partition = partition_of(context)
    try:
        manifest = root.manifest(partition)
    except NothingLandedError as error:
        words = gaps.nothing_landed(context, root.settings, partition, error)
        yield checks.nothing_landed(checks.MANIFEST_SCHEMA, words)
        yield dg.AssetObservation(MANIFEST, words, partition=context.partition_key)
        return
    except ManifestError as error:
        yield checks.manifest_schema(error)
        raise
    digest = manifest.content_sha256()
    yield checks.manifest_schema(None)
    yield dg.MaterializeResult(
        asset_key=MANIFEST,
        metadata={
            "dagster/row_count": manifest.rows,
            "files": _first([file.shown for file in manifest.files]),
            "carried_columns": _first(manifest.extras.names),
            **({"warnings": list(manifest.warnings)} if manifest.warnings else {}),
            "dagster/column_schema": schemas.prediction_manifest(manifest.extras),
            "folder": file_link(root.settings, manifest.files[0].folder.url),
            "dagster/uri": file_link(root.settings, manifest.files[0].folder.url),
        },
        data_version=dg.DataVersion(digest),
    )


def _first(names: list[str]) -> list[str]:
    """The first of many names, and how many more there are."""
    more = len(names) - _MOST_NAMES
    return names if more <= 0 else [*names[:_MOST_NAMES], f"and {more:,} more"]


class ValidateConfig(dg.Config):
    """Run configuration of validation."""

    force: bool = Field(
        default=False,
        description="Read every mask again. Otherwise a partition is left as it is when neither "
        "its manifest, nor any mask by what its storage says, nor the policy changed.",
    )


def validation_assets(prefixed: PrefixedRoot) -> dg.AssetsDefinition:
    """``validated_masks``, ``segments`` and ``rejected_predictions``, from one pass in one step."""
    newest = previews.newest_picture(prefixed.root.settings)

    @dg.multi_asset(
        name=prefixed.name(VALIDATE),
        specs=[
            spec.replace_attributes(
                automation_condition=_validated_with_manifest(prefixed),
                description=f"{spec.description}{newest}"
                if spec.key == prefixed.key("validated_masks")
                else spec.description,
            )
            for spec in prefixed.specs(_SPECS)
        ],
        retry_policy=RETRY_POLICY,
        check_specs=checks.partitioned(_CHECKS, prefixed),
        required_resource_keys={prefixed.name(ROOT)},
    )
    def validate_masks(
        context: dg.AssetExecutionContext, config: ValidateConfig
    ) -> Iterator[Event]:
        gaps.settle_backfill(context)
        with dagster_failures():
            yield from prefixed.with_keys(_validation_events(context, prefixed, config))

    return validate_masks


def _validated_with_manifest(prefixed: PrefixedRoot) -> dg.AutomationCondition[Any] | None:
    if follow(prefixed.manifest_deps) is None:
        return None
    return follow_within_run([prefixed.key(MANIFEST)])


def _validation_events(
    context: dg.AssetExecutionContext, prefixed: PrefixedRoot, config: ValidateConfig
) -> Iterator[Event]:
    root, partition = prefixed.root_of(context.resources), partition_of(context)
    try:
        summary = root.materialize(
            partition,
            force=config.force,
            progress=lambda *rows: prefixed.progress("validating", *rows),
        )
    except NothingLandedError as error:
        words = gaps.nothing_landed(context, root.settings, partition, error)
        yield from (checks.nothing_landed(spec, words) for spec in _CHECKS)
        yield dg.AssetObservation("validated_masks", words, partition=context.partition_key)
        return
    if root.is_evaluated(partition.model_run):  # what its evaluation will be of
        yield observation(partition, root.truth_version(partition))
    page = _report_page(root, partition, rewrite=not summary.reused)
    blocked: list[str] = []
    validated, labels = root.validated(partition), Labels.of(root, partition)
    pages = browse_link(root.settings, partition)
    yield _masks_result(root, validated, summary, labels, pages)
    yield _segments_result(root, validated, summary, labels)
    pages = browse_link(root.settings, partition, "rejects")
    yield _rejections_result(root, validated, summary, page, pages)
    for check in _check_results(root, partition, summary, labels):
        yield check
        if checks.blocks(check):
            blocked.append(f"check {check.check_name} failed: {check.description}")
    if blocked:  # Dagster itself would name the checks only, without their descriptions
        raise dg.Failure("; ".join(blocked), allow_retries=False)


@dataclass(frozen=True)
class Labels:
    """The label distribution of a partition, and of the model run's previous partition.

    Attributes:
        now: of the partition.
        before: the previous partition and its distribution; None if there is none.
        colours: display colour of each label.
    """

    now: Distribution
    before: tuple[Partition, Distribution] | None
    colours: Mapping[str, Colour]

    @classmethod
    def of(cls, root: Root, partition: Partition) -> "Labels":
        """Read both distributions from the partitions' tables."""
        now, earlier = distribution_of(root.tables(partition)), _partition_before(root, partition)
        before = None if earlier is None else (earlier, distribution_of(root.tables(earlier)))
        return cls(now, before, colours_of(root.settings, now.pixels))


def _check_results(
    root: Root, partition: Partition, summary: Summary, labels: Labels
) -> Iterator[dg.AssetCheckResult]:
    policy = root.settings.policies.of(partition.model_run)
    yield checks.rejection_rate(summary, policy.max_rejection_rate)
    yield checks.no_duplicates(summary)
    items = root.validation(partition.model_run).items
    covered = None if items is None else coverage_of(root.tables(partition), items)
    yield checks.coverage(covered, policy.min_coverage)
    yield checks.every_pixel_explained(root.tables(partition))
    yield checks.every_row_accounted_for(root.tables(partition), summary)
    before, drift = None, None
    if labels.before is not None:
        before, earlier = labels.before
        drift = drift_between(earlier, labels.now)
    yield checks.label_drift(before, drift, policy.max_drift)


def _masks_result(
    root: Root,
    validated: ValidatedPredictions,
    summary: Summary,
    labels: Labels,
    pages: Mapping[str, Any],
) -> dg.MaterializeResult[Any]:
    findings: dict[str, Any] = {f"findings/{rule}": n for rule, n in summary.findings.items()}
    compared = {f"ground_truth/{outcome}": n for outcome, n in summary.ground_truth.items()}
    return dg.MaterializeResult(
        asset_key="validated_masks",
        metadata={
            **previews.sheets(validated, root.settings, labels.colours, redraw=not summary.reused),
            "dagster/row_count": summary.accepted,
            "rows": summary.rows,
            "rejected": summary.rejected,
            "repeated": summary.repeated,
            "rejection_rate": round(summary.rejection_rate, 6),
            "masks_read_again": not summary.reused,
            **findings,
            **compared,
            **({"warnings": list(summary.warnings)} if summary.warnings else {}),
            "table": table_link(root, validated, VALIDATED_FILE),
            "dagster/uri": table_link(root, validated, VALIDATED_FILE),
            "masks": file_link(root.settings, root.masks.folder.url),
            **pages,
        },
        data_version=dg.DataVersion(summary.validated_digest),
    )


def _segments_result(
    root: Root, validated: ValidatedPredictions, summary: Summary, labels: Labels
) -> dg.MaterializeResult[Any]:
    now, before = labels.now, None if labels.before is None else labels.before[1]
    median = now.median_confidence
    return dg.MaterializeResult(
        asset_key="segments",
        metadata={
            **previews.charts(now, labels.colours, before),
            "dagster/row_count": summary.segments,
            "labels": len(now.pixels),
            "segments_per_mask": round(summary.segments / max(1, summary.accepted), 3),
            "without_confidence": now.without_confidence,
            **({} if median is None else {"median_confidence": round(median, 4)}),
            "table": table_link(root, validated, SEGMENTS_FILE),
            "dagster/uri": table_link(root, validated, SEGMENTS_FILE),
        },
        data_version=dg.DataVersion(summary.validated_digest),
    )


def _rejections_result(
    root: Root,
    validated: ValidatedPredictions,
    summary: Summary,
    page: str,
    pages: Mapping[str, Any],
) -> dg.MaterializeResult[Any]:
    rejections = previews.first_rejections(validated.rejected(most=20))
    return dg.MaterializeResult(
        asset_key="rejected_predictions",
        metadata={
            "rejected_rows": summary.rejected,
            "dagster/row_count": validated.rejected_rows,
            "report": file_link(root.settings, page),
            **pages,
            **({} if rejections is None else {"first_rejections": rejections}),
            "table": table_link(root, validated, REJECTED_FILE),
            "dagster/uri": table_link(root, validated, REJECTED_FILE),
        },
        data_version=dg.DataVersion(summary.rejected_digest),
    )


def table_link(root: Root, predictions: ValidatedPredictions, name: str) -> dg.MetadataValue[Any]:
    """Metadata that points to a table of these predictions."""
    return file_link(root.settings, f"{predictions.folder.url}/{name}")


def _partition_before(root: Root, partition: Partition) -> Partition | None:
    """The model run's previous materialized partition, by day; None if there is none."""
    days = Landing(root.settings.folder("validated")).days(partition.model_run)
    for day in reversed([day for day in days if day < partition.date]):
        before = Partition(partition.model_run, day)
        if root.tables(before).exists(SUMMARY_FILE):
            return before
    return None


def _report_page(root: Root, partition: Partition, *, rewrite: bool) -> str:
    """URL of the report page, which is written if it is missing, or with ``rewrite``."""
    tables = root.tables(partition)
    if rewrite or not tables.exists(REPORT_FILE):
        return root.write_report_page(partition)
    return f"{tables.shown}/{REPORT_FILE}"
