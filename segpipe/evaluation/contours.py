"""F of the contours of each class, as DAVIS measures it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.evaluation.boundaries import Masks
from segpipe.evaluation.groups import VALUES, Groups, GroupsOfItems
from segpipe.masks.contours import contour_agreement


def contour_columns(
    masks: Sequence[Masks],
    groups: GroupsOfItems,
    items: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> dict[str, Any]:
    """Columns of counts of classes.

    Args:
        masks: ground truth and prediction of each item.
        items, labels: of the classes, C int64 each, sorted by item.
    """
    found = np.zeros(len(items), np.float64)
    for place, (item, label) in enumerate(zip(items.tolist(), labels.tolist(), strict=True)):
        truth, predicted = (
            _has_label(side, item, label)[mask.pixels]
            for side, mask in zip((groups.truth, groups.predicted), masks[item], strict=True)
        )
        found[place] = contour_agreement(truth, predicted)
    return {"f_sum": found, "f_items": np.ones(len(items), np.int64)}


def _has_label(side: Groups, item: int, label: int) -> NDArray[np.bool_]:
    """Whether each pixel value of an item is of a class, 256 bool."""
    of_value = side.of_value[item * VALUES : (item + 1) * VALUES]
    own: NDArray[np.bool_] = np.append(side.label, -1)[of_value] == label  # the last is void's
    return own
