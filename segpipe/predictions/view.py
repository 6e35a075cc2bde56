"""The views of a prediction: as given, per instance, or per class."""

from __future__ import annotations

from enum import StrEnum


class View(StrEnum):
    """Which Segments a prediction is consolidated to: as given, per instance, or per class."""

    GIVEN = "given"
    INSTANCE = "instance"
    SEMANTIC = "semantic"
