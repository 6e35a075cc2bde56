"""Every set of the research data, through the importer or manifest that fits it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.outputs.constants import EVERY_VALUE, VIEWS, Values
from benchmarks.outputs.files import add_predictions
from benchmarks.outputs.inputs import (
    Grey,
    mask_rows,
    npy,
    write_label_map,
    write_manifest,
    write_untyped_manifest,
)
from benchmarks.outputs.session import IMPORTS, Session


@dataclass(frozen=True)
class Import:
    """A set of real masks and how its users would import it.

    Attributes:
        source: the folder or file it is imported from.
        options: of ``segpipe import``, after the source.
        run: options of ``segpipe run``, once per run; validated without Dagster where there are
            none.
    """

    model_run: str
    format: str
    source: str
    options: tuple[str, ...]
    run: tuple[tuple[str, ...], ...] = ()


#: Where not all there is of a set is taken; everything else is whole.
SAMPLED = {
    "cityscapes-arrays": "2 of 8 instance maps as arrays; all 8 go through cityscapes",
    "coco-empty": "the first 40 of 219 results, so that images have none; the others have all",
}
_OBJECTS = ("--objects", "object")
_VOC = "data/labelme/examples/instance_segmentation/data_dataset_voc"
_CITYSCAPES = "data/cityscapes/datasets/cityscapes"
_COCO = "data/coco_panoptic/sample_data"


def real_imports(folder: Path, facts: Mapping[str, Any]) -> list[Import]:
    """All sets, by the doors that fit them; writes the label maps they need."""

    def labels(name: str, of: str | Values, *without: int) -> tuple[str, str]:
        named = facts[of]["labelmap"] if isinstance(of, str) else of
        values = {int(key): label for key, label in named.items() if int(key) not in without}
        write_label_map(folder / "labels" / name, values)
        return "--labels", f"labels/{name}"

    colours = folder / "labels" / "colours.csv"
    colours.parent.mkdir()
    colours.write_text("r,g,b,label\n0,0,0,soil\n255,0,0,weed\n0,255,0,crop\n", "utf-8")
    classes = {value: f"class {value}" for value in range(255)}
    membrane: Values = {0: "membrane", 255: "cell"}
    void = ("--ignore", "255=void")
    unsuffixed = ("--strip-suffix", "_instanceIds")
    masks, cityscapes = "mask-folder", "cityscapes"
    truth = "data/coco_rle/gt_20.json"
    lists = ("--categories", truth, "--images", truth)
    panoptic = f"{_COCO}/panoptic_examples.json"
    instance, semantic = (("--publish-as", view, "--update") for view in VIEWS)
    return [
        Import(
            "camvid-train", masks, "data/camvid/CamVid/trainannot",
            (*labels("camvid-train.csv", "camvid_train", 11), "--ignore", "11=void"),
        ),
        Import(
            "camvid-val", masks, "data/camvid/CamVid/valannot",
            labels("camvid-val.csv", "camvid_val"),
        ),
        Import(
            "ade20k", masks, "data/ade20k/sampleData/annotations",
            (*labels("ade20k.json", "ade20k_annotations", 0), "--ignore", "0=unlabelled"),
        ),
        Import(
            "labelme-class", masks, f"{_VOC}/SegmentationClass",
            (*labels("labelme.toml", "labelme_class", 255), *void), run=((),),
        ),
        Import("labelme-object", masks, f"{_VOC}/SegmentationObject", _OBJECTS),
        Import("davis", masks, "data/davis17_results/results/semi-supervised/osvos", _OBJECTS),
        Import("ocular", masks, "data/ocular/masks", labels("ocular.json", "ocular_dev")),
        Import(
            "membrane", masks, "data/membrane/data/membrane/train/label",
            labels("membrane.csv", membrane),
        ),
        Import(
            "cocostuff-label", masks, "data/cocostuff/datasets/coco_stuff/train_label",
            (*labels("cocostuff.toml", classes), *void),
        ),
        Import(
            "cocostuff-instance", masks, "data/cocostuff/datasets/coco_stuff/train_inst",
            (*labels("cocostuff.csv", classes), *void),
        ),
        Import(
            "cityscapes-label", masks, f"{_CITYSCAPES}/train_label",
            (*labels("cityscapes.csv", "cityscapes_train_labelIds"), "--strip-suffix", "_labelIds"),
        ),
        Import("cityscapes", cityscapes, f"{_CITYSCAPES}/train_inst", unsuffixed, run=(semantic,)),
        Import(
            "cityscapes-unevaluated", cityscapes, f"{_CITYSCAPES}/train_inst",
            (*unsuffixed, "--ignore-unevaluated", "--over-256", "keep-best"),
        ),
        Import(
            "cwfid", "colour-map", "data/cwfid/annotations", ("--colours", "labels/colours.csv"),
        ),
        Import(
            "cwfid-as-classes", masks, "data/cwfid/annotations", _OBJECTS,
        ),
        Import(
            "coco-panoptic", "coco-panoptic", f"{_COCO}/panoptic_examples",
            ("--annotations", panoptic), run=((), instance),
        ),
        Import(
            "coco-categories", "coco-panoptic", f"{_COCO}/panoptic_examples",
            ("--annotations", "sources/no-categories.json",
             "--categories", "sources/categories.json"),
        ),
        Import(
            "coco-wrong", "coco-panoptic", f"{_COCO}/panoptic_examples",
            ("--annotations", "sources/wrong.json", "--categories", "sources/categories.json"),
        ),
        *(
            Import(
                f"coco-results-{overlaps}", "coco-results", "data/coco_rle/results_20.json",
                (*lists, "--overlaps", overlaps),
            )
            for overlaps in ("score", "area", "error")
        ),
        Import(
            "coco-polygons", "coco-results", "sources/polygons.json",
            (*lists, "--overlaps", "area"),
        ),
        Import(
            "coco-empty", "coco-results", "sources/few.json",
            (*lists, "--empty-images", "--over-256", "semantic"),
        ),
        Import(
            "coco-detection", "coco-results", "sources/detection.json",
            ("--categories", panoptic, "--images", panoptic, "--overlaps", "error"),
        ),
        Import("cityscapes-arrays", "arrays", "sources/arrays", ("--objects", "id")),
    ]  # fmt: skip


def write_sources(folder: Path) -> None:
    """Real data in forms it does not come in."""
    sources, coco = folder / "sources", folder / _COCO
    (sources / "arrays").mkdir(parents=True)

    def dump(name: str, content: object) -> None:
        (sources / name).write_text(json.dumps(content), "utf-8")

    def load(path: Path) -> Any:
        return json.loads(path.read_text("utf-8"))

    dump("polygons.json", load(folder / "data" / "coco_rle" / "gt_20.json")["annotations"])
    dump("few.json", load(folder / "data" / "coco_rle" / "results_20.json")[:40])
    dump("detection.json", load(coco / "panoptic_coco_detection_format.json")["annotations"])
    panoptic = load(coco / "panoptic_examples.json")
    dump("categories.json", panoptic.pop("categories"))
    dump("no-categories.json", panoptic)
    for annotation, wrong in zip(panoptic["annotations"], ("area", "id"), strict=True):
        annotation["segments_info"][0][wrong] += 1
    dump("wrong.json", panoptic)
    instances = sorted((folder / _CITYSCAPES / "train_inst").glob("*.png"))
    first, second = (Grey.read(path.read_bytes()) for path in instances[:2])
    shape = (first.height, first.width)
    (sources / "arrays" / "first.npy").write_bytes(npy("<u2", shape, first.samples))
    with zipfile.ZipFile(sources / "arrays" / "second.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ids.npy", npy("<u2", (second.height, second.width), second.samples))


def take_imports(session: Session, facts: Mapping[str, Any]) -> None:
    """Every set through its importer, then validated; some of them published and exported."""
    write_sources(session.folder)
    for one in real_imports(session.folder, facts):
        session.bring(one.model_run, one.format, one.source, *one.options)
        if not one.run:
            session.check_imported(one.model_run)
        for number, options in enumerate(one.run):
            session.run(f"{IMPORTS}/{one.model_run}/run {number}", IMPORTS, one.model_run, *options)
            table = session.folder / IMPORTS / "catalog" / "predictions"
            name = f"{IMPORTS}/{one.model_run}/catalog after run {number}"
            add_predictions(session.results, name, table)
    like = ("--like", f"{_COCO}/panoptic_examples.json")
    for model_run, kind, options in (
        ("coco-panoptic", "coco-panoptic", like),
        ("cityscapes", "coco-panoptic", ()),
        ("labelme-class", "mask-folder", ()),
    ):
        name = f"{IMPORTS}/{model_run}/exported"
        session.export(name, IMPORTS, model_run, kind, *options)


def take_manifests(session: Session, facts: Mapping[str, Any]) -> None:
    """Real masks as they are, with manifests that are right and others that are not."""
    folder = session.folder

    def take(name: str, below: str, values: Values, *options: str) -> None:
        write_manifest(
            folder / f"{name}.parquet",
            mask_rows(folder, sorted((folder / below).rglob("*.png")), values),
        )
        session.validate(f"manifests/{name}", f"{name}.parquet", *options)

    def policy(name: str, task: str, ignored: Values, values: Values) -> tuple[str, str]:
        kind = "stuff" if task == "semantic" else "thing"
        told = ", ".join(f"{value} = {json.dumps(label)}" for value, label in ignored.items())
        names = map(json.dumps, dict.fromkeys(values.values()))
        labels = "\n".join(f"{one} = '{kind}'" for one in names)
        (folder / f"{name}.toml").write_text(
            f"[policy]\ntask = '{task}'\nignore_values = {{{told}}}\n[policy.taxonomy]\n{labels}\n",
            "utf-8",
        )
        return "--policy", f"{name}.toml"

    camvid = {int(key): label for key, label in facts["camvid_val"]["labelmap"].items()}
    known = {value: label for value, label in camvid.items() if value != 11}
    take("pngsuite-all", "data/pngsuite", EVERY_VALUE)
    take("pngsuite-two", "data/pngsuite", {0: "off", 1: "on"})
    suite = mask_rows(folder, sorted((folder / "data/pngsuite").rglob("*.png")), camvid)
    write_untyped_manifest(
        folder / "pngsuite-unsized.parquet",
        (
            {
                "reference_id": row["reference_id"],
                "mask_url": row["mask_url"],
                "annotations": json.dumps(row["segments"]),
                "image_url": row["mask_url"],
            }
            for row in suite
        ),
    )
    session.validate("manifests/pngsuite-unsized", "pngsuite-unsized.parquet")
    val = "data/camvid/CamVid/valannot"
    take("camvid-policy", val, known, *policy("camvid", "semantic", {11: "void"}, known))
    take("camvid-no-void", val, known)
    take("camvid-shifted", val, {value + 1: label for value, label in camvid.items()})
    take("membrane-as-1", "data/membrane", {0: "off", 1: "on"})
    numbered = {value: f"object {value}" for value in range(6)}
    take(
        "davis-policy", "data/davis17_results", numbered, *policy("davis", "instance", {}, numbered)
    )
    take("cwfid-as-masks", "data/cwfid", numbered)
    take("cityscapes-ids", f"{_CITYSCAPES}/train_inst", EVERY_VALUE)
    every = [png for part in ("data", "evaluation") for png in (folder / part).rglob("*.png")]
    write_manifest(folder / "every.parquet", mask_rows(folder, sorted(every), EVERY_VALUE))
    session.validate("manifests/every", "every.parquet")


def take_evaluation(session: Session) -> None:
    """Ground truth and predictions in pairs, which come with manifests."""
    for path in sorted((session.folder / "evaluation").glob("*/*.parquet")):
        place = path.relative_to(session.folder)
        session.validate(place.with_suffix("").as_posix(), place.as_posix())
