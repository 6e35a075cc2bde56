"""Street scenes with panoptic masks, and what two imperfect models say of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.demo import scenery
from segpipe.demo.scenery import Canvas
from segpipe.prediction import Segment

_POSES = ("standing", "walking")
_STUFF = frozenset({"Background", "Building", "Wall", "Fence", "Pavement", "Road"})


@dataclass(frozen=True)
class Scene:
    """An image and a panoptic prediction for it.

    Attributes:
        image: H x W x 3 uint8.
        mask: H x W uint8; one value per stuff region or instance, every one explained.
        segments: one per value in the mask, by index.
    """

    reference_id: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    segments: tuple[Segment, ...]


def draw_scene(
    rng: np.random.Generator, reference_id: str, height: int = 360, width: int = 480
) -> Scene:
    """A street: buildings and trees behind a pavement and a road, with people, cars and birds."""
    canvas = Canvas(height, width)
    horizon = height * rng.uniform(0.5, 0.6)
    kerb = height * rng.uniform(0.68, 0.76)
    _houses(canvas, horizon, rng)
    for _ in range(int(rng.integers(1, 5))):
        x, size = rng.uniform(0, width), rng.uniform(70, 150)
        scenery.tree(canvas, canvas.add("Tree"), x, horizon + 6, size, rng)
    if rng.random() < 0.6:
        _wall(canvas, horizon, rng)
    if rng.random() < 0.6:
        left = rng.uniform(0, 0.5 * width)
        right = left + rng.uniform(0.2, 0.5) * width
        scenery.fence(canvas, canvas.add("Fence"), left, right, horizon + 8, rng.uniform(22, 34))
    paving = scenery.varied((164, 160, 152), rng)
    canvas.box(canvas.add("Pavement"), 0, horizon, width, kerb, paving)
    _road(canvas, kerb, rng)
    poses: dict[int, str] = {}
    for _ in range(int(rng.integers(0, 4))):
        pose = _POSES[int(rng.integers(2))]
        index = canvas.add("Person")
        poses[index] = pose
        ground = rng.uniform(horizon + 14, kerb)
        size = rng.uniform(70, 110)
        scenery.person(
            canvas, index, rng.uniform(20, width - 20), ground, size, pose == "walking", rng
        )
    for _ in range(int(rng.integers(0, 4))):
        ground = rng.uniform(kerb + 26, height - 6)
        size = rng.uniform(0.7, 1.2) * (90 + 0.5 * (ground - kerb))
        scenery.car(canvas, canvas.add("Car"), rng.uniform(0, width), ground, size, rng)
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(10, width - 10), rng.uniform(10, 0.3 * height)
        scenery.bird(canvas, canvas.add("Bird"), x, y, rng.uniform(7, 13))
    return _finish(canvas, reference_id, rng, poses)


def seed_example(reference_id: str = "seed-street") -> Scene:
    """The example every description of segpipe uses: eleven segments, indexes 0 to 10."""
    rng = np.random.default_rng(11)
    canvas = Canvas(360, 480)
    house = canvas.add("Building")
    scenery.building(canvas, house, 20, 190, 70, 210, rng)
    scenery.building(canvas, house, 196, 300, 104, 210, rng)
    scenery.tree(canvas, canvas.add("Tree"), 372, 214, 150, rng)
    wall = canvas.add("Wall")
    canvas.box(wall, 0, 182, 250, 214, (150, 134, 122))
    scenery.fence(canvas, canvas.add("Fence"), 262, 478, 214, 34)
    canvas.box(canvas.add("Pavement"), 0, 212, 480, 360, (164, 160, 152))
    scenery.person(canvas, canvas.add("Person"), 214, 322, 150, False, rng)
    scenery.handbag(canvas, canvas.add("Handbag"), 244, 322, 150)
    for x, y in ((250, 46), (318, 28), (420, 52)):
        scenery.bird(canvas, canvas.add("Bird"), x, y, 14)
    confidences = (0.1, 0.3, 0.3, 0.7, 0.42, 0.6, 0.9, 0.8, 0.8, 0.8)
    segments = [Segment("Background", 0)]
    for index, confidence in enumerate(confidences, start=1):
        metadata: dict[str, object] = {"confidence": confidence}
        if canvas.labels[index] == "Person":
            metadata["pose"] = "standing"
        segments.append(Segment(canvas.labels[index], index, metadata))
    return Scene(reference_id, canvas.photograph(rng), np.asarray(canvas.mask), tuple(segments))


def predicted(scene: Scene, rng: np.random.Generator, skill: float) -> Scene:
    """What a model makes of a scene: things a little displaced, small ones missed, less sure.

    Args:
        skill: 0 to 1; how close to the drawn scene the prediction is.
    """
    mask = scene.mask.copy()
    for segment in scene.segments:
        if segment.label in _STUFF:
            continue
        own = scene.mask == segment.index
        # What is behind an object is not known: its surroundings take its place.
        behind = _behind(scene.mask, own)
        mask[own] = behind
        if own.sum() < 120 and rng.random() > skill:
            continue
        dy, dx = (round(step) for step in rng.normal(0, 3 * (1 - skill), 2))
        mask[np.roll(own, (dy, dx), axis=(0, 1))] = segment.index
    kept = [s for s in scene.segments if (mask == s.index).any()]
    segments = tuple(
        Segment(s.label, s.index, {**s.metadata, **_less_sure(s, rng, skill)}) for s in kept
    )
    return Scene(scene.reference_id, scene.image, mask, segments)


def _houses(canvas: Canvas, ground: float, rng: np.random.Generator) -> None:
    left = rng.uniform(-40, 20)
    while left < canvas.width - 30:
        right = left + rng.uniform(80, 170)
        top = ground - rng.uniform(80, 150)
        scenery.building(canvas, canvas.add("Building"), left, right, top, ground + 4, rng)
        left = right + rng.choice([2.0, 30.0, 60.0])


def _wall(canvas: Canvas, ground: float, rng: np.random.Generator) -> None:
    left = rng.uniform(0, 0.6 * canvas.width)
    right = left + rng.uniform(0.2, 0.4) * canvas.width
    colour = scenery.varied((150, 134, 122), rng)
    canvas.box(canvas.add("Wall"), left, ground - rng.uniform(16, 30), right, ground + 6, colour)


def _road(canvas: Canvas, kerb: float, rng: np.random.Generator) -> None:
    index = canvas.add("Road")
    canvas.box(index, 0, kerb, canvas.width, canvas.height, scenery.varied(scenery.ROAD_GREY, rng))
    y = (kerb + canvas.height) / 2
    for x in range(-20, canvas.width, 70):
        canvas.detail([(x, y), (x + 34, y), (x + 30, y + 6), (x - 6, y + 6)], (214, 210, 190))


def _finish(
    canvas: Canvas, reference_id: str, rng: np.random.Generator, poses: dict[int, str]
) -> Scene:
    """Number the visible segments without gaps and give them their metadata."""
    drawn = np.asarray(canvas.mask)
    visible = np.flatnonzero(np.bincount(drawn.ravel(), minlength=256)).tolist()
    renumber = np.zeros(256, np.uint8)
    renumber[visible] = np.arange(len(visible))
    segments = []
    for new, old in enumerate(visible):
        metadata: dict[str, object] = {"confidence": round(float(rng.beta(9, 2)), 2)}
        if old in poses:
            metadata["pose"] = poses[old]
        segments.append(Segment(canvas.labels[old], new, metadata))
    return Scene(reference_id, canvas.photograph(rng), renumber[drawn], tuple(segments))


def _behind(mask: NDArray[np.uint8], own: NDArray[np.bool_]) -> int:
    """The value most often found around a region."""
    around = np.zeros_like(own)
    around[1:] |= own[:-1]
    around[:-1] |= own[1:]
    around[:, 1:] |= own[:, :-1]
    around[:, :-1] |= own[:, 1:]
    return int(np.bincount(mask[around & ~own], minlength=1).argmax())


def _less_sure(segment: Segment, rng: np.random.Generator, skill: float) -> dict[str, object]:
    sure = segment.confidence
    if sure is None:
        return {}
    return {
        "confidence": round(
            float(np.clip(sure - abs(rng.normal(0, 0.3 * (1 - skill))), 0.05, 1)), 2
        )
    }
