"""The command line: ``segpipe demo | validate | run | dev``."""

from segpipe.cli.main import main

__all__ = ["main"]
