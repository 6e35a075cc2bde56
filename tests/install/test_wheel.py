"""The wheel in an empty environment, used from another folder than the checkout's."""

from __future__ import annotations

import re
import subprocess
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from benchmarks.footprint import packages
from tests.fixtures.places import PROJECT
from tests.fixtures.ports import free_port
from tests.fixtures.processes import wait_until
from tests.fixtures.wheel import Distributions, Environment, build, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAY = "2026-01-06"
LANDED = f"manifests/model_run=street-unet-v1/date={DAY}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def base(built: Distributions) -> Iterator[Environment]:
    """An environment with the wheel and nothing else."""
    with environment() as made:
        made.install(str(built.wheel))
        yield made


def assert_done(done: subprocess.CompletedProcess[str], status: int = 0) -> str:
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_wheel_has_the_package_s_files_and_nothing_beside(built: Distributions) -> None:
    package = PROJECT / "segpipe"
    wanted = {
        path.relative_to(PROJECT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".nbi", ".nbc")
    }
    with zipfile.ZipFile(built.wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted
    assert {"segpipe/viewer/pages/main.js", "segpipe/pipeline/workspace.yaml"} <= held


def test_the_source_distribution_holds_every_file_of_the_checkout(built: Distributions) -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("not a checkout of git")
    with tarfile.open(built.sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert set(tracked.stdout.splitlines()) - held == set()
    assert not [name for name in held if name.startswith((".venv", "demo/", "dist/"))]


def test_the_library_alone_takes_the_demo_from_manifests_to_a_page(base: Environment) -> None:
    assert base.packages() == packages() | {"segpipe"}
    code = "import segpipe; print(segpipe.__file__)"
    assert str(base.path) in base.run(base.python, "-c", code).stdout

    printed = assert_done(base.segpipe("demo", "--root", "demo", "--until", "2026-01-07"))
    assert "PNG-UNREADABLE" in printed
    assert "pip install 'segpipe[dagster]'" in printed
    demo = base.elsewhere / "demo"
    again = assert_done(base.segpipe("demo", "--root", "demo"))
    assert [row.split()[-2] for row in again.splitlines() if row.startswith("model_run=")] == [
        "0"
    ] * 6

    manifest = demo / LANDED / "predictions.parquet"
    checked = assert_done(base.segpipe("validate", manifest, "--html", "page.html"), 1)
    assert f"{pq.read_metadata(manifest).num_rows} rows: " in checked
    assert "<html" in (base.elsewhere / "page.html").read_text()

    where = ["--root", "demo", "--model-run", "street-unet-v1"]
    assert_done(base.segpipe("export", *where, "--as", "mask-folder", "exported"))
    labels = next((base.elsewhere / "exported").glob("*.json"))
    given = ["--root", "other", "--model-run", "m", "--date", DAY, "--labels", labels]
    assert_done(base.segpipe("import", "mask-folder", "exported/masks", *given))
    picture = assert_done(base.segpipe("show", "--root", "demo", "seed-street"))
    assert "Pavement" in picture
    assert_done(base.segpipe("gallery", *where, "--out", "gallery.html"))

    port = free_port()
    with base.start(
        base.path / "bin" / "segpipe", "browse", "--root", "demo", "--port", port, "--no-open"
    ) as server:
        page: list[str] = []

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
                    page.append(answer.read().decode())
            except OSError:
                return server.poll() is not None
            return True

        try:
            assert wait_until(answers, 60)
            server.terminate()
            _, said = server.communicate(timeout=30)
        finally:
            server.kill()
    assert "<html" in page[0], said
    assert server.returncode == 143

    refused = base.segpipe("run", *where, "--date", DAY)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.endswith("pip install 'segpipe[dagster]'\n")


def test_what_a_message_says_installs_the_extra(built: Distributions) -> None:
    with environment() as made:
        made.install(str(built.wheel))
        _follow_the_advice(made)


def _follow_the_advice(made: Environment) -> None:
    assert_done(made.segpipe("demo", "--root", "demo", "--until", "2026-01-07"))
    query = ["query", "--root", "demo", "--format", "csv", "SELECT count(*) AS n FROM predictions"]
    refused = made.segpipe(*query)
    assert refused.returncode == 2
    advised = re.search(r"pip install '(segpipe\[query\])'$", refused.stderr.strip())
    assert advised is not None, refused.stderr
    made.install(advised[1])
    assert assert_done(made.segpipe(*query)).split() == ["n", "234"]


def test_with_dagster_the_demo_runs_through_it(built: Distributions) -> None:
    with environment() as made:
        made.install(f"{built.wheel}[dagster]")
        assert made.packages() == packages("dagster") | {"segpipe"}
        printed = assert_done(made.segpipe("demo", "--root", "demo", "--until", "2026-01-07"))
        assert "segpipe dev --root demo" in printed
        where = ["--root", "demo", "--model-run", "street-unet-v1"]
        ran = assert_done(made.segpipe("run", *where, "--date", DAY), 1)
        assert "unchanged" in ran
        assert_done(made.segpipe("register", "--root", "demo"))
        definitions = made.run(
            *(made.python, "-c", "from segpipe.pipeline.definitions import defs; print(defs)"),
            SEGPIPE_ROOT=str(made.elsewhere / "demo"),
        )
        assert_done(definitions)
