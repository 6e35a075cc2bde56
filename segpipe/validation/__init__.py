"""Validation: rules applied to every mask of a partition in one pass, and what it found.

May import ``manifests``, ``workers``, ``tables`` and what is below. Others use ``materialization``
(``materialize``), ``chunk`` (``Validation``), ``validated`` (reading it back), ``summary``,
``report``, ``distributions``, ``coverage``, ``freshness`` and ``rules``.
"""
