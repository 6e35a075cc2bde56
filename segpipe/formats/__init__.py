"""Other formats <-> predictions: what models and other tools write, to manifests; and exports.

May import ``settings``, ``publishing`` and what is below. Others use ``manifest_writer``
(``ManifestWriter``), ``importing`` (``import_masks``), ``opening`` (the table of formats) and
``exports``. To add a format: its file here, and an entry in ``opening`` (or ``exports``).
"""
