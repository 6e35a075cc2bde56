"""Publishing validated predictions: outcomes, receipts, the catalog, and other destinations.

May import ``validation`` and what is below. Others use ``catalog`` (``Catalog``, ``open_catalog``),
``publication`` (``publish``), ``destination`` (the protocol of destinations), ``destinations`` (the
table of them), ``outcomes`` and ``history``. To add a destination, add its package here and its
entry in ``destinations``.
"""
