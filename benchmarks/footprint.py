"""``python -m benchmarks.footprint``: what each extra of segpipe brings, in packages and megabytes.

Nothing is installed: the requirements are followed through the metadata of what is in this
environment, which holds all extras where ``make`` made it. A size is that of the files a wheel
unpacks, without compiled Python. ``--write`` puts the table into docs/install.md.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PROJECT = Path(__file__).resolve().parent.parent
PAGE = _PROJECT / "docs" / "install.md"
_BEGIN = "<!-- figures: python -m benchmarks.footprint --write -->"
_END = "<!-- end of figures -->"
#: Extras that are not for users.
_OURS = ("browser", "dev", "docs")
_MEGA = 1_000_000


def packages(extra: str = "") -> set[str]:
    """Names of all packages that segpipe with an extra needs, segpipe itself not counted.

    Raises:
        PackageNotFoundError: if one is not installed here.
    """
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    todo = [("segpipe", chosen) for chosen in {"", extra}]
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        found.add(one[0])
        for needed in _requirements(*one):
            name = canonicalize_name(needed.name)
            todo += [(name, chosen) for chosen in {"", *needed.extras}]
    return found - {"segpipe"}


def extras() -> list[str]:
    """The extras that users may want, as ``pyproject.toml`` has them."""
    return [name for name in _project()["optional-dependencies"] if name not in _OURS]


def size(names: set[str]) -> int:
    """Bytes of the files of packages."""
    return sum(map(_size, names))


def _requirements(name: str, extra: str) -> Iterator[Requirement]:
    """What a package needs; with an extra, what that adds."""
    if name == "segpipe":  # as the checkout says, which may differ from when it was installed
        told = _project()["optional-dependencies"][extra] if extra else _project()["dependencies"]
        yield from (one for one in map(Requirement, told) if _applies(one, ""))
        return
    for one in map(Requirement, distribution(name).requires or ()):
        if _applies(one, extra) and not (extra and _applies(one, "")):
            yield one


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


@cache
def _project() -> dict[str, dict[str, list[str]]]:
    return dict(tomllib.loads((_PROJECT / "pyproject.toml").read_text())["project"])


@cache
def _size(name: str) -> int:
    return sum(
        path.stat().st_size
        for file in distribution(name).files or ()
        if file.suffix != ".pyc" and (path := Path(str(file.locate()))).is_file()
    )


def table() -> str:
    """The figures in Markdown."""
    base = packages()
    lines = ["| install | packages | MB | largest of what it adds |", "|---|---|---|---|"]
    lines.append(f"| `segpipe` | {len(base)} | {_mb(size(base))} | {_largest(base)} |")
    for extra in extras():
        whole = packages(extra)
        added = whole - base
        counts = f"{len(base)} + {len(added)} | {_mb(size(base))} + {_mb(size(added))}"
        lines.append(f"| `segpipe[{extra}]` | {counts} | {_largest(added)} |")
    return "\n".join(lines)


def _mb(size: int) -> str:
    return f"{size / _MEGA:.0f}" if size >= _MEGA else "below 1"


def _largest(names: set[str]) -> str:
    ordered = sorted(names, key=_size, reverse=True)[:3]
    return ", ".join(f"{name} {_mb(_size(name))}" for name in ordered if _size(name) >= _MEGA)


def main(arguments: list[str] | None = None) -> None:
    """Print the table; write it where asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/install.md")
    asked = parser.parse_args(arguments)
    try:
        figures = table()
    except PackageNotFoundError as error:
        parser.exit(2, f"{error}; every extra has to be installed: pip install -e '.[dev]'\n")
    print(figures)
    if asked.write:
        before, _, rest = PAGE.read_text("utf-8").partition(_BEGIN)
        _, _, after = rest.partition(_END)
        PAGE.write_text(f"{before}{_BEGIN}\n{figures}\n{_END}{after}", "utf-8")


if __name__ == "__main__":
    main()
