"""Pictures for people: overlays, contact sheets, charts, the report page.

May import ``settings``, ``publishing``, ``views``, ``validation`` and what is below. Others use
``overlay``, ``contact_sheet``, ``charts``, ``item_picture`` (``ShownItem``), ``images``,
``offending``, ``report_page`` and ``label_colours``. To add a picture: its module here, and the
call in ``pipeline.previews`` or ``root``.
"""
