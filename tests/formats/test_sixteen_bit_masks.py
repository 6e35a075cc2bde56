"""16-bit masks: the importers that the findings name take them, and give the right labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import segpipe
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from tests.fixtures.command_line import invoked

PARTITION = Partition("unet", "2026-01-05")


def imported(kind: str, source: Path, root: Path, *options: object) -> Root:
    """The root after an import and a pass over it."""
    where = ("--root", root, "--model-run", "unet", "--date", PARTITION.date)
    invoked("import", kind, source, *where, *options)
    opened = Root.open(str(root))
    opened.materialize(PARTITION)
    return opened


def finding(mask: Path, ids: np.ndarray, out: Path) -> tuple[str, str, str]:
    """Rule, message and remedy of the mask as a manifest's only row."""
    segments = [{"label": f"class {id}", "index": id} for id in np.unique(ids).tolist()]
    row = {"reference_id": "a", "mask_url": mask.name, "segments": segments}
    manifest = mask.with_name("manifest.parquet")
    pq.write_table(pa.Table.from_pylist([row]), manifest)
    segpipe.validate(manifest, out)
    found = pq.read_table(out / "rejected.parquet").to_pylist()
    (told,) = [one for one in found if one["rule"] == "MASK-16BIT"]
    return told["rule"], told["message"], told["remedy"]


def areas(root: Root) -> dict[str, int]:
    """Label -> pixels of the only prediction."""
    (batch,) = root.validated(PARTITION).batches(10)
    found: dict[str, int] = {}
    for segment in batch.segments.to_pylist()[0]:
        found[segment["label"]] = found.get(segment["label"], 0) + segment["area_px"]
    return found


def saved(folder: Path, ids: np.ndarray) -> Path:
    """A folder with the ids as 16-bit PNG."""
    folder.mkdir()
    Image.fromarray(ids.astype(np.uint16)).save(folder / "a.png")
    return folder


def label_map(path: Path, ids: np.ndarray) -> Path:
    """A label map in which an odd id is a car, an even one a tree."""
    lines = [f"{id},{'car' if id % 2 else 'tree'}" for id in np.unique(ids).tolist()]
    path.write_text("\n".join(["index,label", *lines]))
    return path


def test_instance_ids_in_a_manifest_name_the_cityscapes_importer_which_takes_them(
    tmp_path: Path,
) -> None:
    ids = np.full((8, 12), 7)
    ids[:4, :3], ids[:4, 6:9] = 26001, 26002
    source = saved(tmp_path / "masks", ids)
    rule, _, remedy = finding(source / "a.png", ids, tmp_path / "checked")
    assert rule == "MASK-16BIT"
    assert "import them with `segpipe import cityscapes`" in remedy
    followed = imported("cityscapes", source, tmp_path / "second")
    assert areas(followed) == {"road": 72, "car": 24}


def test_more_ids_than_a_mask_holds_are_imported_as_arrays_with_the_option_that_is_named(
    tmp_path: Path,
) -> None:
    ids = np.random.default_rng(5).permutation(400).repeat(9).reshape(40, 90) * 3 + 1
    source = saved(tmp_path / "masks", ids)
    labels = label_map(tmp_path / "labels.csv", ids)
    rule, message, remedy = finding(source / "a.png", ids, tmp_path / "checked")
    assert rule == "MASK-16BIT"
    assert "400 distinct values: too many ids" in message
    assert "`segpipe import arrays --labels FILE --over-256 keep-best`" in remedy
    expected = {"car": int((ids % 2 == 1).sum()), "tree": int((ids % 2 == 0).sum())}
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    np.save(arrays / "a.npy", ids)
    for option in ("keep-best", "semantic"):
        followed = imported(
            "arrays", arrays, tmp_path / option, "--labels", labels, "--over-256", option
        )
        assert areas(followed) == expected
