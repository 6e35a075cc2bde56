"""The command line, ``segpipe``: each command asks the library and prints what it answered.

May import everything below it. Others start it as ``segpipe`` or ``python -m segpipe`` (``main``).
To add a command: its function in a file here, and the command itself in ``main``.
"""

from segpipe.cli.main import main

__all__ = ["main"]
