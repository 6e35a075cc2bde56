"""``python -m segpipe``: the command line."""

from segpipe.cli.main import main

main()
