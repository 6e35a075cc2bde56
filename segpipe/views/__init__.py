"""Views of predictions: panoptic -> instance -> semantic, without reading a pixel twice.

May import ``validation`` and what is below. Others use ``consolidation`` (``Consolidation``) and
``materialized`` (``materialize_view``, ``open_view``).
"""
