"""A label's colour: the same in every picture of a root, and told apart by every eye."""

from __future__ import annotations

import base64
import io
import json
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe.errors import SettingsError
from segpipe.manifest_check import validate
from segpipe.pictures import label_colours as module
from segpipe.pictures.blending import as_drawn
from segpipe.pictures.colour_record import ColourRecord
from segpipe.pictures.label_colours import PLAIN_COLOUR, label_colours
from segpipe.pictures.palette import PALETTE, hex_colour
from segpipe.root import Root
from segpipe.storage.files import Folder
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.s3_buckets import Bucket

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency" (2009), severity 1, for linear RGB.
_VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041]]  # fmt: skip


def lab(colours: object, vision: str = "normal") -> np.ndarray:
    """CIELAB (D65) of sRGB colours, as that vision sees them: N x 3."""
    srgb = np.asarray(colours, float) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(_VISION[vision]).T, 0, 1)
    xyz = seen @ np.array(_XYZ).T / (0.95047, 1, 1.08883)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


@pytest.fixture(autouse=True)
def _another_process_each_time() -> Iterator[None]:
    """No test has colours that another one has read."""
    module._RECORDS.clear()
    yield
    module._RECORDS.clear()


def opened_anew(root: Root) -> Root:
    """The root as another process opens it."""
    module._RECORDS.clear()
    return Root.open(root.settings.root)


@pytest.mark.parametrize("vision", _VISION)
def test_a_label_differs_from_the_eight_before_it_for_every_eye(vision: str) -> None:
    seen = lab(PALETTE, vision)
    for place, colour in enumerate(seen[1:], 1):
        assert np.linalg.norm(seen[max(0, place - 8) : place] - colour, axis=1).min() > 12
    first = seen[:12]
    distances = np.linalg.norm(first[:, None] - first, axis=2)
    assert distances[~np.eye(12, dtype=bool)].min() > 16  # of twelve, any two


def test_no_label_is_grey_black_or_white_and_no_two_of_the_first_240_are_alike() -> None:
    seen = lab(PALETTE)
    assert np.hypot(seen[:, 1], seen[:, 2]).min() > 35
    assert ((seen[:, 0] > 25) & (seen[:, 0] < 90)).all()
    given = label_colours([f"label {n}" for n in range(300)])
    assert len(set(list(given.values())[:240])) == len(PALETTE) == 240
    assert set(given.values()) == set(PALETTE)


def test_void_and_background_are_plain_however_they_are_written() -> None:
    colours = label_colours(["Void", "BACKGROUND", "car"])
    assert colours["Void"] == colours["BACKGROUND"] == PLAIN_COLOUR
    assert colours["car"] == PALETTE[0]


def test_named_colours_come_first_then_the_taxonomy_then_what_the_root_holds(
    landing: LandingWriter, root: Root
) -> None:
    landing.manifest([landing.row("a", label="zebra"), landing.row("b", label="ant")])
    root.materialize(PARTITION)
    Path(root.settings.root, "segpipe.toml").write_text(
        '[policy.colours]\ncar = "SeaGreen"\nbus = "#F0a"\nbackground = "#102030"\n'
        '[policy.taxonomy]\nroad = "stuff"\ncar = "thing"\nsky = "stuff"\n'
    )
    root = opened_anew(root)
    colours = root.colours(["background", "bus", "car", "sky", "zebra 0"])
    assert [*colours.values()][:3] == ["#102030", "#ff00aa", "#2e8b57"]
    every = root.colours()
    given = [label for label in every if label not in {"car", "bus", "background"}]
    assert given == ["road", "sky", *[f"{one} {n}" for one in ("ant", "zebra") for n in range(3)]]
    order = [hex_colour(one) for one in PALETTE]
    assert sorted(given, key=lambda label: order.index(every[label])) == given


def test_labels_of_the_catalog_have_colours_where_the_partitions_tables_are_gone(
    landing: LandingWriter, root: Root
) -> None:
    landing.manifest([landing.row("a", label="zebra")])
    root.materialize(PARTITION)
    root.publish(PARTITION)
    shutil.rmtree(Path(root.settings.root, "validated"))
    assert [*opened_anew(root).colours()] == ["zebra 0", "zebra 1", "zebra 2"]


def test_a_colour_once_given_stays_whatever_comes_later(root: Root) -> None:
    before = root.colours(["road", "car"])
    root = opened_anew(root)
    root.colours(["bus", "car"])
    Path(root.settings.root, "segpipe.toml").write_text(
        '[policy.taxonomy]\nsky = "stuff"\ncar = "thing"\nroad = "stuff"\n'
        '[policy.colours]\ntree = "green"\n'
    )
    after = opened_anew(root).colours(["car", "road", "sky", "bus", "tree"])
    assert {label: after[label] for label in before} == before
    assert len(set(after.values())) == 5
    files = sorted(path.name for path in Path(root.settings.root, "colours").iterdir())
    assert files == ["00001.json", "00002.json", "00003.json"]


