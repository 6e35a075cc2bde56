"""Validation: applies the rules to every mask of a partition in one pass.

May import ``manifests``, ``workers``, ``tables`` and what is below. Others use ``materialization``
(``materialize``), ``chunk`` (``Validation``), ``validated`` (reading the tables back),
``summary``, ``report``, ``distributions``, ``coverage``, ``freshness`` and ``rules``.
"""
