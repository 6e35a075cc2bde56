"""Object stores: masks by the million in few and cheap requests, and one place for credentials.

Files on S3, Google Cloud Storage and Azure are opened by fsspec (s3fs, gcsfs, adlfs), but what is
done once per mask, and the catalog's Delta table, go through Rust's object_store (obstore and
deltalake): a request costs a tenth of the processor time there. An operator names credentials and
endpoints once: in the usual environment variables, which all of them read, or as
``storage_options`` in fsspec's words, which are translated here. The names are those of
s3fs.S3FileSystem, gcsfs.GCSFileSystem and adlfs.AzureBlobFileSystem, and of object_store's
AmazonS3ConfigKey, GoogleConfigKey and AzureConfigKey.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from segpipe.errors import SettingsError
from segpipe.storage.redaction import redacted

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store

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


#: How failing requests are repeated, in obstore's words: 429, 5xx and broken connections, with a
#: growing pause in between.
RETRYING: Any = {"max_retries": 10, "retry_timeout": timedelta(minutes=3)}
# Credentials that botocore finds are asked for again after this time; it renews them itself.
_ASKED_AGAIN = timedelta(minutes=5)


class ObjectStore:
    """One bucket or container, for what is done once per mask.

    Paths are fsspec's: they begin with the bucket. Every failure is an OSError.
    """

    def __init__(self, bucket: str, store: Store) -> None:
        self._bucket = bucket
        self._store = store

    def read(self, path: str) -> bytes:
        """A whole object, in one request.

        Raises:
            FileNotFoundError: if there is none.
        """
        return self.fetch(path, None).data or b""

    def fetch(self, path: str, most_bytes: int | None) -> FetchedObject:
        """A whole object and its identity, in one request.

        Args:
            most_bytes: larger objects are not fetched.

        Raises:
            FileNotFoundError: if there is none.
        """
        import obstore

        with _os_errors(path):
            found = obstore.get(self._store, self._key(path))
            meta = found.meta
            larger = most_bytes is not None and meta["size"] > most_bytes
            return FetchedObject(
                None if larger else bytes(found.bytes()), meta["size"], _identity_of(meta)
            )

    def create(self, path: str, data: bytes | mmap) -> bool:
        """Write an object unless there is one; whether it was written. One conditional request."""
        import obstore

        try:
            with _os_errors(path):
                obstore.put(self._store, self._key(path), data, mode="create", use_multipart=False)
        except FileExistsError:
            return False
        return True

    def create_from(self, path: str, source: Path) -> bool:
        """:meth:`create` from a file of this machine, which is mapped and not read into memory."""
        with source.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return self.create(path, data)

    def write(self, path: str, data: bytes) -> None:
        """Write an object, in place of what is there."""
        import obstore

        with _os_errors(path):
            obstore.put(self._store, self._key(path), data, use_multipart=False)

    def remove(self, path: str) -> None:
        """Remove an object."""
        import obstore

        with _os_errors(path):
            obstore.delete(self._store, self._key(path))

    def stored(self, path: str) -> tuple[int, datetime]:
        """Size in bytes of an object and when it was written.

        Raises:
            FileNotFoundError: if there is none.
        """
        import obstore

        with _os_errors(path):
            meta = obstore.head(self._store, self._key(path))
        return meta["size"], meta["last_modified"]

    def identity(self, path: str) -> str | None:
        """Size, time of writing and ETag of an object; None where the store gives no ETag.

        Raises:
            FileNotFoundError: if there is none.
        """
        import obstore

        with _os_errors(path):
            meta = obstore.head(self._store, self._key(path))
        return _identity_of(meta)

    def names(self, path: str, most: int) -> tuple[list[str], bool]:
        """The names in a folder, and whether these are all.

        Args:
            most: keys that are looked at, of the folder and of all below it, 1,000 a request.
        """
        import obstore

        prefix = "" if path == self._bucket else f"{self._key(path)}/"
        found: dict[str, None] = {}
        keys = 0
        with _os_errors(path):
            for page in obstore.list(self._store, prefix or None):
                for meta in page:
                    found[meta["path"].removeprefix(prefix).partition("/")[0]] = None
                keys += len(page)
                if keys >= most:
                    return list(found), False
        return list(found), True

    def _key(self, path: str) -> str:
        return path.removeprefix(f"{self._bucket}/")


class FetchedObject(NamedTuple):
    """An object's bytes (None where it has more than were asked for), size in bytes, identity."""

    data: bytes | None
    size: int
    identity: str | None


def _identity_of(meta: Any) -> str | None:
    """Of an object's metadata; None where the store gives no ETag."""
    tag = meta["e_tag"]
    return None if tag is None else f"{meta['size']} {meta['last_modified'].isoformat()} {tag}"


