"""The library alone: what it does without any extra, and what it says where one is needed.

Everything that the base of segpipe does not bring is hidden from a process, as if it had not been
installed.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import segpipe
from benchmarks.footprint import PAGE, extras, packages
from segpipe.extras import EXTRAS, install_command
from segpipe.storage.store_options import extra_of
from tests.fixtures.landing import LandingWriter
from tests.fixtures.places import PROJECT
from tests.fixtures.ports import free_port

RunAlone = Callable[..., "subprocess.CompletedProcess[str]"]
_NOT_INHERITED = ("DAGSTER_HOME", "SEGPIPE_ROOT")
_HIDING = """
import sys
from importlib.machinery import PathFinder

class Shown(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in cls.hidden else PathFinder.find_spec(name, path, target)

    hidden = {!r}

sys.meta_path[sys.meta_path.index(PathFinder)] = Shown
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> RunAlone:
    """Runs Python where nothing is to be had but segpipe and what its base brings."""
    there = packages() | {"segpipe"}
    hidden = [
        module
        for module, distributions in packages_distributions().items()
        if not module.startswith("_") and there.isdisjoint(map(canonicalize_name, distributions))
    ]
    assert {"dagster", "sqlalchemy", "duckdb", "pandas", "rich", "numba"} <= set(hidden)
    folder = tmp_path_factory.mktemp("alone")
    (folder / "sitecustomize.py").write_text(_HIDING.format(sorted(hidden)))

    def run(*arguments: object, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
        path = os.pathsep.join([str(folder), str(PROJECT)])
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env={**inherited, "PYTHONPATH": path},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


@cache
def packages_distributions() -> Mapping[str, list[str]]:
    """Module -> the distributions that bring it, of all that are installed here."""
    return metadata.packages_distributions()


def assert_done(done: subprocess.CompletedProcess[str], status: int = 0) -> None:
    assert done.returncode == status, done.stdout + done.stderr


@pytest.fixture(scope="module")
def root(alone: RunAlone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which two masks were imported and published, by the library alone."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "masks").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.eye(6, dtype=np.uint8)).save(folder / "masks" / f"{name}.png")
    (folder / "labels.json").write_text('{"0": "ground", "1": "wire"}')
    given = ["--model-run", "m", "--date", "2026-01-05", "--labels", folder / "labels.json"]
    command = ["-m", "segpipe", "import", "mask-folder", folder / "masks", "--root", folder / "r"]
    assert_done(alone(*command, *given))
    publishing = f"""
import segpipe
root = segpipe.Root.open({str(folder / "r")!r})
assert root.materialize("m", "2026-01-05").accepted == 2
assert root.publish("m", "2026-01-05").outcomes["inserted"] == 2
"""
    assert_done(alone("-c", publishing))
    return folder / "r"


def test_importing_segpipe_imports_no_other_package(alone: RunAlone) -> None:
    code = "import sys; import segpipe; print(*{one.partition('.')[0] for one in sys.modules})"
    done = alone("-c", code)
    assert_done(done)
    loaded = set(done.stdout.split()) - {"segpipe", "sitecustomize"}
    assert {one for one in loaded if one in packages_distributions()} <= {"_distutils_hack"}


def test_all_names_of_segpipe_can_be_taken_at_once(alone: RunAlone) -> None:
    code = (
        "from segpipe import *; import inspect, segpipe; inspect.getmembers(segpipe); print(Root)"
    )
    assert_done(alone("-c", code))


def test_the_writer_needs_neither_the_catalog_nor_a_server() -> None:
    code = "import sys; from segpipe import ManifestWriter, Segment; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    not_needed = {
        "dagster", "deltalake", "duckdb", "loky", "numba", "obstore", "pandas", "requests", "rich",
        "sqlalchemy", "starlette", "uvicorn", "yaml",
    }  # fmt: skip
    assert not_needed.isdisjoint(done.stdout.split())


def test_the_table_of_extras_is_that_of_the_package() -> None:
    assert set(EXTRAS) == set(extras()) - {"all"}
    told = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    (all_of_them,) = told["optional-dependencies"]["all"]
    assert all_of_them == f"segpipe[{','.join(sorted(EXTRAS))}]"
    installed = packages_distributions()
    for extra, modules in EXTRAS.items():
        brought = {canonicalize_name(one) for module in modules for one in installed[module]}
        assert brought <= packages(extra) - packages(), extra


#: Files outside of Dagster's part that import what the base does not bring -> the extra that does.
BEYOND_THE_BASE = {
    "cli/console.py": "dagster",
    "examination/fast_path.py": "fast",
    "formats/exporting_instances.py": "coco",
    "formats/run_lengths.py": "coco",
    "masks/fast_path.py": "fast",
    "masks/kernel.py": "fast",
    "masks/scores_kernel.py": "fast",
    "predictions/pdf_kernel.py": "fast",
    "publishing/nucleus/client.py": "nucleus",
    "queries/session.py": "query",
    "storage/files.py": "gcs",
    "storage/object_store.py": "s3",
    "workers/cluster.py": "dask",
}
#: What an extra's own packages bring, in the version that suits them.
BROUGHT_ALONG = {"s3": {"botocore"}}


def _sources() -> dict[str, ast.Module]:
    """Files of the package, by their place in it."""
    folder = PROJECT / "segpipe"
    return {
        str(path.relative_to(folder)): ast.parse(path.read_text("utf-8"))
        for path in folder.rglob("*.py")
    }


def _imported(source: ast.Module) -> set[str]:
    """The packages of others that a file imports, wherever in it."""
    names = [
        name
        for node in ast.walk(source)
        for name in (
            [one.name for one in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    ]  # fmt: skip
    return {name.partition(".")[0] for name in names} - {"segpipe", *sys.stdlib_module_names}


def _asked_for(*extra: str) -> set[str]:
    """Names of the packages that pyproject.toml itself names, of the base or of an extra."""
    told = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = told["optional-dependencies"][extra[0]] if extra else told["dependencies"]
    return {canonicalize_name(Requirement(one).name) for one in wanted}


def _not_among(modules: set[str], distributions: set[str]) -> set[str]:
    return {
        module
        for module in modules
        if distributions.isdisjoint(map(canonicalize_name, packages_distributions()[module]))
    }


def test_whatever_segpipe_imports_is_a_requirement_of_the_base_or_of_the_extra_it_is_for() -> None:
    base, found = _asked_for(), {}
    for file, source in _sources().items():
        if beyond := _not_among(_imported(source), base):
            found[file] = beyond
    of_dagster = {file for file in found if file.startswith("pipeline/")}
    assert found.keys() - of_dagster == BEYOND_THE_BASE.keys()
    for file, modules in found.items():
        extra = BEYOND_THE_BASE.get(file, "dagster")
        own = modules - BROUGHT_ALONG.get(extra, set())
        assert _not_among(own, _asked_for(extra)) == set(), file
        assert _not_among(modules, packages(extra)) == set(), file


def test_what_is_looked_for_before_it_is_imported_is_what_the_extra_is_for() -> None:
    asked: dict[str, set[str]] = {}
    for file, source in _sources().items():
        for call in ast.walk(source):
            named = isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
            if not named or call.func.id not in ("require", "missing_of") or file == "extras.py":
                continue
            if not isinstance(call.args[0], ast.Constant):
                assert ast.unparse(call.args[0]) == "extra_of(scheme)"
                continue
            first = 2 if call.func.id == "require" else 1
            modules = {
                one.value
                for argument in call.args[first:]
                for one in ast.walk(argument)
                if isinstance(one, ast.Constant)
            }
            extra = call.args[0].value
            assert modules <= set(EXTRAS[extra]), f"{file}:{call.lineno}"
            asked.setdefault(file, set()).add(extra)
    of_extras = {file: {extra} for file, extra in BEYOND_THE_BASE.items() if file in asked}
    assert {file: asked[file] for file in of_extras} == of_extras
    assert len(of_extras) >= 5
    assert {extra_of(scheme) for scheme in ("s3", "gs", "az")} <= set(EXTRAS)


def test_the_base_is_small_and_every_extra_is_on_the_page() -> None:
    assert len(packages()) < 30
    page = PAGE.read_text("utf-8")
    assert [one for one in extras() if f"`segpipe[{one}]`" not in page] == []


def test_times_in_nanoseconds_give_the_same_tables_with_and_without_pandas(
    alone: RunAlone, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    taken = pa.scalar(1767614400123456789, pa.timestamp("ns", "UTC"))
    kind = pa.struct(
        [
            ("label", pa.string()),
            ("index", pa.int32()),
            ("metadata", pa.struct([("at", taken.type)])),
        ]
    )
    segment = pa.StructArray.from_arrays(
        [
            pa.array(["Road"]),
            pa.array([0], pa.int32()),
            pa.StructArray.from_arrays([pa.array([taken])], ["at"]),
        ],
        fields=list(kind),
    )
    manifest = pa.table(
        {
            "reference_id": ["a"],
            "mask_url": ["a.png"],
            "segments": pa.ListArray.from_arrays([0, 1], segment),
            "taken": pa.array([taken]),
        }
    )
    pq.write_table(manifest, tmp_path / "m.parquet")
    command = ["-m", "segpipe", "validate", "m.parquet", "--html", "page.html", "--out"]
    assert_done(alone(*command, "without", cwd=tmp_path))
    done = subprocess.run([sys.executable, *command, "with"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    for name in ("validated", "segments"):
        one, other = (
            pq.read_table(tmp_path / way / f"{name}.parquet") for way in ("without", "with")
        )
        assert one.equals(other)
        assert one.num_rows == 1
    assert "2026-01-05T12:00:00.123456789+00:00" in one["metadata"][0].as_py()


_TIMES = """
import pyarrow as pa
from segpipe.manifests.cells import cells_of

def column(kind, *numbers):
    bits = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array(numbers, bits).view(kind)

zoned = [pa.timestamp(unit, "Europe/Berlin") for unit in ("s", "ms", "us", "ns")]
times = [pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("ns"), *zoned, pa.date32()]
lengths = [pa.time32("s"), pa.time64("us"), pa.time64("ns"), pa.duration("s"), pa.duration("ns")]
far = column(pa.timestamp("s"), *[0] * 4, 2**60, *[0] * 4)
for kind in [*times, *lengths]:
    good = column(kind, 1001, None, -1, 1234567)
    few = pa.concat_arrays([good, column(kind, 2 ** (kind.bit_width - 2)), good])
    ends = pa.array([0, 2, 4, None, 5, 9], pa.int32())
    plain = pa.array(range(9))
    for one in (
        few,
        pa.StructArray.from_arrays([few, far], ["at", "far"]),
        pa.ListArray.from_arrays(ends, few),
        pa.FixedSizeListArray.from_arrays(few, 3),
        pa.MapArray.from_arrays(ends, plain, few),
        pa.ListArray.from_arrays(ends, pa.StructArray.from_arrays([few, far], ["at", "far"])),
        few.dictionary_encode(),
    ):
        made = cells_of(one)
        assert made[0] is not None and made[-1] is not None, one.type
        assert cells_of(one.slice(1)) == made[1:]
        print(one.type, [str(cell) for cell in made], made)
"""


def test_every_type_of_time_is_the_same_value_with_and_without_pandas(alone: RunAlone) -> None:
    without = alone("-c", _TIMES)
    assert_done(without)
    done = subprocess.run(
        [sys.executable, "-c", "import pandas" + _TIMES],
        capture_output=True, text=True, check=True, cwd=PROJECT,
    )  # fmt: skip
    assert without.stdout.splitlines() == done.stdout.splitlines()
    assert "time64[ns] ['00:00:00.000001', 'None', '23:59:59.999999', " in without.stdout
    assert "timestamp[ns] ['1970-01-01 00:00:00.000001001', 'None', " in without.stdout


_REFUSED = """
import sys
import numpy as np
import pyarrow as pa
import segpipe

for number, kind in [
    (1767614400123456789, pa.timestamp("ns", "UTC")),
    (1001, pa.duration("ns")),
    (1001, pa.time64("ns")),
    (2**60, pa.timestamp("us")),
    (2**62, pa.duration("s")),
    (2**30, pa.date32()),
    (1, pa.timestamp("us", "Nowhere/Else")),
]:
    bits = pa.int32() if kind.bit_width == 32 else pa.int64()
    column = pa.array([number], bits).view(kind)
    for value in (column[0], pa.StructArray.from_arrays([column], ["at"])[0], column):
        try:
            with segpipe.ManifestWriter(sys.argv[1], "m", "2026-01-05") as writer:
                writer.add("a", np.zeros((4, 4), np.uint8), [segpipe.Segment("x", 0)], taken=value)
        except segpipe.SegpipeError as error:
            print(str(error).rpartition(": it")[2])
"""


def test_a_time_of_arrow_s_that_no_column_holds_is_refused_with_and_without_pandas(
    alone: RunAlone, tmp_path: Path
) -> None:
    without = alone("-c", _REFUSED, tmp_path)
    with_it = subprocess.run(
        [sys.executable, "-c", _REFUSED, str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=PROJECT,
    )  # fmt: skip
    for done in (without, with_it):
        assert_done(done)
        lines = done.stdout.splitlines()
        assert len(lines) == 7 * 3
        assert all("give text" in line or "as text" in line for line in lines), lines


def test_the_page_is_served_alone(alone: RunAlone, root: Path) -> None:
    code = f"""
import urllib.request
import segpipe
with segpipe.browse({str(root)!r}, open_page=False) as opened:
    visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    print(visitor.open(opened.url).read().decode())
"""
    done = alone("-c", code)
    assert_done(done)
    assert "<html" in done.stdout


def test_the_page_of_an_item_shows_the_nanoseconds_that_its_manifest_carried(
    alone: RunAlone, tmp_path: Path
) -> None:
    landing = LandingWriter(tmp_path)
    path = landing.manifest([landing.row("a"), landing.row("b")])
    taken = pa.array([1767614400123456789, None], pa.int64()).view(pa.timestamp("ns", "UTC"))
    lasted = pa.array([1001, None], pa.int64()).view(pa.duration("ns"))
    carried = {"taken": taken, "far": pa.array([10**15, 0]).view(pa.timestamp("s"))}
    carried["inner"] = pa.StructArray.from_arrays([taken, lasted], ["at", "lasted"])
    table = pq.read_table(path)
    for name, column in carried.items():
        table = table.append_column(name, column)
    pq.write_table(table, path)
    code = f"""
import json, time, urllib.request
import segpipe
root = segpipe.Root.open({str(tmp_path)!r})
assert root.materialize("unet", "2026-01-05").accepted == 2
assert root.publish("unet", "2026-01-05").outcomes["inserted"] == 2
with segpipe.browse(root, open_page=False) as opened:
    visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    visitor.open(opened.url).read()
    asked = lambda path: json.load(visitor.open(opened.url.split("?")[0] + "api/" + path))
    while not (listed := asked("items"))["whole"]:
        time.sleep(0.05)
    item = asked("item?key=" + listed["items"][0]["key"])
print(json.dumps(item["predictions"][0]["row"]))
"""
    done = alone("-c", code)
    assert_done(done)
    row = json.loads(done.stdout)
    assert row["taken"] == "2026-01-05 12:00:00.123456789+00:00"
    assert row["far"] == str(10**18)  # milliseconds, which Parquet has
    assert json.loads(row["inner"]) == {"at": row["taken"], "lasted": "0:00:00.000001"}


WORKS = {
    "segpipe rules": ["rules", "PNG-UNREADABLE"],
    "segpipe show": ["show", "--root", "ROOT", "a"],
    "segpipe history": ["history", "--root", "ROOT"],
    "segpipe export": [
        "export", "--root", "ROOT", "--model-run", "m", "--as", "mask-folder", "exported",
    ],
    "segpipe gallery": ["gallery", "--root", "ROOT", "--model-run", "m", "--out", "page.html"],
    "segpipe optimize": ["optimize", "--root", "ROOT"],
    "segpipe vacuum": ["vacuum", "--root", "ROOT"],
}  # fmt: skip
NEEDS = {
    "segpipe run": ("dagster", ["run", "--root", "ROOT", "--model-run", "m", "--all"]),
    "segpipe dev": ("dagster", ["dev", "--root", "ROOT"]),
    "segpipe register": ("dagster", ["register", "--root", "ROOT"]),
    "queries": ("query", ["query", "--root", "ROOT", "SELECT 1"]),
    "run lengths": (
        "coco",
        ["export", "--root", "ROOT", "--model-run", "m", "--as", "coco-results", "results"],
    ),
    "the endpoint": ("nucleus", ["nucleus-server", "--root", "ROOT", "--port", "PORT"]),
    "s3://bucket": ("s3", ["history", "--root", "s3://bucket/root"]),
    "gs://bucket": ("gcs", ["history", "--root", "gs://bucket/root"]),
    "az://bucket": ("azure", ["history", "--root", "az://bucket/root"]),
}
_ANSWERS = """
import contextlib, io, json, sys
from segpipe.cli.ending import status_of
from segpipe.cli.main import cli
answers = []
for arguments in json.loads(sys.argv[1]):
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        status = status_of(cli, arguments)
    answers.append([status, printed.getvalue(), said.getvalue()])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(
    alone: RunAlone, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[int, str, str]]:
    """Exit status, output and messages of each command; one process runs them all."""
    commands = {**WORKS, **{who: arguments for who, (_, arguments) in NEEDS.items()}}
    given = {"ROOT": str(root), "PORT": str(free_port())}
    asked = [[given.get(word, word) for word in arguments] for arguments in commands.values()]
    done = alone("-c", _ANSWERS, json.dumps(asked), cwd=tmp_path_factory.mktemp("asked"))
    assert_done(done)
    found: list[Any] = json.loads(done.stdout)
    return dict(zip(commands, map(tuple, found), strict=True))


@pytest.mark.parametrize("who", WORKS)
def test_a_command_of_the_library_works_alone(
    answers: dict[str, tuple[int, str, str]], who: str
) -> None:
    status, printed, said = answers[who]
    assert status == 0, said
    assert printed


@pytest.mark.parametrize("who", NEEDS)
def test_what_needs_an_extra_says_in_one_line_what_to_install(
    answers: dict[str, tuple[int, str, str]], who: str
) -> None:
    status, printed, said = answers[who]
    extra, _ = NEEDS[who]
    assert (status, printed) == (2, ""), said
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    assert who in line
    assert line.endswith(install_command(extra))


def test_python_says_the_same_and_it_is_an_import_error(alone: RunAlone) -> None:
    code = """
import segpipe, segpipe.pipeline
for reach in (
    lambda: segpipe.SegpipeRoot,
    lambda: segpipe.pipeline.build_definitions,
    lambda: segpipe.Root.open(".").sql("SELECT 1"),
):
    try:
        reach()
    except ImportError as error:
        assert isinstance(error, segpipe.SegpipeError)
        print(error)
"""
    done = alone("-c", code)
    assert_done(done)
    lines = done.stdout.splitlines()
    extras_named = [install_command(one) for one in ("dagster", "dagster", "query")]
    assert [line.rpartition(": ")[2] for line in lines] == extras_named


def test_a_user_s_own_folder_is_not_taken_for_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imaginary").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("segpipe.extras.EXTRAS", {"some": ("imaginary",)})
    with pytest.raises(segpipe.SegpipeError, match="looking needs imaginary, which is not inst"):
        segpipe.extras.require("some", "looking needs")
    (tmp_path / "imaginary" / "__init__.py").touch()
    segpipe.extras.require("some", "looking needs")
