"""Any folder name that a disk allows is a root, or any other place: paths are paths."""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import segpipe
from segpipe.errors import SettingsError
from segpipe.pipeline.instance import open_instance
from segpipe.publishing.maintenance import restore, unpublish
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.vacuum import vacuum
from segpipe.root import Root
from segpipe.settings import Settings
from segpipe.storage.files import Folder
from segpipe.storage.local_paths import local_path
from tests.fixtures.command_line import run_with_open_temporary_folders
from tests.fixtures.command_line import segpipe as command
from tests.fixtures.landing import PARTITION, LandingWriter, MakeProvenance
from tests.fixtures.places import PROJECT
from tests.fixtures.published import outcomes, published

#: Names that some library between a path and a disk decodes, splits, refuses or panics about.
AWKWARD = [
    "[2026] masks", "a^b", "a|b", "My%20Drive", "%2F", "%", "a\\b", "a?b", "a#b", "new\nline",
    "\x01", "\x7f", "<x>", "{y}", "q\"'`", "~x", "~", "a:b", "a&b=c;$d", "-dash", " x ", "..x",
    "Größe 日本", "é", "*", "file:", "s3:", "C:", "model_run=x",
]  # fmt: skip
NAMES = st.text(
    st.one_of(
        st.sampled_from("%[]^|\\?#*~<>{}`\"'&=;:$@! \n\t2F05"),
        st.characters(exclude_categories=("Cs",), exclude_characters="/\0"),
    ),
    min_size=1,
    max_size=20,
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


def landed(root: Path) -> LandingWriter:
    landing = LandingWriter(root)
    landing.manifest([landing.row("one", (0, 1)), landing.row("two", (1, 2))])
    return landing


def publishes(root: Path, make: MakeProvenance) -> None:
    """Publish a partition of a root, change it, undo that, and read it back in all ways."""
    opened = Root.open(str(root))
    summary = opened.materialize(PARTITION)
    assert (summary.accepted, summary.rejected) == (2, 0)
    first = opened.publish(PARTITION, provenance=make(), verify_masks=None)
    assert outcomes(first) == {"inserted": 2}
    assert first.verification is not None
    assert first.verification.mismatches == ()
    assert outcomes(opened.publish(PARTITION, provenance=make())) == {"unchanged": 2}
    catalog = segpipe.open_catalog(str(root))
    assert catalog.read(["reference_id"]).num_rows == 2
    for sha256 in catalog.read(["mask_sha256"])["mask_sha256"].to_pylist():
        assert catalog.masks.read(sha256).startswith(b"\x89PNG")
    version = opened.catalog.version()
    assert version is not None
    assert unpublish(opened.catalog, "default", "unet", "u", reference_ids=["one"]) == 1
    restore(opened.catalog, version, "r")
    assert published(opened).keys() == {"one", "two"}
    vacuum(opened.catalog, opened.settings.folder("validated"), dry_run=False)
    assert published(Root.open(str(root))).keys() == {"one", "two"}


@pytest.mark.parametrize("name", AWKWARD, ids=ascii)
def test_a_folder_of_any_name_is_a_root(
    tmp_path: Path, provenance: MakeProvenance, name: str
) -> None:
    root = tmp_path / name / "root"
    landed(root)
    publishes(root, provenance)
    beside = {path.name for path in tmp_path.iterdir()}
    assert beside == {name}
    assert {path.name for path in (tmp_path / name).iterdir()} == {"root"}
    assert (root / "catalog/predictions/_delta_log").is_dir()
    assert list((root / "catalog/predictions/dataset=default").rglob("*.parquet"))


@settings(max_examples=12, deadline=None)
@given(root=NAMES, masks=NAMES, catalog=NAMES, validated=NAMES)
@example("[", "%41", "]", "^")
def test_every_place_of_a_root_may_have_any_name(
    root: str, masks: str, catalog: str, validated: str
) -> None:
    names = {"masks": f"m{masks}", "catalog": f"c{catalog}", "validated": f"v{validated}"}
    numbers = iter(range(100))

    def make(**_: object) -> Provenance:
        run = f"run-{next(numbers)}"
        return Provenance("default", "unet", PARTITION.date, run, datetime.now(UTC), False)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / root
        landed(place)
        (place / "manifests").rename(place / f"n{root}")
        opened = Root(
            Settings(
                str(place),
                manifests=f"{place}/n{root}",
                **{name: f"{place}/{value}" for name, value in names.items()},
            )
        )
        assert opened.materialize(PARTITION).accepted == 2
        done = opened.publish(PARTITION, provenance=make(), verify_masks=None)
        assert outcomes(done) == {"inserted": 2}
        catalog_ = segpipe.open_catalog(f"{place}/{names['catalog']}")
        (first, _) = catalog_.read(["mask_sha256"])["mask_sha256"].to_pylist()
        assert catalog_.masks.read(first).startswith(b"\x89PNG")
        assert {path.name for path in place.iterdir()} == {f"n{root}", *names.values()}


def test_roots_named_alike_but_for_decoding_hold_their_own(
    tmp_path: Path, provenance: MakeProvenance
) -> None:
    for name in ("My Drive", "My%20Drive"):
        landing = LandingWriter(tmp_path / name)
        landing.manifest([landing.row(name)])
        root = Root.open(str(tmp_path / name))
        root.materialize(PARTITION)
        root.publish(PARTITION, provenance=provenance())
    for name in ("My Drive", "My%20Drive"):
        assert published(Root.open(str(tmp_path / name))).keys() == {name}


def test_datasets_of_any_name_are_written_below_an_awkward_root(
    tmp_path: Path, provenance: MakeProvenance
) -> None:
    root = tmp_path / "[x]"
    landed(root)
    for dataset in ("a b/é%", "other"):
        opened = Root(Settings(str(root), dataset=dataset))
        opened.materialize(PARTITION)
        done = opened.publish(PARTITION, provenance=provenance(dataset=dataset), verify_masks=None)
        assert outcomes(done) == {"inserted": 2}
    assert segpipe.open_catalog(str(root)).read(["dataset"]).num_rows == 4
    assert len(list((root / "catalog/predictions").glob("dataset=*"))) == 2


@pytest.mark.slow
def test_a_run_keeps_its_history_under_an_awkward_dagster_home(tmp_path: Path) -> None:
    name = "My%20Drive a?[b]#c"
    root, home = tmp_path / name, tmp_path / f"{name} home"
    landed(root)
    arguments = ["run", "--root", str(root), "--model-run", "unet", "--date", PARTITION.date]
    ended = command(*arguments, DAGSTER_HOME=str(home))
    assert (ended.returncode, "2 inserted" in ended.stdout) == (0, True), ended.stderr
    again = command(*arguments, DAGSTER_HOME=str(home))
    assert "2 unchanged" in again.stdout
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name} home"}
    assert list((home / "history").rglob("*.db"))


