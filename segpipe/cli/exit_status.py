"""What the commands' exit statuses mean."""

from __future__ import annotations

ALL_ACCEPTED, SOME_REJECTED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
