"""The pages of ``docs/reference/`` that are made of the code: commands, settings and rules.

``python -m docs.reference_pages`` writes them; with ``--check`` it only looks whether they are what
the code says. ``docs/tables.md`` is made the same way, by ``segpipe.queries.tables_page``; the page
on the Python interface holds no words of its own and takes those of the docstrings when the site is
built.
"""
