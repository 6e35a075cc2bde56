"""The assets of published predictions: one for each destination, in the requested view."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from segpipe.errors import CatalogError, NothingLandedError
from segpipe.manifests.partition import Partition
from segpipe.pipeline import checks, gaps, schemas
from segpipe.pipeline.declarative_automation import when_validated
from segpipe.pipeline.destinations import DestinationAsset
from segpipe.pipeline.evaluation_assets import EVALUATION
from segpipe.pipeline.file_links import browse_link, file_link
from segpipe.pipeline.partitions import partition_of
from segpipe.pipeline.prefixed_root import Event, PrefixedRoot
from segpipe.pipeline.resources import NUCLEUS
from segpipe.pipeline.steps import ASSET_ATTRIBUTES, REMARKS, RETRY_POLICY, dagster_failures
from segpipe.pipeline.view_assets import DERIVED_VIEWS, ensure_view, masks_asset, segments_asset
from segpipe.predictions.view import View
from segpipe.publishing.destinations import CATALOG, DESTINATIONS
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.publication import VERIFIED_MASKS
from segpipe.publishing.verification import Verification
from segpipe.root import Root

#: Run tag equivalent to the configuration ``update: true``; the backfill dialog only takes tags.
UPDATE_TAG = "segpipe/update"
#: Metadata of what failed to be published, a sentence a line.
FAILURES = "failures"


class PublishConfig(dg.Config):
    """Run configuration of publishing."""

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
    publish_as: View | None = Field(
        default=None,
        description="The view to publish: GIVEN, INSTANCE or SEMANTIC. Where it is not set, as "
        "the model run's policy says.",
    )


def publishing_asset(prefixed: PrefixedRoot, target: DestinationAsset) -> dg.AssetsDefinition:
    """The asset of the predictions published to a destination."""

    @dg.multi_asset(
        name=prefixed.name(target.asset),
        pool=prefixed.name(target.pool) if prefixed.pooled else None,
        specs=prefixed.specs([_spec(prefixed, target)]),
        retry_policy=RETRY_POLICY,
        check_specs=checks.partitioned(checks.publishing_checks(target.asset), prefixed),
        required_resource_keys={prefixed.name(NUCLEUS)}
        if target.destination == "nucleus"
        else set(),
        can_subset=True,  # a dry run publishes nothing to check
    )
    def publish_predictions(
        context: dg.AssetExecutionContext, config: PublishConfig
    ) -> Iterator[Event]:
        gaps.settle_backfill(context)
        access = getattr(context.resources, prefixed.name(NUCLEUS), None)
        with dagster_failures(), nullcontext() if access is None else access.in_use():
            yield from prefixed.with_keys(_published(context, prefixed, target, config))

    return publish_predictions


def _spec(prefixed: PrefixedRoot, target: DestinationAsset) -> dg.AssetSpec:
    of_views = [key(view) for view in DERIVED_VIEWS for key in (masks_asset, segments_asset)]
    gate = [EVALUATION] if prefixed.root.settings.requirements.gate else []
    return dg.AssetSpec(
        target.asset,
        deps=["validated_masks", "segments", *of_views, *gate],
        kinds={target.kind},
        skippable=True,
        automation_condition=when_validated(prefixed),
        description=f"The predictions of the partition, published {target.phrase}: inserted, "
        "unchanged, ignored or, with `update`, replaced. Repeating it changes nothing.",
        metadata={"dagster/column_schema": schemas.published_predictions}
        if target.destination == CATALOG
        else {},
        **ASSET_ATTRIBUTES,
    )


def _published(
    context: dg.AssetExecutionContext,
    prefixed: PrefixedRoot,
    target: DestinationAsset,
    config: PublishConfig,
) -> Iterator[Event]:
    root, partition = prefixed.root, partition_of(context)
    try:
        root.manifest(partition)
    except NothingLandedError as error:
        words = gaps.nothing_landed(context, root.settings, partition, error)
        yield dg.AssetObservation(target.asset, words, partition=context.partition_key)
        return
    published_as = config.publish_as or root.settings.policies.of(partition.model_run).publish_as
    ensure_view(context, prefixed, partition, published_as)
    provenance = _provenance(context, root, partition, config)
    publication = root.publish(
        partition,
        provenance=provenance,
        destination=target.destination,
        view=published_as,
        dry_run=config.dry_run,
        verify_masks=None if config.verify_all else VERIFIED_MASKS,
        progress=lambda *rows: prefixed.progress(f"publishing {target.phrase}", *rows),
    )
    for remark in (*publication.remarks, *filter(None, [publication.failed])):
        context.log.warning(remark)
    metadata: dict[str, Any] = {
        **publication.outcomes,
        "published_as": str(published_as),
        "update": provenance.update,
        "dry_run": config.dry_run,
        **({REMARKS: "\n".join(publication.remarks)} if publication.remarks else {}),
        **({FAILURES: publication.failed} if publication.failed else {}),
    }
    content, verification = publication.content, publication.verification
    if content is None or verification is None:  # dry run
        yield dg.AssetObservation(target.asset, partition=context.partition_key, metadata=metadata)
        return
    yield checks.nothing_failed(publication, target.asset)
    yield checks.published_equals_validated(verification, target.asset)
    _check_confirmed(verification, publication.remarks)
    yield dg.MaterializeResult(
        asset_key=target.asset,
        metadata={
            **metadata,
            "dagster/row_count": content.predictions,
            "receipts": file_link(root.settings, publication.receipts or ""),
            **_location_metadata(root, target),
            **(browse_link(root.settings, partition) if target.destination == CATALOG else {}),
        },
        # Digest of what is published now: ignoring a changed prediction keeps the data version.
        data_version=dg.DataVersion(content.digest),
    )


def _provenance(
    context: dg.AssetExecutionContext, root: Root, partition: Partition, config: PublishConfig
) -> Provenance:
    return Provenance(
        root.settings.dataset,
        partition.model_run,
        partition.date,
        context.run.root_run_id or context.run.run_id,  # stays the same when a run is retried
        datetime.now(UTC),
        config.update or context.run.tags.get(UPDATE_TAG) == "true",
    )


def _check_confirmed(verification: Verification, remarks: Sequence[str]) -> None:
    mismatches = verification.mismatches
    if mismatches:
        first = mismatches[0]
        error = CatalogError(
            f"reading back does not confirm {len(mismatches)} receipts, the first of "
            f"{first.reference_id!r}: {first.words}"
        )
        for remark in remarks:
            error.add_note(remark)
        raise error


def _location_metadata(root: Root, target: DestinationAsset) -> dict[str, Any]:
    """Metadata that says where the published predictions are."""
    if target.destination != CATALOG:
        entry = DESTINATIONS[target.destination]
        return dict(entry.metadata(root.settings.of_destination(entry)))
    version = root.catalog.version()
    return {
        "catalog_version": -1 if version is None else version,
        "catalog": file_link(root.settings, root.catalog.uri),
    }
