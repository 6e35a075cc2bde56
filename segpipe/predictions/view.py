"""The views of a prediction: how coarsely it is said."""

from __future__ import annotations

from enum import StrEnum


class View(StrEnum):
    """How coarsely a prediction is said."""

    GIVEN = "given"
    INSTANCE = "instance"
    SEMANTIC = "semantic"
