"""Tables: Arrow schemas, writing tables chunk by chunk, digests of their content.

May import ``storage``, ``predictions``, ``masks``. Others use ``schemas``, ``writing``
(``table_writer``), ``segments`` (``SegmentRows``), ``digest`` (``TableDigest``) and ``text`` (small
tables for people).
"""
