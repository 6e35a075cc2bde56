"""Publishing to Nucleus: the real SDK against a real endpoint in another process. What each
prediction comes to, what is sent for it, what is refused in words and what is never told.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from segpipe.cli.main import cli
from segpipe.errors import DestinationError, SettingsError
from segpipe.pipeline.build import build_definitions
from segpipe.pipeline.runs import run_partition
from segpipe.publishing.nucleus.failures import seconds_of
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from segpipe.storage.mask_store import MaskStore
from tests.fixtures.landing import HEIGHT, PARTITION, WIDTH, LandingWriter, striped_mask
from tests.fixtures.nucleus_endpoint import RunningEndpoint
from tests.fixtures.nucleus_publisher import ITEMS, Publisher
from tests.fixtures.png import png
from tests.fixtures.published import outcomes
from tests.fixtures.s3_server import Bucket

pytest.importorskip("nucleus", reason="the SDK is not installed: segpipe[nucleus]")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_predictions_are_inserted_unchanged_ignored_and_replaced(publisher: Publisher) -> None:
    publisher.land(120)
    first = publisher.publish()
    assert outcomes(first) == {"inserted": 120}
    publisher.holds(first)
    publisher.there.proxy.forget()
    again = publisher.publish(update=True)
    assert outcomes(again) == {"unchanged": 120}
    assert publisher.there.uploads() == 0
    publisher.holds(again)
    publisher.land(130, (0, 2))
    ignored = publisher.publish()
    assert outcomes(ignored) == {"ignored": 120, "inserted": 10}
    publisher.holds(ignored)
    replaced = publisher.publish(update=True)
    assert outcomes(replaced) == {"replaced": 120, "unchanged": 10}
    publisher.holds(replaced)
    told = publisher.receipts(replaced)[ITEMS[0]]
    assert told["previous_fingerprint"] == publisher.receipts(first)[ITEMS[0]]["fingerprint"]


def test_what_is_sent_is_what_was_validated(publisher: Publisher) -> None:
    publisher.land(1)
    publisher.publish()
    (held,) = publisher.there.held().values()
    row = publisher.root.validated(PARTITION)
    (batch,) = row.batches(10)
    # No path of this machine: neither in the JSON nor as the name of the file beside it.
    assert held["mask_url"] == f"{batch.rows['mask_sha256'][0].as_py()}.png"
    assert held["annotations"] == [
        {"label": f"class {v}", "index": v, "metadata": {"confidence": 0.5}} for v in (0, 1)
    ]


def test_an_annotation_id_of_the_users_is_kept_and_told_apart(publisher: Publisher) -> None:
    publisher.land(3, annotation_id="mine")
    first = publisher.publish()
    assert outcomes(first) == {"inserted": 3}
    assert {one["annotation_id"] for one in publisher.there.held().values()} == {"mine"}
    assert outcomes(publisher.publish()) == {"unchanged": 3}
    publisher.land(3, (0, 2), annotation_id="other")
    ignored = publisher.publish()
    assert outcomes(ignored) == {"ignored": 3}
    replaced = publisher.publish(update=True)
    assert outcomes(replaced) == {"replaced": 3}
    ours = publisher.receipts(first)[ITEMS[0]]["fingerprint"]
    for later in (ignored, replaced):
        assert publisher.receipts(later)[ITEMS[0]]["previous_fingerprint"] == ours
        assert later.verification is not None
        assert later.verification.mismatches == ()


def test_another_mask_with_the_same_segments_is_another_prediction(publisher: Publisher) -> None:
    publisher.land(2, (0, 1), annotation_id="mine")
    publisher.publish()
    publisher.land(2, (1, 0), annotation_id="mine")
    assert outcomes(publisher.publish()) == {"ignored": 2}
    assert outcomes(publisher.publish(update=True)) == {"replaced": 2}
    assert outcomes(publisher.publish(update=True)) == {"unchanged": 2}


@pytest.mark.parametrize("named", [None, "mine"])
def test_what_was_sent_with_a_mask_of_other_bytes_is_there_already_unless_that_mask_is_lost(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    row = {} if named is None else {"annotation_id": named}
    publisher.land(2, (0, 1), **row)
    url = publisher.landing.folder(PARTITION) / "masks" / "mask (0, 1).png"
    publisher.publish()
    (batch,) = publisher.root.validated(PARTITION).batches(10)
    sha256 = batch.rows["mask_sha256"][0].as_py()
    url.write_bytes(png(striped_mask((0, 1)), level=0))
    publisher.root.materialize(PARTITION)
    again = publisher.publish()
    assert outcomes(again) == {"unchanged": 2}
    assert again.verification is not None
    assert again.verification.mismatches == ()
    Path(publisher.root.masks.folder.path, MaskStore.name_of(sha256)).unlink()
    assert outcomes(publisher.publish()) == {"ignored": 2}


def test_items_whose_ids_hold_what_urls_give_a_meaning_to_are_found_again(
    publisher: Publisher, endpoint: RunningEndpoint
) -> None:
    odd = ["dir/a b#1?x=1.jpg", "100 %.png", "../up", "ü/日本"]
    bodies = [{"reference_id": one, "height": HEIGHT, "width": WIDTH} for one in odd]
    route = f"dataset/{publisher.there.dataset}/append"
    publisher.there.ask("POST", route, {"items": bodies, "update": False})
    first = publisher.landing.row(ITEMS[0], (0, 1))
    publisher.landing.manifest([{**first, "reference_id": one} for one in odd])
    publisher.root.materialize(PARTITION)
    assert outcomes(publisher.publish()) == {"inserted": 4}
    again = publisher.publish()
    assert outcomes(again) == {"unchanged": 4}
    publisher.holds(again)


def test_items_the_dataset_does_not_have_fail_with_the_services_words(
    publisher: Publisher,
) -> None:
    row = publisher.landing.row("nowhere", (0, 1))
    publisher.landing.manifest([row, publisher.landing.row(ITEMS[0], (0, 1))])
    publisher.root.materialize(PARTITION)
    found = publisher.publish()
    assert outcomes(found) == {"inserted": 1, "failed": 1}
    assert found.failures == (("nowhere", "Item with id nowhere doesn't exist."),)
    publisher.holds(found)


def test_a_dry_run_says_what_would_happen_and_makes_not_even_the_model(
    publisher: Publisher,
) -> None:
    publisher.land(5)
    would = publisher.publish(dry_run=True)
    assert outcomes(would) == {"inserted": 5}
    assert publisher.there.models() == []
    assert publisher.there.uploads() == 0


def test_what_somebody_else_put_there_is_another_prediction(publisher: Publisher) -> None:
    publisher.land(2)
    publisher.publish()
    (model,) = [m for m in publisher.there.ask("GET", "models/")["models"]
                if m["ref_id"].startswith(publisher.there.dataset)]  # fmt: skip
    held = publisher.there.held()[ITEMS[0]]
    foreign = {**held, "type": "mask", "annotations": [{"label": "edited", "index": 0}]}
    route = f"dataset/{publisher.there.dataset}/model/{model['id']}/uploadPredictions"
    publisher.there.ask("POST", route, {"update": True, "segmentations": [foreign]})
    ignored = publisher.publish()
    assert outcomes(ignored) == {"ignored": 1, "unchanged": 1}
    assert publisher.receipts(ignored)[ITEMS[0]]["previous_fingerprint"].startswith("other:")
    replaced = publisher.publish(update=True)
    assert outcomes(replaced) == {"replaced": 1, "unchanged": 1}
    publisher.holds(replaced)


def test_a_wrong_dataset_or_key_fails_in_words(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.land(1)
    publisher.settings(dataset_id="ds_nowhere")
    with pytest.raises(DestinationError, match=r"404.*no dataset 'ds_nowhere'"):
        publisher.publish()
    publisher.settings()
    monkeypatch.setenv("NUCLEUS_API_KEY", "live_wrong")
    with pytest.raises(DestinationError, match=r"401.*key is not known") as error:
        publisher.publish()
    assert "live_wrong" not in str(error.value)
    monkeypatch.delenv("NUCLEUS_API_KEY")
    with pytest.raises(SettingsError, match="set NUCLEUS_API_KEY"):
        publisher.publish()


def test_without_its_settings_the_destination_says_what_it_needs(
    landing: LandingWriter, root: Root
) -> None:
    with pytest.raises(SettingsError, match=r"table \[nucleus\] with its dataset_id"):
        root.destination("nucleus")
    with pytest.raises(SettingsError, match="there is no destination 'nuclues'"):
        root.destination("nuclues")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('destinations = ["nucleus"]', r'"nucleus" needs a table \[nucleus\]'),
        ('destinations = ["cloud"]', "destinations is .*expected a list"),
        ("destinations = []", "destinations is .*expected a list"),
        ("[nucleus]", "needs the dataset_id"),
        ('[nucleus]\ndataset_id = "ds_1"\napi_key = "live_secret"', "does not belong into a file"),
        ('[nucleus]\ndataset_id = "ds_1"\nmask = "local"', "did you mean 'masks'"),
        ('[nucleus]\ndataset_id = "ds/1"', "dataset_id .*expected the id"),
        ('[nucleus]\ndataset_id = "ds_1"\nmasks_per_call = 101', "expected 1 to 100"),
        ('[nucleus]\ndataset_id = "ds_1"\nendpoint = "https://a:b@c"', "without credentials"),
        ('[nucleus]\ndataset_id = "ds_1"\nmasks = "both"', "expected local or remote"),
        ("nucleus = 5", "expected a table"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_words(
    landing: LandingWriter, text: str, words: str
) -> None:
    landing.root.mkdir()
    (landing.root / SETTINGS_FILE).write_text(text + "\n")
    with pytest.raises(SettingsError, match=words) as error:
        Root.open(str(landing.root))
    assert "live_secret" not in str(error.value)


def test_masks_that_nucleus_cannot_fetch_are_not_sent_as_urls(publisher: Publisher) -> None:
    publisher.settings(masks="remote")
    publisher.land(1)
    with pytest.raises(SettingsError, match="Nucleus cannot fetch"):
        publisher.publish()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), (None, None), ("soon", None), ("-3", 0.0),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)  # fmt: skip
def test_a_retry_after_header_is_understood(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header) == seconds


# --- many, remote, at once


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_local_masks_go_out_and_an_unchanged_rerun_uploads_nothing(
    publisher: Publisher, count: int
) -> None:
    publisher.land(count)
    found = publisher.publish()
    assert outcomes(found) == {"inserted": count}
    publisher.holds(found)
    assert publisher.there.jobs() == []
    publisher.there.proxy.forget()
    assert outcomes(publisher.publish()) == {"unchanged": count}
    assert publisher.there.uploads() == 0
    assert len(publisher.there.proxy.log) <= 6


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_remote_masks_go_out_as_urls_of_the_store(
    publisher: Publisher, s3: Bucket, count: int
) -> None:
    publisher.settings(masks="remote")
    settings = publisher.landing.root / SETTINGS_FILE
    settings.write_text(f'masks = "{s3.url}/masks"\n' + settings.read_text())
    publisher.land(count)
    found = publisher.publish()
    assert outcomes(found) == {"inserted": count}
    publisher.holds(found)
    held = publisher.there.held()
    assert all(one["mask_url"].startswith(f"{s3.url}/masks/") for one in held.values())
    assert publisher.there.jobs() == []  # a job may be done after the run has given it up
    assert outcomes(publisher.publish()) == {"unchanged": count}


def test_masks_of_a_store_that_is_not_local_are_sent_along_too(
    publisher: Publisher, s3: Bucket
) -> None:
    settings = publisher.landing.root / SETTINGS_FILE
    settings.write_text(f'masks = "{s3.url}/masks"\n' + settings.read_text())
    publisher.land(5)
    found = publisher.publish()
    assert outcomes(found) == {"inserted": 5}
    publisher.holds(found)


# --- Dagster and the command line


def test_one_run_publishes_to_both_destinations(
    publisher: Publisher, instance: dg.DagsterInstance
) -> None:
    publisher.land(12)
    report = run_partition(publisher.root, PARTITION, instance=instance)
    assert report.failure is None
    inserted = {"inserted": 12, "unchanged": 0, "ignored": 0, "replaced": 0, "failed": 0}
    assert report.published == {"catalog": inserted, "nucleus": inserted}
    assert publisher.root.catalog.read().num_rows == len(publisher.there.held()) == 12
    event = instance.get_latest_materialization_event(dg.AssetKey("nucleus_predictions"))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert metadata["dataset_id"].value == publisher.there.dataset
    assert metadata["inserted"].value == 12
    checks = {
        log.dagster_event.asset_check_evaluation_data.asset_check_key.to_user_string():
            log.dagster_event.asset_check_evaluation_data.passed
        for log in instance.all_logs(
            report.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        )
        if log.dagster_event is not None
    }  # fmt: skip
    assert checks["nucleus_predictions:nothing_failed"]
    assert checks["nucleus_predictions:published_equals_validated"]


def test_each_destination_is_an_asset_with_a_pool_of_its_own(publisher: Publisher) -> None:
    definitions = build_definitions(publisher.root.settings)
    graph = definitions.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert {"published_predictions", "nucleus_predictions"} <= keys
    made = [one for one in definitions.assets or () if isinstance(one, dg.AssetsDefinition)]
    pools = {one.op.pool for one in made}
    assert {"segpipe_catalog", "segpipe_nucleus"} <= pools
    parents = {
        key.to_user_string() for key in graph.get(dg.AssetKey("nucleus_predictions")).parent_keys
    }
    assert {"validated_masks", "segments", "instance_masks"} <= parents
    assert "published_predictions" not in parents


def test_a_service_that_refuses_fails_its_own_upload_only_and_says_why(
    publisher: Publisher, instance: dg.DagsterInstance
) -> None:
    publisher.settings(dataset_id="ds_nowhere")
    publisher.land(3)
    report = run_partition(publisher.root, PARTITION, instance=instance)
    assert report.failure is not None
    assert "there is no dataset 'ds_nowhere'" in report.failure
    assert "Traceback" not in report.failure
    assert set(report.published) == {"catalog"}


@pytest.mark.slow
def test_the_command_line_names_the_destination(
    publisher: Publisher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster_home"))
    publisher.land(4)
    command = ["run", "--root", str(publisher.landing.root), "--model-run", PARTITION.model_run]
    command += ["--date", PARTITION.date]
    assert cli.main([*command, "--destination", "nucleus"], standalone_mode=False) == 0
    assert "published to Nucleus: 4 inserted" in capsys.readouterr().out
    assert publisher.root.catalog.version() is None
    assert cli.main(command, standalone_mode=False) == 0
    said = capsys.readouterr().out
    assert "published to the catalog: 4 inserted" in said
    assert "published to Nucleus: 4 unchanged" in said


def test_the_command_line_and_dagster_say_why_predictions_failed_and_where_all_are_told(
    publisher: Publisher,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [publisher.landing.row(f"nowhere {n}", (0, 1)) for n in range(5)]
    publisher.landing.manifest([*rows, publisher.landing.row(ITEMS[0], (0, 1))])
    report = run_partition(publisher.root, PARTITION, instance=instance, destinations=("nucleus",))
    (words,) = report.failures
    assert words.startswith(
        "5 predictions failed to be published: nowhere 0: Item with id nowhere 0 doesn't exist.; "
    )
    reasons, where = words.split("; receipts: ")
    assert reasons.endswith("; 2 more")
    assert Path(where).is_file()
    checks = instance.all_logs(report.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    told = [one.dagster_event.asset_check_evaluation_data for one in checks if one.dagster_event]
    assert words in [one.description for one in told]
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster_home"))
    command = ["run", "--root", str(publisher.landing.root), "--model-run", PARTITION.model_run]
    command += ["--date", PARTITION.date, "--destination", "nucleus"]
    assert cli.main(command, standalone_mode=False) == 1
    assert reasons in capsys.readouterr().err
