"""Publishing a partition: an upload to each destination, in the view that is asked for."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from segpipe.errors import CatalogError
from segpipe.manifests.partition import Partition
from segpipe.pipeline import checks, schemas, views
from segpipe.pipeline.following import follows
from segpipe.pipeline.mount import Event, Mount
from segpipe.pipeline.partitions import partition_of
from segpipe.pipeline.places import place
from segpipe.pipeline.steps import LABELS, RETRIES, plain_failures
from segpipe.pipeline.uploads import Upload
from segpipe.predictions.view import View
from segpipe.publishing.destinations import CATALOG, DESTINATIONS
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.publication import VERIFIED_MASKS
from segpipe.publishing.verification import Verification
from segpipe.root import Root

#: A run or backfill with this tag set to ``true`` publishes with ``update``, as its configuration
#: would: tags are what the dialog of a backfill takes.
UPDATE_TAG = "segpipe/update"


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
    publish_as: View | None = Field(
        default=None,
        description="The view to publish: GIVEN, INSTANCE or SEMANTIC. Where it is not set, as "
        "the model run's policy says.",
    )


def publishing_asset(mount: Mount, upload: Upload) -> dg.AssetsDefinition:
    """The asset of what is published to a destination."""

    @dg.multi_asset(
        name=mount.name(upload.asset),
        pool=mount.name(upload.pool) if mount.pooled else None,
        specs=mount.specs([_spec(mount, upload)]),
        retry_policy=RETRIES,
        check_specs=checks.partitioned(checks.of_upload(upload.asset), mount),
        can_subset=True,  # a dry run publishes nothing that could be checked
    )
    def publish_predictions(
        context: dg.AssetExecutionContext, config: PublishConfig
    ) -> Iterator[Event]:
        with plain_failures():
            yield from mount.placed(_published(context, mount, upload, config))

    return publish_predictions


def _spec(mount: Mount, upload: Upload) -> dg.AssetSpec:
    made = [key(view) for view in views.MADE for key in (views.masks_key, views.segments_key)]
    return dg.AssetSpec(
        upload.asset,
        deps=["validated_masks", "segments", *made],
        kinds={upload.kind},
        skippable=True,
        automation_condition=follows(dg.AssetSelection.assets(mount.key("validated_masks"))),
        description=f"The predictions of the partition, published {upload.words}: inserted, "
        "unchanged, ignored or, with `update`, replaced. Repeating it changes nothing.",
        metadata={"dagster/column_schema": schemas.published_predictions}
        if upload.destination == CATALOG
        else {},
        **LABELS,
    )


def _published(
    context: dg.AssetExecutionContext, mount: Mount, upload: Upload, config: PublishConfig
) -> Iterator[Event]:
    root, partition = mount.root, partition_of(context)
    published_as = config.publish_as or root.settings.policies.of(partition.model_run).publish_as
    views.ensure(context, mount, partition, published_as)
    provenance = _provenance(context, root, partition, config)
    publication = root.publish(
        partition,
        provenance=provenance,
        destination=upload.destination,
        view=published_as,
        dry_run=config.dry_run,
        verify_masks=None if config.verify_all else VERIFIED_MASKS,
        progress=lambda *rows: mount.progress(f"publishing {upload.words}", *rows),
    )
    metadata: dict[str, Any] = {
        **publication.outcomes,
        "published_as": str(published_as),
        "update": provenance.update,
        "dry_run": config.dry_run,
    }
    content, verification = publication.content, publication.verification
    if (
        content is None or verification is None
    ):  # a dry run: nothing was published, nothing read back
        yield dg.AssetObservation(upload.asset, partition=context.partition_key, metadata=metadata)
        return
    yield checks.nothing_failed(publication, upload.asset)
    yield checks.published_equals_validated(verification, upload.asset)
    _confirm(verification)
    yield dg.MaterializeResult(
        asset_key=upload.asset,
        metadata={
            **metadata,
            "dagster/row_count": content.predictions,
            "receipts": place(root.settings, publication.receipts or ""),
            **_whereabouts(root, upload),
        },
        # Of what is there now: a run that left a changed prediction alone has the version before.
        data_version=dg.DataVersion(content.digest),
    )


def _provenance(
    context: dg.AssetExecutionContext, root: Root, partition: Partition, config: PublishConfig
) -> Provenance:
    return Provenance(
        root.settings.dataset,
        partition.model_run,
        partition.date,
        context.run.root_run_id or context.run.run_id,  # the same when a run is retried
        datetime.now(UTC),
        config.update or context.run.tags.get(UPDATE_TAG) == "true",
    )


def _confirm(verification: Verification) -> None:
    mismatches = verification.mismatches
    if mismatches:
        first = mismatches[0]
        raise CatalogError(
            f"reading back does not confirm {len(mismatches)} receipts, the first of "
            f"{first.reference_id!r}: {first.words}"
        )


def _whereabouts(root: Root, upload: Upload) -> dict[str, Any]:
    """Where the published predictions are."""
    if upload.destination != CATALOG:
        entry = DESTINATIONS[upload.destination]
        return dict(entry.metadata(root.settings.of_destination(entry)))
    version = root.catalog.version()
    return {
        "catalog_version": -1 if version is None else version,
        "catalog": place(root.settings, root.catalog.uri),
    }
