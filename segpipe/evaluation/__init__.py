"""Predictions beside ground truth: class maps, panoptic quality, boundaries, uncertainty.

The definitions are in ``docs/evaluation.md``. From the two masks of an item follows one table, the
pixels of each pair of their Segments (``segpipe.masks.co_occurrence``), and from it everything but
boundaries. Counts are added over items first, and divided last. ``of_manifests`` holds
``segpipe.evaluate``.
"""
