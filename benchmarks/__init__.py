"""Measurements of segpipe, as ratios to baselines taken in the same run.

``python -m benchmarks`` makes its own masks, measures, prints a table and writes JSON to
``benchmarks/results/``. Times on a shared machine drift; ratios of interleaved blocks do not.
"""
