"""Views of predictions: panoptic predictions consolidated to instance or semantic ones.

May import ``validation`` and what is below. Others use ``consolidation`` (``Consolidation``) and
``materialized`` (``materialize_view``, ``open_view``) and ``summary`` (``ViewSummary``).
"""
