"""The command line, ``segpipe``: each command calls the library and prints the result.

May import everything below it. Others start it as ``segpipe`` or ``python -m segpipe`` (``main``).
To add a command: its function in a module here, and the command with its options in ``main``.
"""

from segpipe.cli.main import main

__all__ = ["main"]
