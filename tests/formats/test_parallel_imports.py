"""Records of a source are read by any number of processes, and what is written does not show it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segpipe import ManifestWriter
from segpipe.formats.importing import import_format
from segpipe.formats.opening import open_source
from segpipe.masks.fast_path import disabled
from segpipe.workers.chunks import Workers
from segpipe.workers.processes import map_processes
from tests.fixtures.files import content
from tests.fixtures.imports import imported

STRIPES = np.repeat(np.arange(3, dtype=np.uint8), 4)[:, None].repeat(8, axis=1)


class Processes(Workers):
    """Two processes, however little there is to do."""

    def map(self, work: Callable[[Any], Any], chunks: Iterable[Any], count: int) -> Iterator[Any]:
        return map_processes(work, chunks, 2)


def mask_folder(place: Path) -> dict[str, Any]:
    """Masks of all forms; some are refused, some are of one item, some cannot be read."""
    for number in range(40):
        mask = STRIPES.copy()
        mask[number % 12, number % 8] = 2
        image = Image.fromarray(mask if number % 5 else mask.astype(np.uint16) * 400)
        if number % 5 == 1:
            image.putpalette(bytes(range(9)))
        image.save(place / f"{number:02}.{'PNG' if number % 2 else 'png'}")
    (place / "07.PNG").write_bytes(b"no PNG")
    Image.fromarray(STRIPES + 1).save(place / "09.png")
    return {"objects": "cell"}


def arrays(place: Path) -> dict[str, Any]:
    """Several predictions in a file, and a file that ends early."""
    for number in range(20):
        with (place / f"{number:02}.npz").open("wb") as file:
            np.savez(file, one=STRIPES, other=STRIPES.T * number)
    (place / "03.npz").write_bytes((place / "03.npz").read_bytes()[:200])
    return {"objects": "cell"}


def panoptic(place: Path) -> dict[str, Any]:
    """Ids of 24 bits; every seventh annotation says another area."""
    entries = []
    for number in range(20):
        colours = np.stack([STRIPES + 1, STRIPES, STRIPES * 7], axis=-1)
        Image.fromarray(colours).save(place / f"{number}.png")
        area = 32 if number % 7 else 31
        infos = [
            {"id": 1 + value * (1 + 256 + 7 * 65536), "category_id": 1, "area": area}
            for value in range(3)
        ]
        entries.append({"image_id": number, "file_name": f"{number}.png", "segments_info": infos})
    said = place.with_suffix(".json")
    whole = {"annotations": entries, "categories": [{"id": 1, "name": "Cell"}]}
    said.write_text(json.dumps(whole))
    return {"annotations": said}


def results(place: Path) -> dict[str, Any]:
    """Two instances on each image, and one without an image."""
    runs = {"counts": [8, 8, 80], "size": [12, 8]}
    found = [
        {"image_id": number // 2, "category_id": 1, "score": 0.5, "segmentation": runs}
        for number in range(60)
    ]
    place.rmdir()
    place.write_text(json.dumps([*found, {"category_id": 1}]))
    said = place.with_name("categories.json")
    said.write_text(json.dumps({"categories": [{"id": 1, "name": "Cell"}]}))
    return {"categories": said}


def cvat(place: Path) -> dict[str, Any]:
    """Masks in an XML file, which is read while others work on what was read."""
    place.rmdir()
    mask = '<mask label="Cell" rle="{}, 8, {}" left="0" top="0" width="8" height="12"/>'
    images = "".join(
        f'<image id="{n}" name="{n}.png" width="8" height="12">'
        f"{mask.format(n, 88 - n if n % 9 else 8)}</image>"
        for n in range(40)
    )
    place.write_text(f"<annotations>{images}</annotations>")
    return {}


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("mask-folder", mask_folder),
        pytest.param("arrays", arrays, marks=pytest.mark.slow),
        ("coco-panoptic", panoptic),
        pytest.param("coco-results", results, marks=pytest.mark.slow),
        pytest.param("cvat", cvat, marks=pytest.mark.slow),
    ],
)
def test_one_process_and_two_write_the_same_bytes_and_tell_the_same(
    tmp_path: Path, kind: str, write: Callable[[Path], dict[str, Any]]
) -> None:
    place = tmp_path / "source"
    place.mkdir()
    options = write(place)
    told, written, steps = [], [], []
    for number, workers in enumerate((Workers(1), Processes())):
        source = open_source(kind, place, **options)
        with ManifestWriter(
            tmp_path / f"root-{number}", "m", "2026-01-05",
            carried=source.carried, importing=True,
        ) as writer, disabled():  # fmt: skip
            done: list[tuple[int, int]] = []
            summary = import_format(
                source,
                writer,
                lambda *one, done=done: done.append(one),
                workers,  # type: ignore[misc]
            )
        told.append(dataclasses.replace(summary, folder=""))
        written.append(content(tmp_path / f"root-{number}"))
        steps.append(done)
    assert told[0] == told[1]
    assert written[0] == written[1]
    assert steps[0] == steps[1]
    assert told[0].imported > 10
    assert told[0].refused > 0


def test_image_data_of_index_pngs_are_stored_as_they_are(tmp_path: Path) -> None:
    place = tmp_path / "source"
    place.mkdir()
    Image.fromarray(STRIPES).save(place / "a.png", compress_level=0)
    root = tmp_path / "root"
    done = imported("mask-folder", place, root, "--objects", "cell", "--workers", 1)
    assert "1 imported, 0 refused" in done.output
    (stored,) = root.rglob("masks/**/*.png")
    assert stored.read_bytes() == (place / "a.png").read_bytes()