def test_the_instance_is_the_same_one_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "50%20?"))
    with open_instance(str(tmp_path)):
        first = os.environ["DAGSTER_HOME"]
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "50%20?"))
    with open_instance(str(tmp_path)):
        assert os.environ["DAGSTER_HOME"] == first
    assert (tmp_path / "50%20?" / "dagster.yaml").is_file()


@pytest.mark.slow
def test_where_no_temporary_folder_will_do_the_advice_to_set_tmpdir_is_true(
    tmp_path: Path,
) -> None:
    root, own = tmp_path / "My%20Drive [b]", tmp_path / "own-tmp"
    landed(root)
    own.mkdir(mode=0o700)
    run = (
        f"'{sys.executable}' -m segpipe run --root '{root}' --model-run unet "
        f"--date {PARTITION.date}"
    )
    # Folders in which anybody may write are no place for links that a library follows.
    done = run_with_open_temporary_folders(
        f"{run}; echo status=$?; TMPDIR='{own}/none' {run}; TMPDIR='{own}' {run}; echo status=$?",
        tmp_path / "disk",
    )
    first, _, then = done.stdout.partition("status=2")
    assert "inserted" not in first
    assert done.stderr.count("set TMPDIR to a folder that is there") == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "2 inserted" in then, done.stdout + done.stderr
    assert then.endswith("status=0\n")
    assert published(Root.open(str(root))).keys() == {"one", "two"}


def test_a_machine_without_any_temporary_folder_is_told_to_set_one(tmp_path: Path) -> None:
    program = (
        "import sys; from segpipe.errors import StorageError\n"
        "from segpipe.storage.local_paths import plain_alias\n"
        "try: print(plain_alias(sys.argv[1]))\n"
        "except StorageError as error: sys.exit(str(error))"
    )
    (tmp_path / "a%20b").mkdir()
    (tmp_path / "own").mkdir()
    alias = f"'{sys.executable}' -c \"{program}\" '{tmp_path}/a%20b'"
    done = run_with_open_temporary_folders(
        # From a working directory that cannot be written to, where Python would look next.
        f"for place in /tmp /var/tmp /usr/tmp; do test ! -d $place || "
        f"{{ mount --bind $place $place && mount -o remount,ro,bind $place; }}; done; cd /proc; "
        f"export PYTHONPATH='{PROJECT}'; {alias}; "
        f"mount -t tmpfs tmpfs '{tmp_path}/own'; TMPDIR='{tmp_path}/own' {alias}",
        tmp_path / "disk",
    )
    assert "set TMPDIR" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith(f"{tmp_path}/own/segpipe-0/folder-"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/a%20b/c?d#e", "/a%20b/c?d#e"),
        ("file:///a%20b/c", "/a b/c"),
        ("FILE:///a/c", "/a/c"),
        ("file:/a/c", "/a/c"),
        ("file://localhost/a/c?d#e", "/a/c?d#e"),
        ("s3://bucket/c", None),
    ],
)
def test_a_path_is_taken_literally_and_a_file_url_is_decoded(url: str, path: str | None) -> None:
    assert local_path(url) == path
    if path is not None:
        assert Folder(url).path == path


def test_a_root_given_as_a_file_url_is_the_folder_it_names(tmp_path: Path) -> None:
    root = tmp_path / "My Drive"
    root.mkdir()
    (root / "segpipe.toml").write_text('dataset = "street"\nmasks = "~x"\n')
    for url in (root.as_uri(), root.as_uri().replace("file:", "FILE:"), f"file:{root}"):
        loaded = Root.open(url, must_exist=True).settings
        assert (loaded.dataset, loaded.root, loaded.masks) == (
            "street", str(root), f"{root}/~x",
        )  # fmt: skip
    with pytest.raises(SettingsError, match="another host"):
        Root.open("file://elsewhere/data")
