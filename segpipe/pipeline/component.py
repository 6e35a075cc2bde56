"""The component ``segpipe.SegpipeRoot``: a root's assets, written down in a ``defs.yaml``."""

# No postponed annotations here: Dagster reads the annotations of the fields below.
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import Field

from segpipe.pipeline.build import build_definitions
from segpipe.pipeline.upstream import ManifestDep
from segpipe.settings import Settings


class ManifestDependency(dg.Model, dg.Resolvable):
    """An asset that the manifests depend on, such as the one that runs inference."""

    asset: Annotated[str, Field(description="Its key, such as vision/inference.")]
    partitions: Annotated[
        Literal["day", "cell", "none"],
        Field(
            description="day: it has daily partitions; cell: it has those of segpipe, days x model "
            "runs; none: it has none."
        ),
    ] = "none"
    follow: Annotated[
        bool | None,
        Field(
            description="Run a partition when this asset is materialized; by default if it has "
            "partitions."
        ),
    ] = None


class DailySchedule(dg.Model, dg.Resolvable):
    """When runs start by themselves."""

    automatic: Annotated[
        bool | None,
        Field(description="Sensors and schedule run unless they are switched off in the UI."),
    ] = None
    daily_at: Annotated[
        str | None, Field(description="When a run of the day before is requested, HH:MM.")
    ] = None
    time_zone: Annotated[
        str | None,
        Field(description="Time zone of daily_at and of the days, such as Europe/Berlin."),
    ] = None


class _Scaffolder(dg.Scaffolder[Any]):
    """Writes a ``defs.yaml`` with the one field that is needed."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        dg.scaffold_component(request, {"root": "segpipe-root"})


@dg.scaffold_with(_Scaffolder)
class SegpipeRoot(dg.Component, dg.Model, dg.Resolvable):
    """The assets, checks, sensors and schedule of one segpipe root.

    What is set here takes the place of the root's ``segpipe.toml``; what is not, is as the file
    says.
    """

    root: Annotated[
        str,
        Field(
            description="Folder or URL that holds manifests/ and segpipe.toml; a relative one is "
            "below the project's folder."
        ),
    ]
    key_prefix: Annotated[
        Sequence[str] | str,
        Field(description="Prepended to the asset keys and to all other names."),
    ] = ()
    owners: Annotated[
        Sequence[str] | None,
        Field(description="Owners of all assets: e-mail addresses, and teams such as team:vision."),
    ] = None
    group: Annotated[str | None, Field(description="Group of all assets.")] = None
    tags: Annotated[Mapping[str, str] | None, Field(description="Tags of all assets.")] = None
    schedule: Annotated[
        DailySchedule | None, Field(description="When runs start by themselves.")
    ] = None
    destinations: Annotated[
        Sequence[str] | None,
        Field(description="Where predictions are published: catalog, nucleus."),
    ] = None
    manifest_deps: Annotated[
        Sequence[ManifestDependency],
        Field(description="Assets the manifests depend on: inference, the model, the images."),
    ] = ()

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions, as :func:`segpipe.pipeline.build_definitions` makes them.

        Raises:
            SettingsError: if a field, or the root's settings file, cannot be used.
        """
        root = self.root if "://" in self.root else str(context.project_root / self.root)
        deps = [ManifestDep(dep.asset, dep.partitions, dep.follow) for dep in self.manifest_deps]
        return build_definitions(
            self._settings(Settings.load(root)), self.key_prefix, manifest_deps=deps
        )

    def _settings(self, settings: Settings) -> Settings:
        schedule = self.schedule or DailySchedule()
        labels = {
            "owners": None if self.owners is None else list(self.owners),
            "group": self.group,
            "tags": None if self.tags is None else dict(self.tags),
        }
        given: dict[str, Any] = {
            "destinations": None if self.destinations is None else list(self.destinations),
            "automatic": schedule.automatic,
            "daily_at": schedule.daily_at,
            "time_zone": schedule.time_zone,
            "dagster": {name: value for name, value in labels.items() if value is not None},
        }
        given = {name: value for name, value in given.items() if value is not None}
        return settings.replaced("defs.yaml", **given)
