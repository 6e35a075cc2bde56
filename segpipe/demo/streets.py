"""Two kinds of street: one seen along, between its houses, and one seen across, at house fronts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from segpipe.demo import figures, scenery
from segpipe.demo.canvas import Canvas, Colour, View, lit, varied

_POSES = ("standing", "walking")
_TARMAC: Colour = (96, 97, 102)
_PAVING: Colour = (170, 165, 156)
_MARKING: Colour = (222, 220, 208)
_STONE: Colour = (156, 140, 126)
_WOOD: Colour = (138, 108, 78)

# Street seen along, in metres: kerb and house fronts from its middle; its end from the camera.
_KERB, _FRONTS, _END = 3.6, 7.0, 95.0
# Street seen across, in metres from the camera: kerbs, garden edges and house fronts.
_NEAR_KERB, _FAR_KERB, _GARDENS, _FAR_FRONTS = 11.5, 19.0, 22.6, 25.0
_REACH = 26.0
# Added to the depth of houses and gardens beside a street seen along, so that they are drawn before
# objects on the pavement even where their near edge is closer to the camera.
_BESIDE = 1000.0


def street_along(canvas: Canvas, rng: np.random.Generator) -> dict[int, str]:
    """Draw a street leading away between two rows of houses; returns index -> pose of persons."""
    view = View(
        canvas.width, canvas.height, canvas.height * rng.uniform(0.48, 0.56),
        canvas.width * rng.uniform(0.38, 0.62), rng.uniform(1.8, 2.4), 0.85 * canvas.width,
    )  # fmt: skip
    street = _Street(canvas, view, rng)
    street.houses_beside()
    street.ground_ahead()
    for _ in range(int(rng.integers(1, 4))):
        street.plant(float(rng.choice([-1, 1]) * (_KERB + 0.9)), float(rng.uniform(12, 42)))
    for _ in range(int(rng.integers(1, 4))):
        street.park(float(rng.choice([-2.6, 1.5, 2.5])), float(rng.uniform(9, 34)), behind=True)
    for _ in range(int(rng.integers(1, 4))):
        x = rng.choice([-1, 1]) * rng.uniform(4.1, 5.6)
        street.person(float(x), float(rng.uniform(9, 17)))
    return street.draw()


def street_across(canvas: Canvas, rng: np.random.Generator) -> dict[int, str]:
    """Draw house fronts beyond a road; returns index -> pose of persons."""
    view = View(
        canvas.width, canvas.height, canvas.height * rng.uniform(0.5, 0.56),
        0.5 * canvas.width, rng.uniform(2.8, 3.6), 0.85 * canvas.width,
    )  # fmt: skip
    street = _Street(canvas, view, rng)
    street.houses_opposite()
    street.ground_across()
    for _ in range(int(rng.integers(1, 4))):
        street.plant(float(rng.uniform(-12, 12)), float(rng.uniform(20.4, 22)))
    for _ in range(int(rng.integers(1, 3))):
        lane = float(rng.choice([13.9, 17.4]))
        street.park(float(rng.uniform(-8, 8)), lane, behind=False)
    for _ in range(int(rng.integers(1, 4))):
        z = float(rng.uniform(8.6, 10.6) if rng.random() < 0.6 else rng.uniform(19.8, 21.5))
        street.person(float(rng.uniform(-0.5, 0.5)) * z, z)
    return street.draw()


class _Street:
    """A street being composed: its objects are drawn at the end, from far to near.

    Attributes:
        layers: depth in metres and drawing call of each object.
        poses: index -> pose of persons.
    """

    def __init__(self, canvas: Canvas, view: View, rng: np.random.Generator) -> None:
        self.canvas, self.view, self.rng = canvas, view, rng
        self.layers: list[tuple[float, Callable[[], None]]] = []
        self.poses: dict[int, str] = {}
        canvas.sky(view.horizon, rng)

    def houses_beside(self) -> None:
        """Two rows of houses, walls and fences, and a house at the end of the street."""
        closing = scenery.frontal(self.view, -12, _END)
        self._house(closing, _END, 24.0, 3, 1.0, roof=4.0, layer=_BESIDE)
        for side in (-1.0, 1.0):
            near = float(self.rng.uniform(6, 10))
            while near < 0.8 * _END:
                length = float(self.rng.uniform(9, 17))
                plane = scenery.receding(self.view, side * _FRONTS, near)
                light = 0.86 if side < 0 else 1.05
                if self.rng.random() < 0.72:
                    self._house_beside(side, near, length, int(self.rng.integers(2, 5)), light)
                else:
                    self._garden(plane, near, length, light, _BESIDE)
                    self.plant(side * (_FRONTS + 3.5), near + 0.6 * length, _BESIDE)
                near += length

    def houses_opposite(self) -> None:
        """A row of house fronts with gaps, some with a wall or a fence in front."""
        left = -_REACH + float(self.rng.uniform(0, 8))
        while left < _REACH - 8:
            length = float(self.rng.uniform(7, 12))
            plane = scenery.frontal(self.view, left, _FAR_FRONTS)
            storeys = int(self.rng.integers(2, 4))
            roof = float(self.rng.uniform(1.6, 3.0)) if self.rng.random() < 0.7 else 0.0
            self._house(plane, _FAR_FRONTS, length, storeys, 1.0, roof=roof)
            left += length + float(self.rng.choice([0.0, 0.4, 4.5]))
        for start in (-13.5, 1.0):
            if self.rng.random() < 0.7:
                plane = scenery.frontal(self.view, start, _GARDENS)
                self._garden(plane, _GARDENS, float(self.rng.uniform(7, 12)), 1.0)

    def ground_ahead(self) -> None:
        """Pavement on both sides of a road with a dashed centre line."""
        canvas, view, far = self.canvas, self.view, 400.0
        paving = varied(_PAVING, self.rng)
        canvas_index, road = canvas.add("Pavement"), canvas.add("Road")
        canvas.polygon(canvas_index, scenery.strip(view, (-200, 200), (1, far)), paving)
        for side in (-_FRONTS, _KERB):
            sides = (side, side + _FRONTS - _KERB)
            scenery.slabs(canvas, view, sides, (2.5, _END), paving)
        tarmac = varied(_TARMAC, self.rng)
        canvas.polygon(road, scenery.strip(view, (-_KERB, _KERB), (1, far)), tarmac)
        for side in (-1.0, 1.0):
            edge = sorted((side * _KERB, side * (_KERB - 0.22)))
            canvas.detail(scenery.strip(view, (edge[0], edge[1]), (1, _END)), lit(_PAVING, 1.15))
            gutter = sorted((side * (_KERB - 0.22), side * (_KERB - 0.5)))
            canvas.detail(scenery.strip(view, (gutter[0], gutter[1]), (1, _END)), lit(tarmac, 0.85))
        for z in np.arange(3.0 + self.rng.uniform(0, 3), 70, 6):
            canvas.detail(scenery.strip(view, (-0.08, 0.08), (z, z + 3)), _MARKING)
        if self.rng.random() < 0.4:
            crossing = float(self.rng.uniform(7, 15))
            for x in np.arange(-_KERB + 0.5, _KERB - 0.6, 1.0):
                stripe = scenery.strip(view, (x, x + 0.5), (crossing, crossing + 2.6))
                canvas.detail(stripe, _MARKING)
        # The sun is on the left: the houses there cast a shadow on their pavement.
        canvas.shadow(scenery.strip(view, (-_FRONTS - 4, -_KERB + 0.9), (1, _END)), 0.28)

    def ground_across(self) -> None:
        """A road from side to side between two pavements."""
        canvas, view = self.canvas, self.view
        wide = (-200.0, 200.0)
        paving, tarmac = varied(_PAVING, self.rng), varied(_TARMAC, self.rng)
        pavement, road = canvas.add("Pavement"), canvas.add("Road")
        canvas.polygon(pavement, scenery.strip(view, wide, (1, 120)), paving)
        scenery.slabs(canvas, view, (-10, 10), (4, _NEAR_KERB), paving)
        canvas.polygon(road, scenery.strip(view, wide, (_NEAR_KERB, _FAR_KERB)), tarmac)
        for kerb in (_NEAR_KERB, _FAR_KERB):
            canvas.detail(scenery.strip(view, wide, (kerb - 0.2, kerb + 0.2)), lit(paving, 1.14))
        canvas.detail(scenery.strip(view, wide, (_FAR_KERB - 0.6, _FAR_KERB - 0.2)),
                      lit(tarmac, 0.8))  # fmt: skip
        middle = (_NEAR_KERB + _FAR_KERB) / 2
        for x in np.arange(-18 + self.rng.uniform(0, 4), 18, 4.5):
            dash = scenery.strip(view, (x, x + 2.4), (middle - 0.12, middle + 0.12))
            canvas.detail(dash, _MARKING)
        canvas.shadow(scenery.strip(view, wide, (_GARDENS - 0.8, _FAR_FRONTS)), 0.22)

    def plant(self, x: float, z: float, layer: float = 0.0) -> None:
        """A tree at a position, in metres."""
        high = self.view.scale(z) * float(self.rng.uniform(4.2, 7.5))
        foot = self.view.at(x, 0, z)
        index = self.canvas.add("Tree")
        draw = partial(scenery.tree, self.canvas, index, foot, high, z, self.rng)
        self.layers.append((layer + z, draw))

    def park(self, x: float, z: float, *, behind: bool) -> None:
        """A car at a position, in metres, unless another is in the way."""
        if any(abs(z - other) < 5 for other, draw in self.layers if _draws_car(draw)):
            return
        middle, scale = self.view.at(x, 0, z), self.view.scale(z)
        index = self.canvas.add("Car")
        if behind:
            draw = partial(
                figures.car_from_behind, self.canvas, index, middle, 1.8 * scale, self.rng
            )
        else:
            draw = partial(figures.car_from_side, self.canvas, index, middle, 4.4 * scale, self.rng)
        self.layers.append((z, draw))

    def person(self, x: float, z: float) -> None:
        """One person at a position, in metres; sometimes with a handbag."""
        high = self.view.scale(z) * float(self.rng.uniform(1.6, 1.9))
        pose = _POSES[int(self.rng.integers(2))]
        foot = self.view.at(x, 0, z)
        index = self.canvas.add("Person")
        self.poses[index] = pose
        self.layers.append(
            (z, partial(figures.person, self.canvas, index, foot, high, pose, self.rng))
        )
        if self.rng.random() < 0.35:
            hand = (foot[0] + 0.15 * high, foot[1] - 0.44 * high)
            bag = self.canvas.add("Handbag")
            leather = varied((124, 58, 74), self.rng)
            draw = partial(figures.handbag, self.canvas, bag, hand, 0.12 * high, leather)
            self.layers.append((z - 0.1, draw))

    def draw(self) -> dict[int, str]:
        """Draw all objects and a few birds; returns index -> pose of persons."""
        for _, draw in sorted(self.layers, key=lambda layer: -layer[0]):
            draw()
        for _ in range(int(self.rng.integers(0, 4))):
            x = float(self.rng.uniform(0.06, 0.94)) * self.view.width
            y = float(self.rng.uniform(0.06, 0.5)) * self.view.horizon
            index, span = self.canvas.add("Bird"), float(self.rng.uniform(16, 28))
            figures.bird(self.canvas, index, (x, y), span, self.rng)
        return self.poses

    def _house(
        self,
        plane: scenery.Plane,
        z: float,
        length: float,
        storeys: int,
        light: float,
        roof: float = 0.0,
        layer: float = 0.0,
    ) -> int:
        index = self.canvas.add("Building")
        colour = scenery.hazed(lit(scenery.wall_colour(self.rng), light), z)
        draw = partial(scenery.facade, self.canvas, index, plane, length, storeys, colour,
                       self.rng, roof=roof)  # fmt: skip
        self.layers.append((layer + z, draw))
        return index

    def _house_beside(
        self, side: float, near: float, length: float, storeys: int, light: float
    ) -> None:
        """A house beside the street, and its windowless end wall that faces the camera."""
        plane = scenery.receding(self.view, side * _FRONTS, near)
        index = self._house(plane, near, length, storeys, light, layer=_BESIDE)
        left = _FRONTS if side > 0 else -_FRONTS - 9
        end = scenery.quad(scenery.frontal(self.view, left, near), 0, 9, 0, storeys * 3.2 + 0.6)
        colour = scenery.hazed(lit(varied((170, 158, 146), self.rng), 0.8), near)
        # Slightly deeper than the house, so that the house's near edge is drawn over this end wall.
        draw = partial(self.canvas.polygon, index, end, colour)
        self.layers.append((_BESIDE + near + 0.01, draw))

    def _garden(
        self, plane: scenery.Plane, z: float, length: float, light: float, layer: float = 0.0
    ) -> None:
        """A wall or a fence along a garden."""
        if self.rng.random() < 0.5:
            colour = scenery.hazed(lit(varied(_STONE, self.rng), light), z)
            index = self.canvas.add("Wall")
            draw = partial(scenery.wall, self.canvas, index, plane, length, 1.7, colour)
        else:
            colour = scenery.hazed(lit(varied(_WOOD, self.rng), light), z)
            index = self.canvas.add("Fence")
            draw = partial(scenery.fence, self.canvas, index, plane, length, 1.3, colour)
        self.layers.append((layer + z, draw))


def _draws_car(draw: Callable[[], None]) -> bool:
    return isinstance(draw, partial) and draw.func in (
        figures.car_from_behind,
        figures.car_from_side,
    )