@contextmanager
def _os_errors(path: str) -> Iterator[None]:
    from obstore.exceptions import (
        AlreadyExistsError,
        BaseError,
        NotFoundError,
        PermissionDeniedError,
        UnauthenticatedError,
    )

    try:
        yield
    except NotFoundError:
        raise FileNotFoundError(errno.ENOENT, "there is no such object", path) from None
    except AlreadyExistsError:
        raise FileExistsError(errno.EEXIST, "there is such an object", path) from None
    except (PermissionDeniedError, UnauthenticatedError):
        raise PermissionError(errno.EACCES, "the store refuses access", path) from None
    except ValueError as error:
        if "parse path" not in str(error):
            raise
        raise OSError(
            errno.EINVAL,
            "object_store reads no key with control characters or with '', '.' or '..' between "
            "slashes: copy the object to another key",
            path,
        ) from None
    except BaseError as error:
        # Its first line; what follows tells how the library is made.
        raise OSError(errno.EIO, (str(error).splitlines() or ["unknown"])[0], path) from None


def open_object_store(
    url: str,
    path: str,
    storage_options: Mapping[str, Any] | None = None,
    *,
    retrying: bool = True,
) -> ObjectStore | None:
    """The object store of a URL; None where it is not one's.

    Args:
        path: of the URL within its fsspec file system; begins with the bucket.
        retrying: whether a request that failed is sent again.

    Raises:
        SettingsError: if the packages for it are missing, or its options cannot be used.
    """
    given = storage_options or {}
    options = object_store_options(url, given)
    if options is None:
        return None
    bucket = path.partition("/")[0]
    named = tuple(sorted(options.items()))
    return _opened(_scheme(url), bucket, named, given.get("profile"), retrying)


def check_store_url(url: str) -> None:
    """Refuse what looks like a store's URL and is none that its libraries understand alike.

    Raises:
        SettingsError: saying how to write it.
    """
    if _scheme(url) not in ("abfs", "abfss"):
        return
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    container, at, host = authority.rpartition("@")
    if at and "." not in host:
        raise SettingsError(
            f"{redacted(url)} names the account {host} without its domain: write "
            f"{redacted(f'{scheme}://{container}@{host}.dfs.core.windows.net{slash}{path}')}"
        )


def missing_packages(url: str) -> str | None:
    """What to install for a store's URL; None where nothing is missing, or it is no store's."""
    scheme = _scheme(url)
    for schemes, package, extra in (
        (_S3, "s3fs", "s3"),
        (_GCS, "gcsfs", "gcs"),
        (_AZURE, "adlfs", "azure"),
    ):
        if scheme in schemes and not (find_spec(package) and find_spec("obstore")):
            return (
                f"{redacted(url)} needs packages that are not installed: install segpipe[{extra}]"
            )
    return None


@cache
def _opened(
    scheme: str,
    bucket: str,
    options: tuple[tuple[str, str], ...],
    profile: str | None,
    retrying: bool,
) -> ObjectStore:
    extra = "s3" if scheme in _S3 else "gcs" if scheme in _GCS else "azure"
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        raise SettingsError(
            f"{scheme}://{bucket} needs packages that are not installed: install segpipe[{extra}]"
        ) from None
    config: Any = {name: value for name, value in options if name != "AWS_PROFILE"}
    retries: Any = RETRYING if retrying else {**RETRYING, "max_retries": 0}
    client: Any = {"allow_http": config.pop("AWS_ALLOW_HTTP", "false") == "true"}
    try:
        if scheme in _S3:
            known = {"AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"} & config.keys()
            provider: Any = None if known else _credentials(profile)
            store: Store = S3Store(
                bucket,
                config=config,
                client_options=client,
                retry_config=retries,
                credential_provider=provider,
            )
        else:
            kind = GCSStore if scheme in _GCS else AzureStore
            store = kind(bucket, config=config, client_options=client, retry_config=retries)
    except (BaseError, ValueError) as error:
        words = (str(error).splitlines() or ["unknown"])[0]
        raise SettingsError(f"cannot open {scheme}://{bucket}: {words}") from None
    return ObjectStore(bucket, store)


def _credentials(profile: str | None) -> Callable[[], dict[str, Any]] | None:
    """Credentials as botocore (s3fs) finds them: profiles, single sign-on, roles; None where it
    finds none and object_store may know other ways."""
    import botocore.session

    session = botocore.session.Session(profile=profile)
    try:
        if session.get_credentials() is None:
            return None
    except botocore.exceptions.BotoCoreError as error:
        raise SettingsError(f"no credentials for S3: {error}") from None

    def provide() -> dict[str, Any]:
        found = session.get_credentials().get_frozen_credentials()
        return {
            "access_key_id": found.access_key,
            "secret_access_key": found.secret_key,
            "token": found.token,
            "expires_at": datetime.now(UTC) + _ASKED_AGAIN,
        }

    return provide


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
        options = {**_azure_account(url), **dict(_named(storage_options, _AZURE_NAMES))}
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


def _azure_account(url: str) -> dict[str, str]:
    """The account, where the URL names it: ``abfss://container@account.dfs...``."""
    authority = url.partition("://")[2].partition("/")[0]
    _, at, host = authority.rpartition("@")
    return {"AZURE_STORAGE_ACCOUNT_NAME": host.partition(".")[0]} if at else {}


def _named(given: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        if name in names and value is not None:
            yield names[name], str(value)


def _variable(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else ""
