"""Streets, drawn by segpipe's demo: they stand for a camera and for labels made by people."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from segpipe.demo.scenes import draw_scene

CLASSES = ("Sky", "Building", "Tree", "Road", "Pavement", "Car", "Person")
_DRAWN_AS = {
    "Background": "Sky",
    "Bird": "Sky",
    "Fence": "Building",
    "Handbag": "Person",
    "Wall": "Building",
}


def streets(seed: int, count: int) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Name, image (240 x 320 x 3) and the class number of each pixel (240 x 320).

    Args:
        seed: equal seeds give equal streets.
    """
    for number in range(count):
        scene = draw_scene(np.random.default_rng([seed, number]), f"{seed}-{number:02}", 240, 320)
        class_of = np.zeros(256, np.uint8)
        for segment in scene.segments:
            class_of[segment.index] = CLASSES.index(_DRAWN_AS.get(segment.label, segment.label))
        yield scene.reference_id, scene.image, class_of[scene.mask]
