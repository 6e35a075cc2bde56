"""What a prediction is: Segments, their metadata in canonical form, and the fingerprint.

May import ``masks``. Others use ``prediction`` (``Segment``, ``SegmentationPrediction``),
``declarations`` (Segments as a row declares them), ``metadata``, ``fingerprint`` and ``view``
(``View``).
"""
