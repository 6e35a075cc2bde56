"""Tables: Arrow schemas, writing them a chunk at a time, digests of their content.

May import ``storage``, ``predictions``, ``masks``. Others use ``schemas``, ``writing``
(``table_writer``), ``segments`` (``SegmentRows``), ``digest`` (``TableDigest``) and ``text`` (small
tables for people).
"""
