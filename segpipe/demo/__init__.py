"""Synthetic demo data: street scenes, two model runs, and a few realistic defects.

May import ``predictions`` and ``masks``. Others use ``landing.write_demo_landing``.
"""
