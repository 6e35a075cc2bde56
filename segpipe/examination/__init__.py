"""What an installation and a root need in order to work, looked at without changing anything.

May import ``root`` and everything below it; Dagster's home is looked at in
``pipeline/home_examination``. The command line prints what ``examination`` finds. To add a check:
a function that returns :class:`segpipe.examination.check.Check` objects, called in
``examination``; each check that is not ok has one next step.
"""
