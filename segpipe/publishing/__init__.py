"""Publishing validated predictions: outcomes, receipts, the catalog, and other destinations.

May import ``validation`` and what is below. Others use ``catalog`` (``Catalog``, ``open_catalog``),
``publication`` (``publish``), ``destination`` (what a destination has to do), ``destinations`` (the
table of them), ``outcomes`` and ``history``. To add a destination: its package here, and an entry
in ``destinations``.
"""
