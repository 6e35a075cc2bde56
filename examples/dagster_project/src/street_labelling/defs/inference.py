"""Left of segpipe: images, models, and the inference that writes manifests into its root."""

import dagster as dg
import numpy as np
from PIL import Image

from segpipe import ManifestWriter
from street_labelling.model import NearestColour
from street_labelling.places import (
    DAYS,
    GRID,
    IMAGES,
    MODEL_RUNS,
    MODELS,
    ROOT,
    day_and_model_run,
)
from street_labelling.streets import CLASSES, streets

#: Name of a model, and so of its model run -> radius in pixels by which it smooths images.
TRAINED = {"colours-v1": 0, "colours-v2": 2}
_IMAGES_A_DAY = 6


@dg.asset(partitions_def=DAYS, group_name="inference")
def images(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """What the camera took on a day, ``streets/images/DAY/*.png``."""
    day = context.partition_key
    (IMAGES / day).mkdir(parents=True, exist_ok=True)
    for name, image, _ in streets(int(day.replace("-", "")), _IMAGES_A_DAY):
        Image.fromarray(image).save(IMAGES / day / f"{name}.png")
    return dg.MaterializeResult(metadata={"images": _IMAGES_A_DAY})


@dg.asset(group_name="inference")
def models(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The models, ``models/*.json``. Each is registered as a model run, so that it has partitions
    before its first manifest landed."""
    examples = [(image, classes) for _, image, classes in streets(seed=1, count=4)]
    for name, blur in TRAINED.items():
        NearestColour.trained(examples, CLASSES, blur).save(MODELS / f"{name}.json")
    context.instance.add_dynamic_partitions(str(MODEL_RUNS.name), list(TRAINED))
    return dg.MaterializeResult(metadata={"models": list(TRAINED)})


@dg.asset(partitions_def=GRID, deps=[images, models], group_name="inference")
def inference(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """One model's predictions of one day, as a manifest in segpipe's root."""
    day, model_run = day_and_model_run(context)
    model = NearestColour.load(MODELS / f"{model_run}.json")
    with ManifestWriter(ROOT, model_run, day, replace=True) as writer:
        for file in sorted((IMAGES / day).glob("*.png")):
            image = np.asarray(Image.open(file))
            writer.add_scores(file.stem, model.probabilities(image), CLASSES, image_url=file)
    return dg.MaterializeResult(metadata={"predictions": writer.rows})
