"""What an operator says of an object store, in the words of the two libraries that go there.

fsspec's file systems (s3fs, gcsfs, adlfs) and Rust's object_store (obstore, deltalake) name
credentials and endpoints differently, and each reads variables that the other does not. Here, and
only here, the URL, ``storage_options`` and the environment become options for both, so that both go
to the same server as the same user. ``storage_options`` come before the environment; names in
capitals in them are object_store's own. The names are those of s3fs.S3FileSystem,
gcsfs.GCSFileSystem and adlfs.AzureBlobFileSystem, and of object_store's AmazonS3ConfigKey,
GoogleConfigKey and AzureConfigKey.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from segpipe.storage.azure_options import azure_options
from segpipe.storage.gcs_options import gcs_options

# As users write a scheme -> the one that is used.
_SCHEMES = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "azure": "az",
    "abfs": "az",
    "abfss": "az",
}
_EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure"}

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
_S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_S3_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")


class StoreOptions(NamedTuple):
    """Options that mean the same to both libraries."""

    filesystem: dict[str, Any]
    object_store: dict[str, str]


def scheme_of(url: str) -> str:
    """The scheme of an object store's URL, one for each store; empty for other URLs."""
    return _SCHEMES.get(url.partition("://")[0].lower(), "") if "://" in url else ""


def extra_of(scheme: str) -> str:
    """The extra of segpipe that brings what a store needs."""
    return _EXTRAS[scheme]


def one_scheme(url: str) -> str:
    """A store's URL in its one spelling, so that equal places are equal text; others unchanged.

    ``gcs://`` is ``gs://``, ``s3a://`` is ``s3://``, ``azure://`` and ``abfs://`` are ``az://``; a
    URL of Azure that names its account, ``container@account...``, is ``abfss://``.
    """
    scheme = scheme_of(url)
    if not scheme:
        return url
    rest = url.partition("://")[2]
    if scheme == "az" and "@" in rest.partition("/")[0]:
        scheme = "abfss"
    return f"{scheme}://{rest}"


def table_url(url: str) -> str:
    """A store's URL as the Delta library takes it; the account of one of Azure is an option."""
    if scheme_of(url) != "az":
        return url
    authority, slash, path = url.partition("://")[2].partition("/")
    return f"az://{authority.rpartition('@')[0] or authority}{slash}{path}"


def store_options(
    url: str, given: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> StoreOptions | None:
    """Options for both libraries; None where the URL is not an object store's.

    Args:
        given: ``storage_options``.
        environment: where variables are looked up; this process's own where None.

    Raises:
        SettingsError: if they contradict each other, or one library cannot be told.
    """
    environment = os.environ if environment is None else environment
    scheme = scheme_of(url)
    if not scheme:
        return None
    own = {name: str(value) for name, value in given.items() if name.isupper()}
    words = {name: value for name, value in given.items() if not name.isupper()}
    if scheme == "s3":
        filesystem, options = _s3(words, own, environment)
    elif scheme == "gs":
        filesystem, options = gcs_options(words, own, environment)
    else:
        filesystem, options = azure_options(url, words, own, environment)
    # Another run writes to the same places: a file that was not there a second ago may be.
    filesystem.setdefault("use_listings_cache", False)
    return StoreOptions(filesystem, options)


def _s3(
    given: Mapping[str, Any], own: Mapping[str, str], environment: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    client = given.get("client_kwargs") or {}
    named = {
        **{_S3_CLIENT_NAMES[k]: str(v) for k, v in client.items() if k in _S3_CLIENT_NAMES},
        **{_S3_NAMES[k]: str(v) for k, v in given.items() if k in _S3_NAMES and v is not None},
    }
    # Two publishers are told apart by a conditional put, which S3 has had since 2024.
    options = {"AWS_CONDITIONAL_PUT": "etag", **named, **own}
    if given.get("anon"):
        options["AWS_SKIP_SIGNATURE"] = "true"
    filesystem = dict(given)
    for name, words in (
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
    ):
        if name in own:
            filesystem[words] = own[name]
    named_endpoint = _first(options, _S3_ENDPOINTS)
    endpoint = named_endpoint or _first(environment, _S3_ENDPOINTS)
    if endpoint:
        # Each library knows some of the variables only.
        options["AWS_ENDPOINT_URL"] = endpoint
        if named_endpoint != named.get("AWS_ENDPOINT_URL") or not (
            named_endpoint or _first(environment, _S3_ENDPOINTS[:2])
        ):
            filesystem["endpoint_url"] = endpoint
        if endpoint.startswith("http://"):
            options["AWS_ALLOW_HTTP"] = "true"
        if not (_first(options, _S3_REGIONS) or _first(environment, _S3_REGIONS)):
            # Servers of one's own have no regions, but requests are signed with one.
            options["AWS_REGION"] = "us-east-1"
    if "AWS_REGION" in own:
        filesystem["client_kwargs"] = {**client, "region_name": own["AWS_REGION"]}
    return filesystem, options


def _first(names: Mapping[str, str], wanted: tuple[str, ...]) -> str | None:
    return next((names[name] for name in wanted if names.get(name)), None)
