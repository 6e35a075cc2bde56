"""Manifests: Parquet files with one row per prediction, by partition (day x model run).

May import ``tables``, ``storage``, ``predictions``, ``masks``. Others use ``manifest``
(``Manifest`` and its chunks of ``rows``), ``held_masks`` (masks in rows), ``partition``
(``Partition``), ``landing`` (``Landing``), ``arrivals`` (new manifests), ``items`` (the dataset's
items), ``writer`` (rows to Parquet) and ``delivery`` (its file, so that none replaces another's
unseen).
"""
