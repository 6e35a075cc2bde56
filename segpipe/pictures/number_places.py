"""Where in a picture a Segment's number has room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Places are looked for in a grid of at most so many points a side.
_GRID = 320


def number_places(
    values: NDArray[np.uint8], half_width: float, half_height: float, taken: NDArray[np.bool_]
) -> dict[int, tuple[int, int]]:
    """For each value a place in its pixels that is as far inside as can be.

    Args:
        values: H x W, the mask as it is drawn.
        half_width, half_height: of a number, in pixels.
        taken: H x W, where no number may be.

    Returns:
        value -> row and column of the number's centre, for those with room for it.
    """
    step = max(1, -(-max(values.shape) // _GRID))
    grid = values[step // 2 :: step, step // 2 :: step]
    wide, tall = (max(1, round(half / step)) for half in (half_width, half_height))
    inside = _inside(grid, tall, 0) & _inside(grid, wide, 1)
    inside &= ~taken[step // 2 :: step, step // 2 :: step]
    if not inside.any():
        return {}
    depth = _depth(grid, 3 * max(wide, tall)).astype(np.int64)
    rows, columns = np.nonzero(inside)
    found = grid[rows, columns]
    sums = [np.bincount(found, weights=one, minlength=256) for one in (rows, columns)]
    count = np.maximum(1, np.bincount(found, minlength=256))
    away = np.hypot(rows - (sums[0] / count)[found], columns - (sums[1] / count)[found])
    # The deepest of a value last; of equal ones that nearest to its middle.
    order = np.lexsort((-away, depth[rows, columns]))
    best = {int(value): place for place, value in zip(order, found[order], strict=True)}
    half = step // 2
    return {
        value: (int(rows[place]) * step + half, int(columns[place]) * step + half)
        for value, place in best.items()
    }


def _inside(grid: NDArray[np.uint8], half: int, axis: int) -> NDArray[np.bool_]:
    """Points whose neighbours along an axis, so many to each side, have their value."""
    lines = grid if axis else grid.T
    same = np.zeros(lines.shape, np.int32)
    run = np.zeros(lines.shape, np.int32)
    if lines.shape[1] > 2 * half:
        same[:, 1:] = lines[:, 1:] == lines[:, :-1]
        run = np.cumsum(same, axis=1)
    whole = np.zeros(lines.shape, bool)
    if lines.shape[1] > 2 * half:
        whole[:, half:-half] = run[:, 2 * half :] - run[:, : -2 * half] == 2 * half
    return whole if axis else whole.T


def _depth(grid: NDArray[np.uint8], most: int) -> NDArray[np.int16]:
    """How many times a point stays when each value's pixels lose their outermost ones."""
    alive = np.ones(grid.shape, bool)
    depth = np.zeros(grid.shape, np.int16)
    right, down = grid[:, 1:] == grid[:, :-1], grid[1:] == grid[:-1]
    for _ in range(most):
        kept = np.zeros_like(alive)
        kept[1:-1, 1:-1] = (
            alive[1:-1, 1:-1]
            & (alive[1:-1, 2:] & right[1:-1, 1:])
            & (alive[1:-1, :-2] & right[1:-1, :-1])
            & (alive[2:, 1:-1] & down[1:, 1:-1])
            & (alive[:-2, 1:-1] & down[:-1, 1:-1])
        )
        if not kept.any():
            break
        alive = kept
        depth += alive
    return depth
