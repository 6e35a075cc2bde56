"""The commands' exit statuses."""

from __future__ import annotations

ALL_ACCEPTED, SOME_REJECTED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
