"""A local web page to look at what is in a root: gallery, items, rejects, overview.

May import ``root`` and what is below. Others use ``serving`` (``serve``), ``opened`` (``browse``).
``blocks`` reads the root's immutable files into compact columns, ``index`` keeps them together at
one version of the catalog, ``filters`` and ``listing`` answer from them; ``pages/`` is what the
browser runs.
"""
