"""A small model: a pixel is probably of the class whose mean colour is nearest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

#: Distance of colours, in grey values, at which a class has become less likely by exp(1/2).
_SPREAD = 20.0


@dataclass(frozen=True)
class NearestColour:
    """What was learned of images whose classes are known.

    Attributes:
        labels: of the C classes.
        colours: C x 3 float64, the mean colour of each class.
        blur: radius of the box that an image is smoothed with, in pixels; 0 for none.
    """

    labels: tuple[str, ...]
    colours: NDArray[np.float64]
    blur: int

    @classmethod
    def trained(
        cls,
        examples: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
        labels: tuple[str, ...],
        blur: int,
    ) -> NearestColour:
        """Learn from images, H x W x 3, and the class number of each pixel, H x W."""
        sums, counts = np.zeros((len(labels), 3)), np.zeros((len(labels), 1))
        for image, classes in examples:
            smooth = _smoothed(image, blur)
            for number in range(len(labels)):
                pixels = smooth[classes == number]
                sums[number] += pixels.sum(0)
                counts[number] += len(pixels)
        return cls(labels, sums / np.maximum(counts, 1), blur)

    def probabilities(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The probability of each class in each pixel, C x H x W.

        Args:
            image: H x W x 3.
        """
        differences = _smoothed(image, self.blur) - self.colours[:, None, None]
        logits = -(differences**2).sum(-1) / (2 * _SPREAD**2)
        likely = np.exp(logits - logits.max(0))
        return likely / likely.sum(0)

    def save(self, file: Path) -> None:
        """Write it as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        known = {"labels": self.labels, "colours": self.colours.tolist(), "blur": self.blur}
        file.write_text(json.dumps(known))

    @classmethod
    def load(cls, file: Path) -> NearestColour:
        """Read what ``save`` wrote."""
        known = json.loads(file.read_text())
        return cls(tuple(known["labels"]), np.array(known["colours"]), known["blur"])


def _smoothed(image: NDArray[np.uint8], radius: int) -> NDArray[np.float64]:
    blurred = Image.fromarray(image).filter(ImageFilter.BoxBlur(radius))
    return np.asarray(blurred, np.float64)
