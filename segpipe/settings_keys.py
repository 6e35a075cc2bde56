"""The keys of ``segpipe.toml``: what each takes and means, table by table.

The one source of the words that messages about the settings file and ``docs/reference/settings.md``
have. Defaults are those of the classes that hold the values; they are not repeated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segpipe.evaluation.requirements import METRICS
from segpipe.predictions.declared_metadata import MetadataType
from segpipe.publishing.destinations import DESTINATIONS
from segpipe.publishing.nucleus.settings import KEY_VARIABLE
from segpipe.publishing.nucleus.settings import KINDS as NUCLEUS_KINDS
from segpipe.validation.rules.policy import KINDS, TASKS


@dataclass(frozen=True)
class Key:
    """A key of the settings file.

    Attributes:
        expected: what its value has to be, as messages say it.
        meaning: for who writes the file.
        default: in words, where the value that the code has does not tell it; ``none`` for what is
            off without the key.
    """

    expected: str
    meaning: str
    default: str = ""


@dataclass(frozen=True)
class KeyTable:
    """A table of the settings file.

    Attributes:
        name: as a message writes it; empty for the keys above all tables.
        meaning: what it is for, as Markdown.
        keys: by their names, in the order they are explained.
        example: TOML that can be used as it stands.
    """

    name: str
    meaning: str
    keys: Mapping[str, Key]
    example: str


_FLAG = "true or false"
_POSITIVE = "a positive whole number"
_SHARE = "a share from 0.0 to 1.0"
_DAY = "a date such as 2026-01-31, without quotes"
_URL = "a URL"


def _place(what: str, name: str) -> Key:
    return Key(_URL, f"where {what} are; relative to the root, or absolute", f"`{name}/` in root")


ROOT_KEYS: Mapping[str, Key] = {
    "dataset": Key("text", "the dataset whose items are predicted; part of every identity"),
    "manifests": _place("the manifests that models write", "manifests"),
    "validated": _place("the tables of what was validated", "validated"),
    "views": _place("the masks and tables of views", "views"),
    "masks": Key(
        _URL,
        "where canonical masks are, content-addressed. Masks outside the root are never vacuumed: "
        "other roots may use them",
        "`masks/` in root",
    ),
    "catalog": _place("the published predictions and their receipts", "catalog"),
    "allowed_roots": Key(
        "a list of URLs",
        "folders masks and images may be read from, besides the root and the manifests",
    ),
    "storage_options": Key(
        "a table",
        "options for remote URLs, as fsspec names them; credentials are better left to "
        "the environment",
    ),
    "first_date": Key(_DAY, "the first day that can have a partition", "the first that landed"),
    "last_date": Key(_DAY, "the last day that can have a partition", "today, in `time_zone`"),
    "missing_manifest": Key(
        '"skip" or "fail"',
        "what a run of a day without a manifest does: succeed without doing anything, or fail. "
        "`segpipe run` always says that it is an error",
    ),
    "maintenance": Key(
        '"report" or "clean"',
        "what the schedule `maintenance` does once it is on: say what could be deleted and "
        "rewritten, or do it",
    ),
    "rows_per_chunk": Key(_POSITIVE, "manifest rows that a worker takes at a time"),
    "workers": Key(
        "a whole number, 0 for one per processor and at most 8",
        "how many processes of this machine work on the masks of a step",
    ),
    "scheduler": Key(
        "the address of a Dask scheduler, such as tcp://host:8786",
        "a Dask cluster whose workers work on the masks instead",
        "none",
    ),
    "publish_rows": Key(_POSITIVE, "predictions in one commit of the catalog"),
    "single_publisher": Key(
        _FLAG,
        "whether never more than one process publishes or maintains the catalog at a time. Only "
        "then may the catalog be in a store without conditional puts",
    ),
    "time_zone": Key(
        "the name of a time zone, such as Europe/Berlin",
        "of the daily schedule, and of the day that is today",
    ),
    "daily_at": Key(
        "a time as HH:MM, such as 06:00", "when the daily schedule requests the day before"
    ),
    "automatic": Key(
        _FLAG, "whether sensors and the daily schedule run unless they are switched off"
    ),
    "destinations": Key(
        "a list of " + " and ".join(f'"{name}"' for name in DESTINATIONS),
        "where predictions are published",
    ),
    "links": Key(
        "an address such as https://files.example/segpipe",
        "the address under which people reach the root's files: places on Dagster's pages become "
        "links",
        "none",
    ),
    "browse_url": Key(
        "an address such as http://looking.example:8010",
        "the address at which `segpipe browse` serves the root: Dagster's pages link to it",
        "none",
    ),
}

POLICY_KEYS: Mapping[str, Key] = {
    "task": Key(f"one of {', '.join(TASKS)}", "what the model run's predictions are", "none"),
    "taxonomy": Key(
        "a table of label = " + " or ".join(f'"{kind}"' for kind in KINDS),
        "the classes: labels are checked against it, and it says what views merge",
        "labels are not checked",
    ),
    "ignore_values": Key(
        'a table such as {255 = "void"}',
        "pixel values, 0 to 255, whose pixels get a visible Segment of this label that is marked "
        "as ignored; they never become background",
    ),
    "severities": Key(
        "a table of rule = reject, warn or off",
        "severities of [rules](rules.md) that differ from the catalogue's",
    ),
    "colours": Key(
        'a table of label = colour, a name such as "seagreen" or "#2e8b57"',
        "colours of labels in pictures; in `[policy]` alone, the same for all model runs",
        "each label gets one",
    ),
    "publish_as": Key(
        "one of given, instance, semantic",
        "the view of the predictions that is published: as given, with stuff merged into "
        "background, or with one Segment per label",
    ),
    "items": Key(
        _URL,
        "a list of the dataset's items (Parquet, CSV, JSON or text): rows of others are rejected",
        "items are not checked",
    ),
    "retired": Key(_FLAG, "the model run has ended: it starts no runs any more"),
    "max_rejection_rate": Key(
        _SHARE,
        "share of a partition's rows: if more are rejected, something systematic is wrong, and "
        "nothing of the partition is published",
    ),
    "min_coverage": Key(
        _SHARE, "share of the listed `items` that a partition should predict, else a check warns"
    ),
    "max_drift": Key(
        _SHARE,
        "how far the labels' shares of pixels may be from those of the partition before, else a "
        "check warns",
    ),
    "max_age_hours": Key(
        "a number of hours above 0",
        "a model run is late if its newest published day ended more hours ago. With 30, a day has "
        "to be published by 06:00 of the day after",
        "no limit",
    ),
    "max_pixels": Key(_POSITIVE, "limit on a mask's width times height"),
    "max_bytes": Key(_POSITIVE, "limit on the size of a mask file, in bytes"),
    "max_segments": Key(_POSITIVE, "limit on the number of Segments of a row"),
    "max_metadata_bytes": Key(
        _POSITIVE, "limit on the metadata of one Segment, in bytes of UTF-8 JSON"
    ),
    "max_rows": Key(
        _POSITIVE, "limit on the rows of a manifest; one with more is refused as a whole"
    ),
    "max_row_bytes": Key(
        _POSITIVE,
        "limit on a row of a manifest when it is decoded, in bytes; beyond it the row is rejected",
    ),
}

METADATA_KEYS: Mapping[str, Key] = {
    "KEY": Key(
        "one of " + ", ".join(one.value for one in MetadataType),
        "the type of the column that this key of the Segments' metadata becomes. Values of another "
        "type are null there, and told by the rule `METADATA-TYPE`",
        "none",
    )
}

_METRICS = ", ".join(f"`{name}`" for name in METRICS)
EVALUATION_KEYS: Mapping[str, Key] = {
    "ground_truth": Key(
        "the name of a model run, or a list of names",
        "model runs whose published predictions are true, the first that has an item before the "
        "others: other model runs are compared with them",
        "none",
    ),
    "min": Key(
        "a table of numbers from 0 to 1, such as {mIoU = 0.7}",
        f"the least of each number that is enough. The numbers: {_METRICS}",
        "none",
    ),
    "no_regression": Key(
        'a table such as {against = "street-unet-v1", metric = "mIoU", tolerance = 0.01}',
        "a model run that others may not fall behind, in one number by more than the tolerance. "
        "Without them, `metric` is `mIoU` and `tolerance` 0",
        "none",
    ),
    "min_items": Key(_POSITIVE, "how many items have to be evaluated for the numbers to count"),
    "gate": Key(
        _FLAG, "whether predictions that are not good enough are kept from being published"
    ),
}

_NUCLEUS_MEANINGS: Mapping[str, tuple[str, str]] = {
    "dataset_id": ("the dataset at Nucleus; needed", "none"),
    "model": ("reference id of the model there; `{model_run}` stands for the model run", ""),
    "model_name": ("the model's name, set when it is created", ""),
    "masks": (
        "whether mask files are uploaded, or only their URLs are sent and Nucleus fetches them", ""
    ),
    "masks_url": ("the mask store as Nucleus reaches it", "the mask store's own"),
    "masks_per_call": ("predictions in one call of the client", ""),
    "endpoint": ("base URL of the API", "`NUCLEUS_ENDPOINT`, else Scale's"),
    "timeout": ("how long an answer is waited for", ""),
    "retry_seconds": ("how long a failing request is retried before publishing fails", ""),
}  # fmt: skip
NUCLEUS_KEYS: Mapping[str, Key] = {
    name: Key(NUCLEUS_KINDS[name][1], *words) for name, words in _NUCLEUS_MEANINGS.items()
}

DAGSTER_KEYS: Mapping[str, Key] = {
    "owners": Key(
        'a list of e-mail addresses and teams, such as "team:vision"', "owners of the assets"
    ),
    "group": Key("a name of letters, digits and underscores", "the group of the assets"),
    "tags": Key("a table of texts", "tags of the assets"),
}

TABLES: tuple[KeyTable, ...] = (
    KeyTable(
        "",
        "Keys at the top of the file, above all tables.",
        ROOT_KEYS,
        'dataset = "streets"\n'
        'allowed_roots = ["s3://bucket/masks"]\n'
        "first_date = 2026-01-05\n"
        "automatic = true\n"
        'daily_at = "07:30"\n'
        'time_zone = "Europe/Berlin"\n',
    ),
    KeyTable(
        "policy",
        "What predictions have to be, for all model runs. `taxonomy`, `severities` and `colours` "
        "are often written as tables of their own, `[policy.taxonomy]` and so on.",
        POLICY_KEYS,
        "[policy]\n"
        'task = "panoptic"\n'
        'ignore_values = {255 = "void"}\n'
        "max_rejection_rate = 0.2\n\n"
        "[policy.taxonomy]\n"
        'Road = "stuff"\n'
        'Person = "thing"\n\n'
        "[policy.severities]\n"
        'SEGMENT-NO-PIXELS = "off"\n\n'
        "[policy.colours]\n"
        'Road = "rebeccapurple"\n',
    ),
    KeyTable(
        'model_runs."NAME"',
        "The policy of one model run: the keys of `[policy]`, but for `colours`. A key that is "
        "given takes the place of the one in `[policy]`; the others stay.",
        {},
        '[model_runs."street-unet-v2"]\nignore_values = {254 = "unsure"}\n'
        'publish_as = "instance"\n',
    ),
    KeyTable(
        "metadata",
        "Keys of the Segments' metadata that are columns of their own, in `segments.parquet` and "
        "in the catalog.",
        METADATA_KEYS,
        '[metadata]\npose = "string"\ndistance = "float"\noccluded = "bool"\n',
    ),
    KeyTable(
        "evaluation",
        "Ground truth, and how good predictions have to be.",
        EVALUATION_KEYS,
        "[evaluation]\n"
        'ground_truth = "labels"\n'
        "min = {mIoU = 0.7, PQ = 0.4}\n"
        'no_regression = {against = "street-unet-v1", metric = "mIoU", tolerance = 0.01}\n'
        "min_items = 200\n"
        "gate = true\n",
    ),
    KeyTable(
        "nucleus",
        "The dataset at Scale Nucleus, which the destination `nucleus` needs. The API key is read "
        f"from `{KEY_VARIABLE}` in the environment, and from nowhere else.",
        NUCLEUS_KEYS,
        'destinations = ["catalog", "nucleus"]\n\n'
        "[nucleus]\n"
        'dataset_id = "ds_0123456789abcdef"\n'
        'masks = "local"\n'
        "timeout = 300\n",
    ),
    KeyTable(
        "dagster",
        "What Dagster shows of the assets.",
        DAGSTER_KEYS,
        '[dagster]\nowners = ["team:vision", "ada@example.com"]\ngroup = "streets"\n'
        'tags = {domain = "streets"}\n',
    ),
)  # fmt: skip
