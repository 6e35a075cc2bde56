"""One table: what an operator says of a store, and what both libraries are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segpipe.errors import SettingsError
from segpipe.storage.files import Folder
from segpipe.storage.redaction import SECRETS, redacted
from segpipe.storage.sources import AllowedRoots
from segpipe.storage.store_options import one_scheme, store_options, table_url

HTTP = "http://127.0.0.1:9"
KEY = "a2V5"
DEVELOPMENT = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
NOBODY = json.dumps(
    {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
)
S3 = {"AWS_CONDITIONAL_PUT": "etag"}
EMULATED_GCS = (
    {"endpoint_url": HTTP, "token": "anon"},
    {
        "GOOGLE_BASE_URL": HTTP,
        "ALLOW_HTTP": "true",
        "GOOGLE_SKIP_SIGNATURE": "true",
        "GOOGLE_SERVICE_ACCOUNT_KEY": NOBODY,
    },
)
ON_AZURE = (
    {
        "connection_string": f"AccountName=a;AccountKey={KEY};"
        "BlobEndpoint=https://a.blob.core.windows.net"
    },
    {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": KEY},
)
IN_CHINA = "https://a.blob.core.chinacloudapi.cn"
EMULATED_AZURE = (
    {"connection_string": f"AccountName=a;AccountKey={KEY};BlobEndpoint={HTTP}/a"},
    {
        "AZURE_STORAGE_ACCOUNT_NAME": "a",
        "AZURE_STORAGE_ENDPOINT": f"{HTTP}/a",
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURE_ALLOW_HTTP": "true",
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
    },
)
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={KEY}"
EMULATOR = f"AccountName=a;AccountKey={KEY};BlobEndpoint={HTTP}/a;"

# URL, storage_options, environment -> fsspec's, object_store's.
TABLE: list[tuple[str, dict[str, Any], dict[str, str], tuple[dict[str, Any], dict[str, str]]]] = [
    (
        "s3://b/x",
        {"key": "k", "secret": "s", "token": "t"},
        {},
        (
            {"key": "k", "secret": "s", "token": "t"},
            {
                **S3,
                "AWS_ACCESS_KEY_ID": "k",
                "AWS_SECRET_ACCESS_KEY": "s",
                "AWS_SESSION_TOKEN": "t",
            },
        ),
    ),
    (
        "s3a://b/x",
        {"anon": True, "endpoint_url": HTTP},
        {},
        (
            {"anon": True, "endpoint_url": HTTP},
            {
                **S3,
                "AWS_ENDPOINT_URL": HTTP,
                "AWS_SKIP_SIGNATURE": "true",
                "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": "us-east-1",
            },
        ),
    ),
    (
        "s3://b/x",
        {"AWS_REGION": "eu-1", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"},
        {},
        (
            {"key": "k", "secret": "s", "client_kwargs": {"region_name": "eu-1"}},
            {
                **S3,
                "AWS_REGION": "eu-1",
                "AWS_ACCESS_KEY_ID": "k",
                "AWS_SECRET_ACCESS_KEY": "s",
            },
        ),
    ),
    (  # a variable that s3fs does not read
        "s3://b/x",
        {},
        {"AWS_ENDPOINT": "https://s3.example", "AWS_REGION": "r"},
        (
            {"endpoint_url": "https://s3.example"},
            {**S3, "AWS_ENDPOINT_URL": "https://s3.example"},
        ),
    ),
    ("gs://b/x", {}, {}, ({"token": "google_default"}, {})),
    ("gs://b/x", {"token": "anon", "endpoint_url": HTTP}, {}, EMULATED_GCS),
    ("gcs://b/x", {"endpoint_url": f"{HTTP}/"}, {}, EMULATED_GCS),
    ("gs://b/x", {}, {"STORAGE_EMULATOR_HOST": "127.0.0.1:9"}, EMULATED_GCS),
    ("gs://b/x", {}, {"STORAGE_EMULATOR_HOST": HTTP}, EMULATED_GCS),
    (
        "gs://b/x",
        {"token": {"type": "service_account", "client_email": "e"}},
        {"STORAGE_EMULATOR_HOST": "https://gcs.example"},
        (
            {
                "endpoint_url": "https://gcs.example",
                "token": {"type": "service_account", "client_email": "e"},
            },
            {
                "GOOGLE_BASE_URL": "https://gcs.example",
                "GOOGLE_SERVICE_ACCOUNT_KEY": '{"type": "service_account", "client_email": "e"}',
            },
        ),
    ),
    ("az://c/x", {"account_name": "a", "account_key": KEY}, {}, ON_AZURE),
    ("azure://c/x", {"connection_string": CONNECTION}, {}, ON_AZURE),
    ("abfs://c/x", {}, {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION}, ON_AZURE),
    (
        "az://c/x",
        {},
        {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCESS_KEY": KEY},
        ON_AZURE,
    ),
    ("abfss://c@a.dfs.core.windows.net/x", {"account_key": KEY}, {}, ON_AZURE),
    (  # said in the settings: the environment's other account is not asked
        "az://c/x",
        {"account_name": "a", "account_key": KEY},
        {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=other;AccountKey=b3RoZXI="},
        ON_AZURE,
    ),
    ("az://c/x", {"connection_string": EMULATOR}, {}, EMULATED_AZURE),
    ("az://c/x", {}, {"AZURE_STORAGE_CONNECTION_STRING": EMULATOR}, EMULATED_AZURE),
    (
        "az://c/x",
        {"account_name": "a", "account_key": KEY, "AZURE_STORAGE_ENDPOINT": f"{HTTP}/a"},
        {},
        EMULATED_AZURE,
    ),
    (
        "az://c/x",
        {},
        {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": HTTP},
        (
            {
                "connection_string": f"AccountName=devstoreaccount1;AccountKey={DEVELOPMENT};"
                f"BlobEndpoint={HTTP}/devstoreaccount1"
            },
            {
                "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
                "AZURE_STORAGE_ENDPOINT": f"{HTTP}/devstoreaccount1",
                "AZURE_STORAGE_USE_EMULATOR": "true",
                "AZURE_ALLOW_HTTP": "true",
                "AZURE_STORAGE_ACCOUNT_KEY": DEVELOPMENT,
            },
        ),
    ),
    (
        "az://c/x",
        {"account_name": "a", "sas_token": "?sv=1&sig=s"},
        {},
        (
            {
                "connection_string": "BlobEndpoint=https://a.blob.core.windows.net;"
                "SharedAccessSignature=sv=1&sig=s"
            },
            {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=s"},
        ),
    ),
    (
        "abfss://c@a.dfs.core.chinacloudapi.cn/x",
        {"client_id": "i", "client_secret": "s", "tenant_id": "t"},
        {},
        (
            {
                "account_name": "a",
                "account_host": "a.blob.core.chinacloudapi.cn",
                "client_id": "i",
                "client_secret": "s",
                "tenant_id": "t",
            },
            {
                "AZURE_STORAGE_ACCOUNT_NAME": "a",
                "AZURE_STORAGE_ENDPOINT": IN_CHINA,
                "AZURE_STORAGE_CLIENT_ID": "i",
                "AZURE_STORAGE_CLIENT_SECRET": "s",
                "AZURE_STORAGE_TENANT_ID": "t",
            },
        ),
    ),
    (
        "az://c/x",
        {"account_name": "a", "anon": True},
        {},
        (
            {"account_name": "a", "anon": True},
            {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_SKIP_SIGNATURE": "true"},
        ),
    ),
]


@pytest.mark.parametrize(("url", "given", "environment", "expected"), TABLE)
def test_both_libraries_are_told_the_same(
    url: str,
    given: dict[str, Any],
    environment: dict[str, str],
    expected: tuple[dict[str, Any], dict[str, str]],
) -> None:
    found = store_options(url, given, environment)
    assert found is not None
    assert found.filesystem == {**expected[0], "use_listings_cache": False}
    assert found.object_store == expected[1]


@pytest.mark.parametrize("url", ["memory://x", "/a/path", "https://x/y", "file:///x"])
def test_what_is_no_store_has_no_options_of_one(url: str) -> None:
    assert store_options(url, {"key": "k"}, {}) is None


@pytest.mark.parametrize(
    ("url", "given", "environment", "words"),
    [
        ("az://c/x", {}, {}, "AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_CONNECTION_STRING"),
        ("az://c/x", {"connection_string": "SECRET"}, {}, "is no connection string"),
        ("az://c/x", {"account_name": "a", "credential": "SECRET"}, {}, "name account_key"),
        (
            "abfss://c@one.dfs.core.windows.net/x",
            {},
            {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION},
            "two accounts .* are named: one, and a",
        ),
        (
            "az://c/x",
            {"account_name": "a", "sas_token": "SECRET"},
            {"AZURE_STORAGE_ACCOUNT_KEY": "SECRET"},
            "take AZURE_STORAGE_ACCOUNT_KEY from the environment",
        ),
        ("az://c/x", {}, {"AZURE_STORAGE_ENDPOINT": f"{HTTP}/a"}, "account_key or sas_token"),
        ("gs://b/x", {"token": "ya29.SECRET"}, {}, "`token` .* names no file"),
        ("gs://b/x", {}, {"GOOGLE_APPLICATION_CREDENTIALS": "/no/key"}, "names no file"),
        ("gs://b/x", {}, {"GOOGLE_SERVICE_ACCOUNT_KEY": "{SECRET"}, "no credentials of Google's"),
    ],
)
def test_what_one_library_would_not_be_told_is_refused_in_words_without_the_secret(
    url: str, given: dict[str, Any], environment: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        store_options(url, given, environment)
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "cannot be read: it is no text"),
        (b"{'SECRET'", "holds no credentials of Google's"),
        (b'{"type": "service_account", "private_key": "SECRET"}', "holds no private key"),
    ],
)
def test_a_broken_key_file_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "key.json").write_bytes(content)
    for given, environment in (
        ({"token": str(tmp_path / "key.json")}, {}),
        ({}, {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")}),
    ):
        with pytest.raises(SettingsError, match=words) as refused:
            store_options("gs://b/x", given, environment)
        assert "key.json" in str(refused.value)
        assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "one", "table"),
    [
        ("S3A://b/x", "s3://b/x", "s3://b/x"),
        ("gcs://b/x", "gs://b/x", "gs://b/x"),
        ("azure://c/x", "az://c/x", "az://c/x"),
        ("abfs://c/x", "az://c/x", "az://c/x"),
        (
            "abfs://c@a.dfs.core.windows.net/x",
            "abfss://c@a.dfs.core.windows.net/x",
            "az://c/x",
        ),
        ("memory://c/x", "memory://c/x", "memory://c/x"),
    ],
)
def test_a_store_has_one_scheme_inside_whichever_is_written(url: str, one: str, table: str) -> None:
    assert one_scheme(url) == one
    assert table_url(one) == table


def test_a_root_of_one_scheme_allows_masks_of_its_other_spelling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", HTTP)
    source = AllowedRoots(("gcs://b/masks",)).resolve("gs://b/masks/x.png", "/manifests")
    assert source.path == "b/masks/x.png"
    assert Folder("gcs://b/masks").url == "gs://b/masks"


def test_two_emulators_of_azures_in_one_process_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURITE_BLOB_STORAGE_URL", HTTP)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", EMULATOR)
    assert Folder("az://c/x").path == "c/x"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", EMULATOR.replace(":9/", ":8/"))
    with pytest.raises(SettingsError, match=r"http://127.0.0.1:8, and .*:9 by"):
        Folder("az://c/x")


def test_redaction_keeps_containers_and_takes_users_and_signatures() -> None:
    url = "abfss://masks@account.dfs.core.windows.net/x"
    for scheme in ("abfss", "abfs", "az", "azure"):
        place = url.replace("abfss", scheme)
        assert redacted(f"{place}?sig=SECRET") == f"{place}?..."
    assert redacted("abfss://user:SECRET@account.dfs.core.windows.net/x") == (
        "abfss://account.dfs.core.windows.net/x"
    )
    assert redacted("s3://user@bucket/x") == "s3://bucket/x"
    said = f"no {url}, AccountKey=SECRET;SharedAccessSignature=SECRET, https://SECRET@h/?sig=SECRET"
    assert SECRETS.sub("...", said) == f"no {url}, ...;... https://...h/..."


def test_masks_in_a_container_that_names_its_account_are_found_where_tables_name_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    folder = Folder("abfss://masks@account.dfs.core.windows.net/x")
    assert folder.shown == folder.url
    assert Folder(folder.shown).path == "masks/x"
