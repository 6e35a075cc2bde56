"""Of a file that is not there, what is there instead is said: on a disk and in a bucket alike."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from segpipe.masks.refusal import MaskRefused
from segpipe.names import shown
from segpipe.root import Root
from segpipe.storage.sources import AllowedRoots
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.s3_buckets import FlakyBucket, upload
from tests.fixtures.s3_server import ACCESS_KEY, SECRET_KEY, Bucket

#: A mask's name as a manifest has it -> as its file has it; one looks like the other.
ALIKE = {
    "Größe.png": unicodedata.normalize("NFD", "Größe.png"),
    unicodedata.normalize("NFD", "naïve.png"): "naïve.png",
    "blank.png ": "blank.png",
    "lead.png": " lead.png",
    "line.png\n": "line.png",
    "zero\u200bwidth.png": "zerowidth.png",
    "joined.png": "joi\u200dned.png",
    "Case.PNG": "case.png",
    "frame-7.png": "frame-07.png",
    "bare": "bare.png",
}


@pytest.fixture(params=["disk", "bucket"])
def bucket(request: pytest.FixtureRequest) -> Bucket | None:
    """Where the root lies that a test opens: None for a disk."""
    found: Bucket | None = request.getfixturevalue("s3") if request.param == "bucket" else None
    return found


def opened(landing: LandingWriter, bucket: Bucket | None) -> Root:
    """The root that was landed, where all rows may be rejected."""
    (landing.root / "segpipe.toml").write_text("[policy]\nmax_rejection_rate = 1.0\n")
    if bucket is None:
        return Root.open(str(landing.root))
    upload(bucket, landing.root)
    return Root.open(f"{bucket.url}/root")


def said(root: Root) -> dict[str, str]:
    """Reference id -> what was said of a row that was rejected for its file."""
    root.materialize(PARTITION)
    rejected = root.validated(PARTITION).rejected(10_000).to_pylist()
    assert {row["rule"] for row in rejected} <= {"FILE-MISSING"}
    return {row["reference_id"]: row["message"] for row in rejected}


def test_a_name_that_looks_like_that_of_a_mask_is_shown_beside_it(
    landing: LandingWriter, bucket: Bucket | None
) -> None:
    rows = []
    for number, (written, there) in enumerate(ALIKE.items()):
        row = landing.row(str(number), (0, number + 1), name=there.removesuffix(".png"))
        rows.append({**row, "mask_url": f"masks/{written}"})
    landing.manifest([*rows, landing.row("there")])
    root = opened(landing, bucket)
    messages = said(root)
    assert len(messages) == len(ALIKE)
    for number, (written, there) in enumerate(ALIKE.items()):
        words = f"; {shown(written)} is not in its folder, {shown(there)} is: write it so"
        assert words in messages[str(number)]
        assert messages[str(number)].isprintable()
        assert "\u0308" not in messages[str(number)]
    # What it says is followed.
    landing.manifest(
        [
            {**row, "mask_url": f"masks/{there}"}
            for row, there in zip(rows, ALIKE.values(), strict=True)
        ]
    )
    assert said(opened(landing, bucket)) == {}


def test_a_neighbour_in_a_numbered_row_is_not_taken_for_the_mask(
    landing: LandingWriter, bucket: Bucket | None
) -> None:
    rows = [landing.row(f"frame_{number:04}") for number in range(12)]
    (landing.folder(PARTITION) / "masks/frame_0007.png").unlink()
    landing.manifest(rows)
    message = said(opened(landing, bucket))["frame_0007"]
    assert message.endswith("masks/frame_0007.png")


def test_a_folder_that_is_not_there_is_named_once_for_all_rows(
    landing: LandingWriter, bucket: Bucket | None
) -> None:
    rows = [
        {**landing.row(f"{name}-{number}"), "mask_url": f"{name}/a/b/{number}.png"}
        for name in ("MASKS", "elsewhere")
        for number in range(30)
    ]
    landing.manifest(rows)
    root = opened(landing, bucket)
    messages = said(root)
    day = root.landing.folder.folder(f"model_run={PARTITION.model_run}", f"date={PARTITION.date}")
    assert "; the folder 'MASKS' is not there, 'masks' is: write it so" in messages["MASKS-3"]
    assert messages["elsewhere-3"].endswith(f"{day.shown}/elsewhere")
    (told,) = root.report(PARTITION).rules
    assert len(told.remedies) == 2
    assert told.advice[1].startswith("30 rows: There is no")
    assert f"{day.shown}/elsewhere: mount its disk" in told.advice[1]


def test_a_disk_that_is_no_longer_mounted_is_said_to_be_missing(
    landing: LandingWriter, tmp_path: Path
) -> None:
    gone, unmounted = tmp_path / "gone", tmp_path / "unmounted"
    unmounted.mkdir()
    rows = [
        {**landing.row(f"{place.name}-{number}"), "mask_url": f"{place}/{number}.png"}
        for place in (gone, unmounted)
        for number in range(20)
    ]
    landing.manifest(rows)
    (landing.root / "segpipe.toml").write_text(
        f"allowed_roots = ['{gone}', '{unmounted}']\n[policy]\nmax_rejection_rate = 1.0\n"
    )
    root = Root.open(str(landing.root))
    messages = said(root)
    assert messages["gone-0"].endswith(f"; there is no folder {gone}")
    assert messages["unmounted-0"].endswith(f"; its folder is empty ({unmounted})")
    (told,) = root.report(PARTITION).rules
    assert [line.partition(": ")[2].partition(":")[0] for line in told.advice] == [
        f"There is no folder {gone}",
        f"The folder {unmounted} is empty",
    ]


def test_of_an_image_too_the_name_that_looks_the_same_is_said(
    landing: LandingWriter, bucket: Bucket | None
) -> None:
    row = landing.row("one", height=None, width=None, image_url="masks/ONE.png")
    landing.manifest([row])
    root = opened(landing, bucket)
    root.materialize(PARTITION)
    said_of_it = [one["message"] for rule in root.report(PARTITION).rules for one in rule.examples]
    assert any(
        "'ONE.png' is not in its folder, 'one.png' is: write it so" in one for one in said_of_it
    ), said_of_it


def test_what_lies_outside_the_allowed_roots_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "ROOT").mkdir()
    for name in ("root", "root/a"):
        sources = AllowedRoots((str(tmp_path / "root"),))
        with pytest.raises(MaskRefused) as refused:
            sources.read(sources.resolve(str(tmp_path / name), str(tmp_path)))
        assert "ROOT" not in refused.value.message


def test_a_bucket_lists_a_folder_once_per_chunk_and_tells_no_secret(
    flaky_s3: FlakyBucket, landing: LandingWriter
) -> None:
    rows = [landing.row(f"{number}") for number in range(60)]
    landing.manifest(
        [{**row, "mask_url": row["mask_url"].replace("png", "PNG")} for row in rows[:50]]
    )
    root = opened(landing, flaky_s3)
    flaky_s3.proxy.forget()
    messages = said(root)
    assert len(messages) == 50
    listed = [one.path for one in flaky_s3.proxy.log if "list-type" in one.path]
    assert len([path for path in listed if "masks" in path]) == 1, listed
    for message in messages.values():
        assert "write it so" in message
        assert ACCESS_KEY not in message
        assert SECRET_KEY not in message


def test_of_a_folder_with_more_names_than_are_compared_that_is_said(
    landing: LandingWriter,
) -> None:
    folder = landing.folder(PARTITION) / "masks"
    folder.mkdir(parents=True)
    for number in range(10_001):
        os.close(os.open(folder / f"{number}.png", os.O_CREAT | os.O_WRONLY))
    landing.manifest([{**landing.row("there"), "mask_url": "masks/none.png"}])
    message = said(opened(landing, None))["there"]
    assert "names that look the same were sought among the first 10,000" in message
