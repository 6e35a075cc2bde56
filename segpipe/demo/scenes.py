"""Street scenes with panoptic masks, and simulated predictions for them.

Everything is drawn from a seeded random generator: equal seeds give equal pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.demo import figures, scenery
from segpipe.demo.canvas import Canvas, View, soft_noise
from segpipe.demo.streets import street_across, street_along
from segpipe.predictions.prediction import Segment

THINGS = frozenset({"Person", "Car", "Bird", "Handbag", "Tree"})
_SMALL = {"Bird", "Handbag"}
# A segment with fewer visible pixels is a remnant of occlusion, and is removed.
_LEAST_PIXELS = 24
_SEED_CONFIDENCES = (0.1, 0.3, 0.3, 0.7, 0.42, 0.6, 0.9, 0.8, 0.8, 0.8)


@dataclass(frozen=True)
class Scene:
    """An image and a panoptic prediction for it.

    Attributes:
        image: H x W x 3 uint8.
        mask: H x W uint8; one value per stuff region or instance.
        segments: one per value in the mask, by index.
    """

    reference_id: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    segments: tuple[Segment, ...]


def draw_scene(
    rng: np.random.Generator, reference_id: str, height: int = 360, width: int = 480
) -> Scene:
    """Draw a street with houses, trees, cars, people and birds, seen along or across.

    Every segment has ``confidence`` in its metadata; persons have ``pose``, and things cut by the
    image's border have ``truncated``.

    Args:
        rng: determines every pixel.
        height: of image and mask, in pixels.
        width: of image and mask, in pixels.
    """
    canvas = Canvas(height, width)
    street = street_along if rng.random() < 0.5 else street_across
    poses = street(canvas, rng)
    drawn = canvas.mask
    for index in range(1, len(canvas.labels)):
        if 0 < np.count_nonzero(drawn == index) < _LEAST_PIXELS:
            drawn = _without(drawn, index)
    visible = np.flatnonzero(np.bincount(drawn.ravel(), minlength=256)).tolist()
    renumber = np.zeros(256, np.uint8)
    renumber[visible] = np.arange(len(visible))
    mask = renumber[drawn]
    at_border = _border_values(mask)
    segments = []
    for new, old in enumerate(visible):
        label = canvas.labels[old]
        metadata: dict[str, object] = {"confidence": round(float(rng.beta(9, 2)), 2)}
        if old in poses:
            metadata["pose"] = poses[old]
        if label in THINGS and new in at_border:
            metadata["truncated"] = True
        segments.append(Segment(label, new, metadata))
    return Scene(reference_id, canvas.photograph(rng), mask, tuple(segments))


def seed_example(reference_id: str = "seed-street") -> Scene:
    """The example of segpipe's documentation: eleven segments, indexes 0 to 10.

    360 x 480 pixels. Background has no confidence; the others have the documented ones.
    """
    rng = np.random.default_rng(11)
    canvas = Canvas(360, 480)
    _draw_seed_example(canvas, rng)
    segments = [Segment("Background", 0)]
    for index, confidence in enumerate(_SEED_CONFIDENCES, start=1):
        metadata: dict[str, object] = {"confidence": confidence}
        if canvas.labels[index] == "Person":
            metadata["pose"] = "standing"
        segments.append(Segment(canvas.labels[index], index, metadata))
    return Scene(reference_id, canvas.photograph(rng), canvas.mask, tuple(segments))


def _draw_seed_example(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw it: segments are added in the documented order, and drawn from far to near."""
    view = View(480, 360, 190.0, 240.0, 2.4, 430.0)
    canvas.sky(view.horizon, rng)
    building, tree, wall, fence, pavement, person, handbag = (
        canvas.add(label)
        for label in ("Building", "Tree", "Wall", "Fence", "Pavement", "Person", "Handbag")
    )
    paving = (172, 167, 158)
    canvas.polygon(pavement, scenery.strip(view, (-99, 99), (1, 60)), paving)
    scenery.slabs(canvas, view, (-12, 12), (5, 15.6), paving)
    house = scenery.frontal(view, -13.2, 24.0)
    scenery.facade(canvas, building, house, 10.6, 2, (206, 186, 152), rng, roof=2.6)
    annexe = scenery.frontal(view, -2.6, 24.0)
    scenery.facade(canvas, building, annexe, 6.4, 2, (178, 130, 108), rng)
    scenery.tree(canvas, tree, view.at(6.6, 0, 19.0), 162, 12.0, rng)
    canvas.shadow(scenery.strip(view, (-13, 1.2), (15.2, 16.0)), 0.3)
    scenery.wall(canvas, wall, scenery.frontal(view, -12.0, 16.0), 13.2, 1.5, (162, 142, 124))
    scenery.fence(canvas, fence, scenery.frontal(view, 1.5, 16.0), 9.0, 1.4, (146, 116, 84))
    foot = view.at(-0.45, 0, 7.0)
    high = 1.75 * view.scale(7.0)
    figures.person(canvas, person, foot, high, "standing", rng)
    figures.handbag(
        canvas, handbag, (foot[0] + 0.15 * high, foot[1] - 0.44 * high), 17, (124, 52, 70)
    )
    for centre, span in (((262.0, 52.0), 30.0), ((322.0, 30.0), 24.0), ((436.0, 48.0), 34.0)):
        figures.bird(canvas, canvas.add("Bird"), centre, span, rng)


