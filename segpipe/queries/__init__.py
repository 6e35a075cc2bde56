"""SQL on what is in a root: ``session.run`` answers a query, ``views`` says what it can read.

DuckDB runs the query; it gets Arrow data sets and is given no access to files. It is an extra of
the package, imported where a query is run.
"""
