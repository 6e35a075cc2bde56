"""The page on upgrading, held against a root that segpipe 0.1.0 wrote."""

from __future__ import annotations

import hashlib
import shlex
import tarfile
from pathlib import Path

import pytest

from segpipe.cli.exit_status import ALL_ACCEPTED, SOME_REJECTED, UNUSABLE
from segpipe.errors import CatalogError, TableError
from segpipe.manifests.partition import Partition
from segpipe.pipeline.home import dagster_home
from segpipe.predictions.view import View
from segpipe.root import Root
from tests.fixtures.command_line import invoked, segpipe
from tests.fixtures.published_days import rows_of

DAYS = [Partition("unet", "2026-01-05"), Partition("unet", "2026-01-06")]
_WRITTEN = Path(__file__).parent / "data" / "root-0.1.0.tar.gz"


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """The root of segpipe 0.1.0."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    with tarfile.open(_WRITTEN) as archive:
        archive.extractall(tmp_path, filter="data")
    return Root.open(str(tmp_path / "root"))


def digests(root: Root, *below: str) -> dict[str, str]:
    """Every file of some folders of a root, or of all, with the digest of its bytes."""
    top = Path(root.settings.root)
    files = [path for one in below or ("",) for path in (top / one).rglob("*") if path.is_file()]
    return {str(p.relative_to(top)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_it_is_read_as_it_is(earlier: Root, tmp_path: Path) -> None:
    before, place = digests(earlier), earlier.settings.root
    newest = earlier.catalog.version()
    assert newest is not None
    for command in (
        "history --root ROOT",
        f"diff --root ROOT 1 {newest}",
        f"show --root ROOT a --out {tmp_path / 'a.png'}",
        f"export --root ROOT --model-run unet --as mask-folder {tmp_path / 'masks'}",
    ):
        invoked(*[place if word == "ROOT" else word for word in command.split()])
    count = "SELECT count(*) AS n FROM receipts"
    assert earlier.sql(count)["n"].to_pylist() == [8]
    assert earlier.sql("SELECT count(entropy) AS n FROM segments")["n"].to_pylist() == [0]
    # Which label has which colour is noted by who first shows one.
    after = {name: one for name, one in digests(earlier).items() if not name.startswith("colours/")}
    assert after == before


def test_its_tables_are_not_published_before_they_are_validated_again(earlier: Root) -> None:
    before = digests(earlier)
    with pytest.raises(TableError, match="as those of an earlier segpipe: materialize"):
        earlier.publish(DAYS[0])
    assert digests(earlier) == before


@pytest.mark.slow
def test_a_run_validates_again_and_says_how_to_upgrade(earlier: Root) -> None:
    catalog, settings = digests(earlier, "catalog"), Path(earlier.settings.root, "dagster_home")
    of_dagster = (settings / "dagster.yaml").read_bytes()
    assert b"run_launcher" not in of_dagster
    assert dagster_home(earlier.settings.root) == settings
    run = shlex.split(f"run --root {earlier.settings.root} --model-run unet --date {DAYS[0].date}")
    done = segpipe(*run)
    assert done.returncode == UNUSABLE
    assert "is of format 1" in done.stderr
    assert digests(earlier, "catalog") == catalog
    # What it validated stands, and is not validated again.
    assert earlier.materialize(DAYS[0]).reused
    advised = done.stderr.partition("upgrade it with: ")[2].partition(" (it says")[0]
    assert segpipe(*shlex.split(advised)[1:], "--no-dry-run").returncode == ALL_ACCEPTED
    again = segpipe(*run)
    assert again.returncode == SOME_REJECTED, again.stderr
    assert "3 unchanged" in again.stdout
    assert (settings / "dagster.yaml").read_bytes() == of_dagster


def test_after_an_upgrade_everything_published_is_unchanged_also_with_update(
    earlier: Root,
) -> None:
    rows, masks, receipts = rows_of(earlier), digests(earlier, "masks"), earlier_receipts(earlier)
    upgrade = earlier.catalog.upgrade(dry_run=False)
    assert upgrade.columns == ("class_pdf", "entropy", "margin")
    newest = earlier.catalog.version()
    outcomes = []
    for day in DAYS:
        earlier.materialize(day)
        told = earlier.publish(day).outcomes
        outcomes.append({name: count for name, count in told.items() if count})
    # The second day's `a` differs from the first's, and was ignored by 0.1.0 too.
    assert outcomes == [{"unchanged": 3}, {"unchanged": 1, "ignored": 1}]
    assert earlier.publish(DAYS[0], update=True).outcomes["unchanged"] == 3
    assert earlier.catalog.version() == newest
    assert rows_of(earlier) == rows
    assert digests(earlier, "masks") == masks
    assert earlier_receipts(earlier).items() >= receipts.items()


def earlier_receipts(root: Root) -> dict[str, str]:
    return digests(root, "catalog/receipts")


def test_what_0_1_0_found_is_found_again(earlier: Root) -> None:
    for day, accepted, rejected in ((DAYS[0], 3, 1), (DAYS[1], 2, 0)):
        before = earlier.report(day)
        summary = earlier.materialize(day)
        assert (summary.accepted, summary.rejected) == (accepted, rejected)
        assert summary.reused is False
        # What is new says what class PDFs have to say, too.
        assert {one.rule for one in before.rules} <= {one.rule for one in earlier.report(day).rules}
        assert earlier.materialize(day).reused


def test_an_upgrade_is_undone_by_restoring_the_version_before(earlier: Root) -> None:
    before = earlier.catalog.version()
    rows = rows_of(earlier)
    done = invoked("upgrade", "--root", earlier.settings.root, "--no-dry-run")
    undo = shlex.split(done.stdout.partition("undo it with: segpipe ")[2])
    assert undo[:2] == ["restore", "--root"]
    assert str(before) in undo
    invoked(*undo)
    assert rows_of(earlier) == rows
    for day in DAYS:
        earlier.materialize(day)
    with pytest.raises(CatalogError, match="is of format 1"):
        earlier.publish(DAYS[0])


def test_a_view_is_made_again(earlier: Root) -> None:
    with pytest.raises(TableError, match="materialize"):
        earlier.view(DAYS[0], View.INSTANCE)
    earlier.materialize(DAYS[0])
    earlier.materialize_view(DAYS[0], view="instance")
    assert len(earlier.view(DAYS[0], View.INSTANCE)) == 3
