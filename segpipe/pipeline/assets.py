"""The assets of a partition, from its manifest to its published predictions."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from segpipe.errors import CatalogError, SegpipeError
from segpipe.materialization import CODE_VERSION, Summary
from segpipe.pipeline import checks, previews, schemas
from segpipe.pipeline.partitions import day_by_model_run, partition_of
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.publication import VERIFIED_MASKS, Publication
from segpipe.publishing.verification import Verification
from segpipe.root import Root
from segpipe.validated import ValidatedPredictions

_SHARED: dict[str, Any] = {
    "group_name": "segmentation_predictions",
    "owners": ["team:segmentation"],
    "code_version": CODE_VERSION,
}

#: Told the step's name, and how many of how many rows are done.
StepProgress = Callable[[str, int, int], None]


class PublishConfig(dg.Config):
    """How to publish."""

    update: bool = Field(
        default=False,
        description="Replace predictions that are there already and differ. Otherwise they are "
        "ignored: what is published stays.",
    )
    dry_run: bool = Field(
        default=False,
        description="Say what would happen and touch nothing; the asset is not materialized.",
    )

    verify_all: bool = Field(
        default=False,
        description="After publishing, decode every mask that was published and compare it; "
        "otherwise a sample.",
    )


@contextmanager
def _plain_failures() -> Iterator[None]:
    """A user's mistake fails the step with its message, not with a traceback to read."""
    try:
        yield
    except SegpipeError as error:
        raise dg.Failure(str(error), allow_retries=False) from None


