"""Storage under any fsspec URL: folders, the mask store, the web, and what may be read.

May import ``masks`` (for refusals and image headers). Others use ``files`` (``Folder``),
``mask_store`` (``MaskStore``), ``sources`` (``AllowedRoots``), ``redaction`` (``redacted``),
``failures`` (``storage_errors``) and ``toml``. To add a storage backend: its options in
``store_options``, and its scheme's file system in ``pyproject.toml``.
"""
