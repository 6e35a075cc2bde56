"""Digests of everything segpipe makes, to tell whether other code makes the same.

``python -m benchmarks.outputs [--data DIR] OUT.json`` takes the demo and, where a folder of
research data is given, every set in it (and in the folder ``evaluation`` beside it) through the
commands, and writes a digest of each result. ``--compare BEFORE.json AFTER.json`` tells those that
differ. Only commands are used, so modules may move between the two; the code that runs is the
package ``segpipe`` in the working directory, or the installed one where there is none.

What depends on the run is left out: times, run ids, where the files are and what storage says of
their age. A file that names its folder is digested with the name replaced.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.outputs.commands import (
    take_arrays,
    take_commands,
    take_defects,
    take_demo,
    take_many,
    take_views,
)
from benchmarks.outputs.constants import PACKAGES
from benchmarks.outputs.files import add_root
from benchmarks.outputs.research_data import SAMPLED, take_evaluation, take_imports, take_manifests
from benchmarks.outputs.results import Results, json_text
from benchmarks.outputs.session import IMPORTS, Session, say


def gather(folder: Path, data: Path | None) -> dict[str, str]:
    """Make everything in an empty folder; the results by name."""
    package = Path.cwd()
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SEGPIPE_", "DAGSTER_"))
    }
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**inherited, "PYTHONPATH": os.pathsep.join(paths), "PYTHONFAULTHANDLER": "1"}
    session = Session(folder, Results(folder), environment)
    found = "import segpipe; print(segpipe.__file__)"
    asked = [sys.executable, "-c", found]
    place = subprocess.run(
        asked, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=True
    )
    say(f"the code that runs is {place.stdout.strip()}")
    (folder / IMPORTS).mkdir()
    (folder / IMPORTS / "segpipe.toml").write_text("workers = 1\n", "utf-8")
    take_commands(session)
    take_demo(session)
    take_views(session)
    take_many(session)
    take_defects(session)
    take_arrays(session)
    if data is not None:
        shutil.copytree(data, folder / "data")
        if (data.parent / "evaluation").is_dir():
            shutil.copytree(data.parent / "evaluation", folder / "evaluation")
        facts = json.loads((folder / "data" / "facts.json").read_text("utf-8"))
        take_imports(session, facts)
        take_manifests(session, facts)
        take_evaluation(session)
    add_root(session.results, IMPORTS, folder / IMPORTS)
    return session.results.finished()


def write(out: Path, data: Path | None, keep: Path | None) -> None:
    """Gather results and write them."""
    begun = perf_counter()
    with tempfile.TemporaryDirectory(prefix="segpipe-outputs-") as temporary:
        if keep is not None:
            keep.mkdir(parents=True)
        results = gather((keep or Path(temporary)).resolve(), data)
    about = {
        "python": platform.python_version(),
        "packages": _versions(),
        "data": "the demo alone" if data is None else "the demo and every set of the data",
        "sampled": {} if data is None else SAMPLED,
    }
    text = json.dumps({"about": about, "results": results}, indent=1, ensure_ascii=False)
    out.write_text(text + "\n", "utf-8")
    say(f"{len(results)} results in {perf_counter() - begun:.0f} s: {out}")


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def compare(before: Path, after: Path) -> bool:
    """Print how many results are equal, and each difference; whether all are."""
    one, other = (json.loads(path.read_text("utf-8")) for path in (before, after))
    if one["about"] != other["about"]:
        abouts = (json_text(one["about"]), json_text(other["about"]))
        print("not the same circumstances: {}, then {}".format(*abouts))
    was: dict[str, str] = one["results"]
    now: dict[str, str] = other["results"]
    names = sorted(was.keys() | now.keys())
    different = [name for name in names if was.get(name) != now.get(name)]
    print(f"{len(names) - len(different)} of {len(names)} results are equal")
    for name in different:
        print(name)
        print(f"    before: {was.get(name, 'absent')}")
        print(f"    after:  {now.get(name, 'absent')}")
    return not different


def main(arguments: list[str] | None = None) -> None:
    """Write results, or compare two files of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outputs", description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder of research data with facts.json")
    parser.add_argument("--keep", type=Path, help="a new folder to make everything in, and keep")
    parser.add_argument("--compare", action="store_true", help="whether two files differ")
    parser.add_argument("files", type=Path, nargs="+", metavar="JSON")
    asked = parser.parse_args(arguments)
    if len(asked.files) != (2 if asked.compare else 1):
        parser.error("one file to write, or --compare BEFORE.json AFTER.json")
    if asked.compare:
        sys.exit(0 if compare(*asked.files) else 1)
    write(asked.files[0], asked.data and asked.data.absolute(), asked.keep)


if __name__ == "__main__":
    main()
