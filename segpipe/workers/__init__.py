"""Work on chunks: here, in processes of this machine, or on a Dask cluster; results in order.

May import ``masks`` (whose compiled kernel each worker loads). Others use ``chunks`` (``Workers``).
"""
