"""The commands that messages about a catalog advise, ready to be pasted into a shell."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from segpipe.storage.redaction import redacted


@dataclass(frozen=True)
class AdvisedCommands:
    """Commands on a catalog's root.

    Attributes:
        root: path or URL; None where the catalog was opened by itself.
    """

    root: str | None

    def run(self, model_run: str, date: str, *options: str) -> str:
        """The command that materializes a partition and publishes it."""
        return self._of("run", "--model-run", model_run, "--date", date, *options)

    def restore(self, version: int) -> str:
        """The command that restores a version."""
        return self._of("restore", str(version))

    def upgrade(self) -> str:
        """The command that upgrades the catalog to the newest format."""
        return self._of("upgrade")

    def optimize(self) -> str:
        """The command that rewrites small files, after mending what a cut of the power left."""
        return self._of("optimize")

    def _of(self, command: str, *arguments: str) -> str:
        # Where it is not known, a word to be replaced.
        place = "ROOT" if self.root is None else redacted(self.root)
        return shlex.join(["segpipe", command, "--root", place, *arguments])
