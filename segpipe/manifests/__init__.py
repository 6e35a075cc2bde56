"""Manifests: Parquet files with one row per prediction, by partition (day x model run).

May import ``tables``, ``storage``, ``predictions``, ``masks``. Others use ``manifest``
(``Manifest`` and its chunks of ``rows``), ``partition`` (``Partition``), ``landing``
(``Landing``), ``arrivals`` (new manifests), ``items`` (the dataset's items) and ``writer`` (rows to
Parquet).
"""
