"""The extras of the package: what segpipe imports of each, and what is said where it is absent.

Everything outside :mod:`segpipe.pipeline` runs without them. Before a package of an extra is
imported, :func:`require` says in one sentence what to install.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from segpipe.errors import NotInstalledError

#: Extra of ``pyproject.toml`` -> the modules that segpipe imports of what it brings.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "azure": ("adlfs", "obstore"),
    "coco": ("pycocotools",),
    "dagster": ("dagster", "dagster_webserver"),
    "dask": ("distributed",),
    "dg": ("dagster_dg_cli",),
    "fast": ("deflate", "numba"),
    "gcs": ("gcsfs", "obstore"),
    "nucleus": ("nucleus", "python_multipart"),
    "pandas": ("pandas",),
    "query": ("duckdb",),
    "s3": ("s3fs", "obstore"),
}


def missing_of(extra: str, modules: Sequence[str] = ()) -> tuple[str, ...]:
    """Those of an extra's modules that are not installed.

    Args:
        modules: look for these of them alone; empty for all.
    """
    return tuple(module for module in modules or EXTRAS[extra] if not _is_installed(module))


def require(extra: str, who_needs: str, *modules: str) -> None:
    """Raise an error unless what an extra brings is installed.

    Args:
        who_needs: begins the message, with its verb: ``"polygons need"``.
        modules: those of the extra's that are needed; none for all.

    Raises:
        NotInstalledError: with what is missing, and the command that installs it.
    """
    if missing := missing_of(extra, modules):
        verb = "is" if len(missing) == 1 else "are"
        raise NotInstalledError(
            f"{who_needs} {' and '.join(missing)}, which {verb} not installed: "
            f"{install_command(extra)}"
        )


def install_command(extra: str) -> str:
    """What installs an extra, for a shell."""
    return f"pip install 'segpipe[{extra}]'"


def _is_installed(module: str) -> bool:
    found = find_spec(module)
    # A folder of that name without an __init__.py, such as a user's own `nucleus/`, is none.
    return found is not None and found.origin is not None
