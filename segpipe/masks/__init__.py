"""Masks: PNG bytes <-> H x W uint8, their runs and measures. Bytes and arrays only, no files.

May import only ``errors``. Other packages use ``decoding`` (``decode_mask``), ``encoding``
(``canonical_png``), ``measures`` (``measure``), ``refusal`` (``MaskRefused``), ``run_lengths``
(COCO's), ``fast_path`` (loading the compiled kernel) and ``image_size``.
"""