def build_assets(first_date: date) -> list[dg.AssetsDefinition]:
    """The assets, partitioned from a first day on."""
    partitions = day_by_model_run(first_date)

    @dg.asset(
        partitions_def=partitions,
        kinds={"parquet"},
        description="The Parquet manifest of one model run and day: its files, checked to be "
        "readable and to have the columns segpipe needs.",
        **_SHARED,
    )
    def prediction_manifest(
        context: dg.AssetExecutionContext, root: dg.ResourceParam[Root]
    ) -> dg.MaterializeResult[Any]:
        with _plain_failures():
            manifest = root.manifest(partition_of(context))
            digest = manifest.content_sha256()
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": manifest.rows,
                "files": [file.shown for file in manifest.files],
                "carried_columns": manifest.extras.names,
                "folder": dg.MetadataValue.path(manifest.files[0].folder.url),
            },
            data_version=dg.DataVersion(digest),
        )

    @dg.multi_asset(
        name="validate_masks",
        partitions_def=partitions,
        specs=_validated_specs(),
        check_specs=[checks.REJECTION_RATE, checks.EVERY_PIXEL_EXPLAINED],
    )
    def validate_masks(
        context: dg.AssetExecutionContext,
        root: dg.ResourceParam[Root],
        progress: dg.ResourceParam[StepProgress],
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        partition = partition_of(context)
        with _plain_failures():
            summary = root.materialize(partition, lambda *rows: progress("validating", *rows))
            page = root.write_report_page(partition)
            yield from _validated_results(root, root.validated(partition), summary, page)
            policy = root.settings.policies.of(partition.model_run)
            yield checks.rejection_rate(summary, policy.max_rejection_rate)
            yield checks.every_pixel_explained(root.tables(partition))

    @dg.asset(
        partitions_def=partitions,
        deps=["validated_masks", "segments"],
        kinds={"deltalake"},
        check_specs=[checks.NOTHING_FAILED, checks.READ_BACK],
        output_required=False,
        description="The predictions of the partition, published to the catalog: inserted, "
        "unchanged, ignored or, with `update`, replaced. Repeating it changes nothing.",
        **_SHARED,
    )
    def published_predictions(
        context: dg.AssetExecutionContext,
        config: PublishConfig,
        root: dg.ResourceParam[Root],
        progress: dg.ResourceParam[StepProgress],
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult | dg.AssetObservation]:
        partition = partition_of(context)
        provenance = Provenance(
            root.settings.dataset,
            partition.model_run,
            partition.date,
            context.run.root_run_id or context.run.run_id,  # the same when a run is retried
            datetime.now(UTC),
            config.update,
        )
        with _plain_failures():
            publication = root.publish(
                partition,
                provenance,
                dry_run=config.dry_run,
                verify_masks=None if config.verify_all else VERIFIED_MASKS,
                progress=lambda *rows: progress("publishing", *rows),
            )
            yield checks.nothing_failed(publication)
            yield checks.published_equals_validated(
                publication.verification or Verification(0, 0, ())
            )
            mismatches = publication.verification.mismatches if publication.verification else ()
            if mismatches:
                first = mismatches[0]
                raise CatalogError(
                    f"reading back does not confirm {len(mismatches)} receipts, the first of "
                    f"{first.reference_id!r}: {first.words}"
                )
            yield _published_result(context, root, publication, config)

    return [prediction_manifest, validate_masks, published_predictions]


def _validated_specs() -> list[dg.AssetSpec]:
    deps = ["prediction_manifest"]
    return [
        dg.AssetSpec(
            "validated_masks",
            deps=deps,
            kinds={"parquet", "png"},
            description="One row per prediction whose mask was found whole, of its image's size "
            "and explained by its Segments pixel for pixel; its canonical mask file stored.",
            metadata={"dagster/column_schema": schemas.validated_masks},
            **_SHARED,
        ),
        dg.AssetSpec(
            "segments",
            deps=deps,
            kinds={"parquet"},
            description="One row per prediction and Segment: label, confidence, area, box and "
            "centroid.",
            metadata={"dagster/column_schema": schemas.segments},
            **_SHARED,
        ),
        dg.AssetSpec(
            "rejected_predictions",
            deps=deps,
            kinds={"parquet"},
            description="Quarantine: every finding of every row that was not accepted, with what "
            "was found, what was expected and what to do.",
            metadata={"dagster/column_schema": schemas.rejected_predictions},
            **_SHARED,
        ),
    ]


def _validated_results(
    root: Root, validated: ValidatedPredictions, summary: Summary, page: str
) -> Iterator[dg.MaterializeResult[Any]]:
    folder = validated.folder
    findings: dict[str, Any] = {f"findings/{rule}": n for rule, n in summary.findings.items()}
    yield dg.MaterializeResult(
        asset_key="validated_masks",
        metadata={
            "preview": previews.preview(validated, root.settings),
            "dagster/row_count": summary.accepted,
            "rows": summary.rows,
            "rejected": summary.rejected,
            "repeated": summary.repeated,
            "rejection_rate": round(summary.rejection_rate, 6),
            **findings,
            "table": dg.MetadataValue.path(f"{folder.url}/validated.parquet"),
            "masks": dg.MetadataValue.path(root.masks.folder.url),
        },
        data_version=dg.DataVersion(summary.validated_digest),
    )
    yield dg.MaterializeResult(
        asset_key="segments",
        metadata={
            "dagster/row_count": summary.segments,
            "table": dg.MetadataValue.path(f"{folder.url}/segments.parquet"),
        },
        data_version=dg.DataVersion(summary.validated_digest),
    )
    rejections = previews.first_rejections(validated.rejected(most=20))
    yield dg.MaterializeResult(
        asset_key="rejected_predictions",
        metadata={
            "rejected_rows": summary.rejected,
            "report": dg.MetadataValue.path(page),
            **({} if rejections is None else {"first_rejections": rejections}),
            "table": dg.MetadataValue.path(f"{folder.url}/rejected.parquet"),
        },
        data_version=dg.DataVersion(summary.rejected_digest),
    )


def _published_result(
    context: dg.AssetExecutionContext, root: Root, publication: Publication, config: PublishConfig
) -> dg.MaterializeResult[Any] | dg.AssetObservation:
    metadata: dict[str, Any] = {
        **publication.outcomes,
        "update": config.update,
        "dry_run": config.dry_run,
    }
    if config.dry_run:
        return dg.AssetObservation(
            "published_predictions", partition=context.partition_key, metadata=metadata
        )
    version = root.catalog.version()
    return dg.MaterializeResult(
        metadata={
            **metadata,
            "catalog_version": -1 if version is None else version,
            "catalog": dg.MetadataValue.path(root.catalog.uri),
            "receipts": dg.MetadataValue.path(publication.receipts or ""),
            "dagster/column_schema": schemas.published_predictions,
        },
    )
