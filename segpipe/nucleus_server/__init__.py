"""An endpoint the Scale Nucleus SDK can talk to, over a segpipe root.

It has the part of the API that concerns datasets, items, models and segmentations. Nobody here has
talked to the real service: what it answers follows what its client reads, its docstrings and its
own tests; docs/nucleus.md lists what is unknown.
"""