def test_a_named_colour_is_not_given_to_another_label(root: Root) -> None:
    near = hex_colour((PALETTE[0][0] + 8, PALETTE[0][1] - 8, PALETTE[0][2]))
    Path(root.settings.root, "segpipe.toml").write_text(f'[policy.colours]\ncar = "{near}"\n')
    assert opened_anew(root).colours(["road"])["road"] == hex_colour(PALETTE[1])


def test_who_may_not_write_sees_the_same_colours_in_every_process(
    landing: LandingWriter, root: Root
) -> None:
    landing.manifest([landing.row("a", label="zebra"), landing.row("b", label="ant")])
    root.materialize(PARTITION)
    Path(root.settings.root, "colours").write_text("in the way, as root may write everywhere")
    one = root.colours(["zebra 1"])
    other = opened_anew(root).colours(["ant 0", "zebra 1"])
    assert other["zebra 1"] == one["zebra 1"] != other["ant 0"]


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_of_two_runs_at_once_each_goes_on_from_what_the_other_gave(
    where: str, tmp_path: Path, s3: Bucket
) -> None:
    url = str(tmp_path) if where == "disk" else f"{s3.url}/root"

    def give(run: int) -> ColourRecord:
        record = ColourRecord(Folder(f"{url}/colours"))
        for n in range(4):
            new = [f"shared {n}", f"run {run} label {n}"]
            record.read()
            record.add(lambda table, new=new: module._given(new, table, {}))  # type: ignore[misc]
        return record

    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(give, range(4)))
    last = ColourRecord(Folder(f"{url}/colours"))
    last.read()
    assert len(last.table) == len(set(last.table.values())) == 4 + 4 * 4
    for run in runs:
        assert run.table.items() <= last.table.items()


def test_a_damaged_record_is_told_and_costs_no_picture(root: Root) -> None:
    root.colours(["car"])
    Path(root.settings.root, "colours/00001.json").write_text('{"car": "pink"}')
    with pytest.warns(UserWarning, match=r"colours/00001\.json is damaged: remove it"):
        assert opened_anew(root).colours(["car"]) == {"car": hex_colour(PALETTE[0])}
    Path(root.settings.root, "colours/00001.json").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert opened_anew(root).colours(["car"]) == {"car": hex_colour(PALETTE[0])}
    assert opened_anew(root).colours() == {"car": hex_colour(PALETTE[0])}


def test_hostile_labels_have_colours_and_the_record_stays_small(root: Root) -> None:
    labels = ["", "\ud800", "</script>", "x" * 100_000, *(f"car {n}" for n in range(3_000))]
    colours = root.colours(labels)
    assert [*colours] == labels
    (file,) = Path(root.settings.root, "colours").iterdir()
    assert len(json.loads(file.read_text())) == 2_000
    assert file.stat().st_size < 100_000
    assert opened_anew(root).colours(labels) == colours


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('[policy.colours]\ncar = "seegreen"', "did you mean 'seagreen'"),
        ('[policy.colours]\ncar = "#12345"', "'car' is '#12345', expected a name"),
        ("[policy.colours]\ncar = 3", "the colour of 'car' is 3"),
        ('[policy]\ncolours = "red"', "expected a table"),
        ('[model_runs.unet.colours]\ncar = "red"', r"put them in \[policy.colours\]"),
    ],
)
def test_a_colour_that_is_none_is_refused_in_words(toml: str, words: str, root: Root) -> None:
    Path(root.settings.root, "segpipe.toml").write_text(toml)
    with pytest.raises(SettingsError, match=words):
        Root.open(root.settings.root)


def test_colours_change_no_fingerprint_verdict_or_digest(
    landing: LandingWriter, root: Root
) -> None:
    landing.manifest([landing.row("a"), landing.row("b")])
    before = root.materialize(PARTITION)
    Path(root.settings.root, "segpipe.toml").write_text('[policy.colours]\n"class 0" = "red"\n')
    after = opened_anew(root).materialize(PARTITION)
    assert after.reused
    assert (after.validated_digest, after.rejected_digest) == (
        before.validated_digest,
        before.rejected_digest,
    )


def test_a_policys_colours_are_those_of_the_page_on_a_single_manifest(
    landing: LandingWriter, tmp_path: Path
) -> None:
    policy, page = tmp_path / "policy.toml", tmp_path / "page.html"
    policy.write_text('[policy.colours]\n"class 0" = "#00a000"\n')
    segments = [*landing.row("a")["segments"], {"label": "x", "index": 9, "metadata": "{}"}]
    manifest = landing.manifest([{**landing.row("a"), "segments": segments}])
    validate(str(manifest), tmp_path / "out", policy=policy, html=page, workers=1)
    data = page.read_text().split("base64,")[1].split("'")[0]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert np.abs(picture[40, 20] - np.array(as_drawn((0, 160, 0)))).max() <= 1


def test_where_all_colours_are_named_the_roots_tables_are_looked_at_once(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(root.settings.root, "segpipe.toml").write_text('[policy.colours]\nroad = "#ff0000"\n')
    named, looked = opened_anew(root), list[object]()
    monkeypatch.setattr(module, "seen_labels", lambda settings: looked.append(settings) or [])
    for _ in range(3):
        assert named.colours(["road", "background"])["road"] == "#ff0000"
    assert len(looked) == 1
