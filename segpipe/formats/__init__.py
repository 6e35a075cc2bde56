"""Other formats: importing masks into manifests, and exporting published predictions.

May import ``settings``, ``publishing`` and what is below. Others use ``manifest_writer``
(``ManifestWriter``), ``importing`` (``import_masks``), ``opening`` (the table of formats) and
``exports``; ``model_outputs`` is what ``ManifestWriter`` takes besides index masks. To add a
format: its module here, and an entry in ``opening`` (or ``exports``); formats of one file per mask
build on ``folder_source``.
"""