def predicted(scene: Scene, rng: np.random.Generator, skill: float) -> Scene:
    """Simulate a model's prediction: displaced outlines, missed small things, lower confidences.

    The prediction is valid: its segments are those of the scene that still have pixels.

    Args:
        scene: the ground truth.
        skill: 0 to 1; how close to the drawn scene the prediction is.
    """
    mask = scene.mask
    areas = np.bincount(mask.ravel(), minlength=256)
    for segment in scene.segments:
        small = segment.label in _SMALL or (segment.label in THINGS and areas[segment.index] < 400)
        if small and rng.random() < 0.5 * (1 - skill):
            mask = _without(mask, segment.index)
    mask = _displaced(mask, rng, 4.5 * (1 - skill))
    areas = np.bincount(mask.ravel(), minlength=256)
    segments = tuple(
        Segment(s.label, s.index, {**s.metadata, **_lowered_confidence(s, rng, skill)})
        for s in scene.segments
        if areas[s.index]
    )
    return Scene(scene.reference_id, scene.image, mask, segments)


def _displaced(
    mask: NDArray[np.uint8], rng: np.random.Generator, pixels: float
) -> NDArray[np.uint8]:
    """The mask with its outlines displaced by smooth noise, by about so many pixels."""
    height, width = mask.shape
    cells = (max(2, width // 20), max(2, height // 20))
    down, along = (pixels * soft_noise(rng, height, width, cells) for _ in range(2))
    # Clipped, not wrapped: pixels that leave on one side must not enter on the other.
    rows = np.clip(np.arange(height)[:, None] + np.rint(down).astype(np.intp), 0, height - 1)
    columns = np.clip(np.arange(width) + np.rint(along).astype(np.intp), 0, width - 1)
    displaced: NDArray[np.uint8] = mask[rows, columns]
    return displaced


def _without(mask: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """The mask without a region, filled in each row with the nearest values to its left."""
    own = mask == index
    across, down = np.flatnonzero(own.any(axis=0)), np.flatnonzero(own.any(axis=1))
    if not len(across):
        return mask
    left, top, bottom = max(0, int(across[0]) - 1), int(down[0]), int(down[-1]) + 1
    part, inside = mask[top:bottom, left:], own[top:bottom, left:]
    source = np.where(inside, -1, np.arange(part.shape[1]))
    source = np.maximum.accumulate(source, axis=1)
    # At the image's left border nothing is to the left: the first other value is used.
    first = np.argmin(inside, axis=1)[:, None]
    filled = mask.copy()
    filled[top:bottom, left:] = np.take_along_axis(part, np.where(source < 0, first, source), 1)
    return filled


def _border_values(mask: NDArray[np.uint8]) -> set[int]:
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return set(np.unique(border).tolist())


def _lowered_confidence(
    segment: Segment, rng: np.random.Generator, skill: float
) -> dict[str, object]:
    confidence = segment.confidence
    if confidence is None:
        return {}
    loss = abs(float(rng.normal(0, 0.3 * (1 - skill))))
    return {"confidence": round(min(1.0, max(0.05, confidence - loss)), 2)}
