"""The options of fsspec in the words of object_store, which reads and writes the Delta table.

segpipe's places are opened twice: their files by fsspec (s3fs, gcsfs, adlfs), the catalog's table
by deltalake, through Rust's object_store. An operator names credentials and endpoints once: in the
usual environment variables, which both read, or as ``storage_options`` in fsspec's words, which are
translated here. The names are those of s3fs.S3FileSystem, gcsfs.GCSFileSystem and
adlfs.AzureBlobFileSystem, and of object_store's AmazonS3ConfigKey, GoogleConfigKey and
AzureConfigKey.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

_S3 = ("s3", "s3a")
_GCS = ("gs", "gcs")
_AZURE = ("abfs", "abfss", "az", "azure")

# fsspec's name -> object_store's, where the value is the same.
_S3_NAMES = {
    "key": "AWS_ACCESS_KEY_ID",
    "username": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "password": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "profile": "AWS_PROFILE",
}
_S3_CLIENT_NAMES = {
    "endpoint_url": "AWS_ENDPOINT_URL",
    "region_name": "AWS_REGION",
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
}
_AZURE_NAMES = {
    "account_name": "AZURE_STORAGE_ACCOUNT_NAME",
    "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
    "sas_token": "AZURE_STORAGE_SAS_TOKEN",
    "client_id": "AZURE_STORAGE_CLIENT_ID",
    "client_secret": "AZURE_STORAGE_CLIENT_SECRET",
    "tenant_id": "AZURE_STORAGE_TENANT_ID",
}
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")


def filesystem_options(url: str, storage_options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for fsspec: those in its own words, and listings are not remembered.

    Another run writes to the same places, and a file that was not there a second ago may be.
    """
    options = {name: value for name, value in storage_options.items() if not name.isupper()}
    if _scheme(url) in (*_S3, *_GCS):
        options.setdefault("use_listings_cache", False)
    return options


def object_store_options(url: str, storage_options: Mapping[str, Any]) -> dict[str, str] | None:
    """The same options for deltalake; None where the URL is not an object store's.

    What is not named there is read by object_store itself from the environment (``AWS_...``,
    ``GOOGLE_...``, ``AZURE_...``). Names in capitals are object_store's own and go through.
    """
    scheme = _scheme(url)
    if scheme in _S3:
        options = dict(_s3(storage_options))
    elif scheme in _GCS:
        options = dict(_gcs(storage_options))
    elif scheme in _AZURE:
        options = dict(_named(storage_options, _AZURE_NAMES))
    else:
        return None
    own = {name: str(value) for name, value in storage_options.items() if name.isupper()}
    return {**options, **own}


def _s3(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    # Two publishers are told apart by a conditional put, which S3 has had since 2024.
    yield "AWS_CONDITIONAL_PUT", "etag"
    named = {
        **dict(_named(given.get("client_kwargs") or {}, _S3_CLIENT_NAMES)),
        **dict(_named(given, _S3_NAMES)),
    }
    yield from named.items()
    if given.get("anon"):
        yield "AWS_SKIP_SIGNATURE", "true"
    endpoint = named.get("AWS_ENDPOINT_URL") or _variable(_ENDPOINT_VARIABLES)
    if endpoint:
        # s3fs reads the variable of this one service; object_store knows the common one only.
        yield "AWS_ENDPOINT_URL", endpoint
        if endpoint.startswith("http://"):
            yield "AWS_ALLOW_HTTP", "true"
        if "AWS_REGION" not in named and _variable(_REGION_VARIABLES) is None:
            # Servers of one's own have no regions, but requests are signed with one.
            yield "AWS_REGION", "us-east-1"


def _gcs(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    token = given.get("token")
    if token == "anon":
        yield "GOOGLE_SKIP_SIGNATURE", "true"
    elif isinstance(token, Mapping):
        yield "GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(dict(token))
    elif isinstance(token, str) and token not in ("google_default", "cache", "browser", "cloud"):
        yield "GOOGLE_SERVICE_ACCOUNT", token


def _named(given: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        if name in names and value is not None:
            yield names[name], str(value)


def _variable(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else ""
