"""Settings of a root: what is read, and what is said of what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

import segpipe
from segpipe.errors import SettingsError
from segpipe.settings import Settings
from segpipe.settings_keys import POLICY_KEYS, TABLES, KeyTable


def load(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "segpipe.toml").write_text(text, encoding="utf-8")
    return Settings.load(str(tmp_path))


def problem(tmp_path: Path, text: str) -> str:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text)
    assert f"{tmp_path}/segpipe.toml" in str(refused.value)
    return str(refused.value)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    loaded = Settings.load(str(tmp_path))
    assert loaded == Settings(str(tmp_path))
    assert (loaded.dataset, loaded.allowed_roots, loaded.workers) == ("default", (), 0)
    policy = loaded.policies.of("any")
    assert (policy.max_pixels, policy.max_bytes) == (100_000_000, 100_000_000)
    assert (policy.severities, policy.ignore_values, policy.taxonomy) == ({}, {}, {})
    for name in ("manifests", "validated", "masks", "catalog"):
        assert loaded.folder(name).url == f"{tmp_path}/{name}"


def test_every_setting_is_read(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        """
        dataset = "street"
        manifests = "memory://landing"
        validated = "/somewhere/validated"
        allowed_roots = ["/data/masks", "s3://bucket/masks"]
        first_date = 2026-01-31
        rows_per_chunk = 16
        workers = 3
        publish_rows = 5
        [storage_options]
        key = "TOPSECRET"
        """,
    )
    assert loaded == Settings(
        str(tmp_path),
        dataset="street",
        manifests="memory://landing",
        validated="/somewhere/validated",
        allowed_roots=("/data/masks", "s3://bucket/masks"),
        storage_options={"key": "TOPSECRET"},
        first_date=date(2026, 1, 31),
        rows_per_chunk=16,
        workers=3,
        publish_rows=5,
    )
    assert loaded.folder("manifests").url == "memory://landing"
    assert loaded.folder("masks").url == f"{tmp_path}/masks"
    assert "TOPSECRET" not in repr(loaded)


def test_a_policy_is_read_and_overridden_by_model_run_key_by_key(tmp_path: Path) -> None:
    policies = load(
        tmp_path,
        """
        [policy]
        max_pixels = 1000
        max_bytes = 2000
        max_rejection_rate = 0.25
        ignore_values = {255 = "void"}
        task = "semantic"
        [policy.severities]
        SIZE-UNVERIFIED = "reject"
        [policy.taxonomy]
        road = "stuff"
        car = "thing"
        [model_runs."unet v2"]
        max_pixels = 7
        severities = {SIZE-UNVERIFIED = "off"}
        """,
    ).policies
    common, own = policies.of("another"), policies.of("unet v2")
    assert (common.max_pixels, common.max_bytes, common.max_rejection_rate) == (1000, 2000, 0.25)
    assert (own.max_pixels, own.max_bytes) == (7, 2000)
    assert own.ignore_values == common.ignore_values == {255: "void"}
    assert common.taxonomy == {"road": "stuff", "car": "thing"}
    assert common.task == "semantic"
    assert common.severities == {"SIZE-UNVERIFIED": "reject"}
    assert own.severities == {"SIZE-UNVERIFIED": "off"}


EVALUATION = "[evaluation]\nground_truth = 'a'\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_pixel = 5", "unknown key 'max_pixel' in the policy; did you mean 'max_pixels'?"),
        ("max_pixels = 0", "max_pixels is 0: expected a positive whole number"),
        ("max_bytes = -1", "expected a positive whole number"),
        ("max_bytes = 1.5", "expected a positive whole number"),
        ("max_pixels = true", "expected a positive whole number"),
        ('max_pixels = "16"', "expected a positive whole number"),
        ("max_rejection_rate = 1.5", "expected a share from 0.0 to 1.0"),
        ("max_rejection_rate = nan", "expected a share from 0.0 to 1.0"),
        ('severities = {SIZE-MISMATC = "warn"}', "did you mean 'SIZE-MISMATCH'?"),
        ('severities = {SIZE-MISMATCH = "loud"}', "expected reject, warn or off"),
        ('severities = {FILE-MISSING = "off"}', "FILE-MISSING cannot be 'off'"),
        ('ignore_values = {256 = "void"}', "not a pixel value from 0 to 255"),
        ('ignore_values = {-1 = "void"}', "not a pixel value from 0 to 255"),
        ('ignore_values = {255 = " "}', "255 needs a label"),
        ('taxonomy = {road = "surface"}', "expected thing or stuff"),
        ('task = "detection"', "expected semantic, instance, panoptic"),
    ],
)
def test_a_wrong_policy_is_named_with_what_was_expected(
    tmp_path: Path, text: str, said: str
) -> None:
    assert said in problem(tmp_path, f"[policy]\n{text}")
    assert said in problem(tmp_path, f"[model_runs.unet]\n{text}")


def test_masks_may_be_read_from_the_root_the_manifests_and_the_allowed_roots(
    tmp_path: Path,
) -> None:
    loaded = load(tmp_path, 'manifests = "/landing"\nallowed_roots = ["/data"]')
    roots = loaded.with_allowed_roots("/more").sources().roots
    assert roots == (str(tmp_path), "/landing", "/data", "/more")


def test_storage_options_are_for_remote_places_only(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'masks = "memory://masks"\n[storage_options]\nkey = "k"')
    assert loaded.folder("masks").storage_options == {"key": "k"}
    assert loaded.folder("catalog").storage_options == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("worker = 5", "unknown key 'worker'; did you mean 'workers'?"),
        ("zzz = 5", "unknown key 'zzz' (there are: dataset,"),
        ("publish_rows = 0", "publish_rows is 0, expected a positive whole number"),
        ("publish_rows = -1", "expected a positive whole number"),
        ("publish_rows = 1.5", "expected a positive whole number"),
        ("publish_rows = true", "expected a positive whole number"),
        ('root = "/elsewhere"', "unknown key 'root'"),
        ('rows_per_chunk = "16"', "expected a positive whole number"),
        ("workers = -1", "0 for one per processor"),
        ('dataset = " "', "dataset is ' ', expected text"),
        ("dataset = 3", "dataset is 3, expected text"),
        ('allowed_roots = "/data"', "expected a list of URLs"),
        ("allowed_roots = [1]", "expected a list of URLs"),
        ('first_date = "2026-01-31"', "without quotes"),
        ("first_date = 2026-01-31T10:00:00", "expected a date"),
        ("storage_options = 1", "expected a table"),
        ("dataset = ", "not valid TOML"),
        ("evaluation = 1", "expected a table [evaluation]"),
        (
            "[evaluation]\ntruth = 'a'",
            "unknown key 'truth' in [evaluation] (there are: ground_truth, gate, min, ",
        ),
        ("[evaluation]\nmin = {mIoU = 0.5}", "min in [evaluation] needs ground_truth"),
        (EVALUATION + "gate = true", "gate in [evaluation] has nothing to ask for"),
        (EVALUATION + "gate = 'yes'", "gate is 'yes' in [evaluation], expected true or false"),
        (
            EVALUATION + "min = {miou = 0.5}",
            "min in [evaluation] names 'miou' (there are: mIoU,",
        ),
        (EVALUATION + "min = {mIoU = 70}", "min of mIoU is 70 in [evaluation]"),
        (EVALUATION + "min_items = 0", "expected a positive whole number"),
        (EVALUATION + "no_regression = 'unet'", "expected a table such as {against ="),
        (EVALUATION + "no_regression = {against = 'a'}", "which is the ground truth"),
        (EVALUATION + "no_regression = {against = 'b', by = 1}", "unknown key 'by'"),
        ("[evaluation]\nground_truth = 1", "expected the name of a model run, or a list of names"),
        ("[evaluation]\nground_truth = ['a', ' ']", "expected the name of a model run"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(
    tmp_path: Path, text: str, said: str
) -> None:
    assert said in problem(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        'storage_options = "key=AKIA;secret=hunter2"',
        'storage_options = ["hunter2"]',
        'browse_url = "https://u:hunter2@host/x"',
        'browse_url = "https:u:hunter2@host/x"',
        'scheduler = "tcp://u:a/hunter2@host:8786"',
        'links = "https://host/x?sig=hunter2"',
        'links = ["https://u:hunter2@host/x"]',
        'scheduler = "tcp://u:hunter2@host:8786"',
        'masks = { secret = "hunter2" }',
        'nucleus = "https://u:hunter2@host/"',
        '[nucleus]\ndataset_id = "ds_a"\nendpoint = "https://u:hunter2@host/"',
        '[nucleus]\ndataset_id = "ds_a"\nmasks_url = "s3://u:hunter2@host/"',
        '[nucleus]\ndataset_id = "ds_a"\nendpoint = "https://host/?token=hunter2"',
        'links = "https://u:a/hunter2@host/x"',
        'links = "https://u:hunter2@a@host/x"',
        'browse_url = "host/x?sig=hunter2"',
    ],
)
def test_what_is_said_of_a_wrong_setting_holds_no_credentials(tmp_path: Path, text: str) -> None:
    said = problem(tmp_path, text)
    assert "hunter2" not in said
    assert "expected" in said
    assert "host" in said or "host" not in text


_SECRET = "hunter2"
_HOLDING_SECRETS = (
    "https://u:hunter2@host/x?sig=hunter2#hunter2",
    "s3://AKIA:a/hunter2@bucket/x",
    "u:hunter2@host",
    "host/x?token=hunter2",
    "AccountName=a;AccountKey=hunter2",
    "'https://u:hunter2@host/\"\\x",
)


_HOLDING_SECRETS_BESIDE_URLS = (
    "AccountKey=hunter2==;BlobEndpoint=https://a.blob.core.windows.net/",
    "Endpoint=sb://x/;SharedAccessKey = hunter2",
    "BlobEndpoint=https://a.blob.core.windows.net/;SharedAccessSignature=sv=hunter2&sig=hunter2",
    "https://host/x;s3://AKIA:hunter2@bucket",
    "u:hunter2@https://host",
)


def _with_secrets(
    table: str, key: str, secrets: tuple[str, ...] = _HOLDING_SECRETS
) -> Iterator[str]:
    """Files that hold secrets at a key, as a text, in a list, in a table, and as its key."""
    head, name = f"[{table}]\n" if table else "", table.partition(".")[0]
    for secret in secrets:
        text = json.dumps(secret)  # a basic string of TOML as well
        yield f"{head}{key} = {text}"
        yield f"{head}{key} = [[{text}], 1]"
        yield f"{head}{key} = {{a = {text}}}"
        yield f"{head}{key} = {{{text} = 1}}"
        yield f"{head}{text} = 1"
        if name:
            yield f"{name} = {text}"
            yield f"{name} = [{text}]"
    if key not in ("taxonomy", "ignore_values", "colours"):  # there it would be a label
        yield f"{head}{key} = {{access_key = 'hunter2', against = {{}}}}"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name or "top")
def test_no_refusal_of_any_key_of_a_table_quotes_a_credential(
    tmp_path: Path, table: KeyTable
) -> None:
    refused = 0
    keys = table.keys or POLICY_KEYS  # of a model run
    for key in ("unknown", *keys):
        for text in _with_secrets(table.name, key):
            try:
                load(tmp_path, text)
            except SettingsError as error:
                refused += 1
                assert _SECRET not in str(error), text
                assert "segpipe.toml" in str(error)
    assert refused > 20 * len(keys)


@pytest.mark.parametrize(
    ("table", "key"),
    [("", "scheduler"), ("policy", "task"), ("nucleus", "dataset_id")],
)
def test_connection_strings_and_several_urls_in_one_text_are_not_quoted_either(
    tmp_path: Path, table: str, key: str
) -> None:
    for text in _with_secrets(table, key, _HOLDING_SECRETS_BESIDE_URLS):
        assert _SECRET not in problem(tmp_path, text), text


@pytest.mark.parametrize("name", ["access_key", "accountKey", "APIKey", "apikey", "passwords"])
def test_what_stands_under_a_key_of_secrets_is_left_out(tmp_path: Path, name: str) -> None:
    for value in ("'hunter2'", "[['hunter2'], {a = 'me@hunter2'}]", "{a = {b = 'hunter2'}}"):
        for key in ("task", "severities"):
            said = problem(tmp_path, f"[policy]\n{key} = {{{name} = {value}}}")
            assert f"{key} is {{'{name}': " in said and "'...'" in said
            assert _SECRET not in said


def test_labels_and_mail_addresses_are_told_although_they_look_a_bit_like_secrets(
    tmp_path: Path,
) -> None:
    said = problem(tmp_path, "[policy.taxonomy]\nkeyboard = 'thong'")
    assert "'keyboard' = 'thong', expected thing or stuff" in said
    for label in ("key", "token", "access_key", "is it?really", "unet@2", "4:3"):
        said = problem(tmp_path, f"[policy.taxonomy]\n{label!r} = 'thong'")
        assert f"{label!r} = 'thong', expected thing or stuff" in said
        said = problem(tmp_path, f"[policy.colours]\n{label!r} = 'greeen'")
        assert f"the colour of {label!r} is 'greeen'" in said
        said = problem(tmp_path, f"[model_runs.{label!r}]\ntask = 'semantics'")
        assert f"model run {label!r}: task is 'semantics'" in said
    assert "'...@example'" in problem(tmp_path, "[dagster]\nowners = ['ada@example']")


def test_numbers_under_a_key_of_secrets_are_left_out_and_no_others(tmp_path: Path) -> None:
    said = problem(
        tmp_path, "[policy]\ntask = {password = 123, apiKey = [4.5, 2026-01-05], near = 1234}"
    )
    assert "task is {'password': ..., 'apiKey': [..., ...], 'near': 1234}: expected" in said
    (tmp_path / "123").mkdir()
    said = problem(tmp_path / "123", "[policy]\ntask = {password = 123}")
    assert said.startswith(f"{tmp_path}/123/segpipe.toml: task is {{'password': ...}}")


def test_a_connection_string_that_is_refused_says_what_was_left_out(tmp_path: Path) -> None:
    text = "AccountName=a;AccountKey=hunter2==;BlobEndpoint=https://a.example/"
    said = problem(tmp_path, f"[nucleus]\ndataset_id = '{text}'")
    assert "'AccountName=a;...;BlobEndpoint=https://a.example/' with a key or signature" in said


@pytest.mark.parametrize("key", ["links", "browse_url"])
def test_an_at_in_the_path_of_an_address_with_a_port_is_no_user(tmp_path: Path, key: str) -> None:
    for address in (
        "https://host:8000/a@2x.png", "http://[::1]:8010/a@2x", "http://[::1]/a", "http://host:80",
        "https://host/a:b@2x",
    ):  # fmt: skip
        assert getattr(load(tmp_path, f"{key} = '{address}'"), key) == address
    for address in ("https://u:80a/b@host/", "https://u:80@host/", "https://u@host/", "http://:80"):
        assert f"{key} is " in problem(tmp_path, f"{key} = '{address}'")


def test_a_policy_that_is_given_apart_quotes_no_credential_either(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[policy]\ntask = "https://u:hunter2@host/x"\n')
    manifest = tmp_path / "m.parquet"
    manifest.touch()
    for call in (
        lambda: segpipe.validate(manifest, policy=policy),
        lambda: segpipe.evaluate(gt="gt.parquet", predictions="p.parquet", policy=policy),
    ):
        with pytest.raises(SettingsError, match="task is 'https://host/x': expected") as refused:
            call()
        assert _SECRET not in str(refused.value)


def test_ground_truth_is_a_model_run_or_a_list_of_them_and_none_unless_it_is_named(
    tmp_path: Path,
) -> None:
    assert load(tmp_path, "").ground_truth == ()
    assert load(tmp_path, "[evaluation]\nground_truth = 'labels'").ground_truth == ("labels",)
    two = load(tmp_path, "[evaluation]\nground_truth = ['labels', 'older']")
    assert two.ground_truth == ("labels", "older")


def test_bytes_that_are_no_text_are_not_valid_toml(tmp_path: Path) -> None:
    (tmp_path / "segpipe.toml").write_bytes(b'dataset = "\xff"')
    with pytest.raises(SettingsError, match="not valid TOML"):
        Settings.load(str(tmp_path))


@pytest.mark.parametrize(("text", "share"), [("0", 0), ("1", 1), ("0.0", 0), ("1.0", 1)])
def test_the_ends_of_a_share_may_be_written_as_whole_numbers(
    tmp_path: Path, text: str, share: int
) -> None:
    assert (
        load(tmp_path, f"[policy]\nmax_rejection_rate = {text}").policies.common.max_rejection_rate
        == share
    )


def test_a_local_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.load("root").root == f"{tmp_path}/root"
    assert Settings.load("memory://root").root == "memory://root"


def test_the_environment_names_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGPIPE_ROOT", str(tmp_path))
    assert Settings.from_environment() == Settings(str(tmp_path))
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("SEGPIPE_ROOT")
        else:
            monkeypatch.setenv("SEGPIPE_ROOT", unset)
        with pytest.raises(SettingsError, match="SEGPIPE_ROOT is not set"):
            Settings.from_environment()
