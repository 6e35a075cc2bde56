"""What models return, as a mask and its Segments, for ``ManifestWriter``.

No framework is imported: arrays are NumPy's or anything with ``__array__``, objects are recognized
by their attributes. Policies (overlaps, more than 256 ids) are those of the importers.
"""
