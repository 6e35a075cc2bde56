"""Object stores: masks by the million in few and cheap requests.

Files on S3, Google Cloud Storage and Azure are opened by fsspec (s3fs, gcsfs, adlfs), but what is
done once per mask, and the catalog's Delta table, go through Rust's object_store (obstore and
deltalake): a request costs a tenth of the processor time there. What an operator says of a store is
put into both libraries' words by :mod:`segpipe.storage.store_options`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from segpipe.errors import SettingsError
from segpipe.extras import require
from segpipe.storage.azure_options import EMULATOR, EMULATOR_PLACE
from segpipe.storage.failures import (
    MACHINE_SERVICE,
    NO_CREDENTIALS,
    AccessRefusedError,
    BucketMissingError,
    refused_words,
)
from segpipe.storage.machine_identity import with_identity
from segpipe.storage.redaction import SECRETS, redacted
from segpipe.storage.store_options import (
    StoreOptions,
    extra_of,
    one_scheme,
    scheme_of,
    store_options,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store

#: How failing requests are repeated, in obstore's words: 429, 5xx and broken connections, with a
#: growing pause in between.
RETRYING: Any = {"max_retries": 10, "retry_timeout": timedelta(minutes=3)}
_PROBE = b"segpipe looks whether this store refuses to create what is there\n"
_NOWHERE = ".segpipe-looks-for-the-bucket/"
# Credentials that botocore finds are asked for again after this time; it renews them itself.
_ASKED_AGAIN = timedelta(minutes=5)


class ObjectStore:
    """One bucket or container, for what is done once per mask.

    Paths are fsspec's: they begin with the bucket. Every failure is an OSError.
    """

    def __init__(self, bucket: str, store: Store) -> None:
        self._bucket = bucket
        self._store = store
        self._holds_conditions: bool | None = None

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
            with self._writing(path):
                obstore.put(self._store, self._key(path), data, mode="create", use_multipart=False)
        except FileExistsError:
            return False
        return True

    def holds_conditions(self, path: str) -> bool:
        """Whether the store refuses to create an object that is there.

        Where it does not, two publishers overwrite each other's commits. The object stays: as
        long as it is there, one request tells, and it is asked once in a process.

        Args:
            path: of an object for this alone.
        """
        if self._holds_conditions is None:
            self._holds_conditions = not (self.create(path, _PROBE) and self.create(path, _PROBE))
        return self._holds_conditions

    def check_bucket(self) -> None:
        """Look whether the bucket is there, where one may look.

        Raises:
            BucketMissingError: if there is none.
        """
        import obstore

        try:
            with _os_errors(self._bucket):
                next(iter(obstore.list(self._store, _NOWHERE, chunk_size=1)), None)
        except FileNotFoundError:
            raise BucketMissingError(self._bucket) from None
        except PermissionError:
            pass  # who may not list it may be allowed to read and write objects

    @contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        try:
            with _os_errors(path):
                yield
        except FileNotFoundError:  # what is written need not be there: the bucket is not
            raise BucketMissingError(self._bucket) from None

    def create_from(self, path: str, source: Path) -> bool:
        """:meth:`create` from a file of this machine, which is mapped and not read into memory."""
        with source.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return self.create(path, data)

    def write(self, path: str, data: bytes) -> None:
        """Write an object, in place of what is there."""
        import obstore

        with self._writing(path):
            obstore.put(self._store, self._key(path), data, use_multipart=False)

    def write_from(self, path: str, source: Path) -> None:
        """:meth:`write` a file of this machine; a large one is sent in parts, and there at once."""
        import obstore

        with self._writing(path):
            obstore.put(self._store, self._key(path), source)

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


_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>|x-ms-error-code\W+(\w+)")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted")


@contextmanager
def _os_errors(path: str) -> Iterator[None]:
    from obstore.exceptions import AlreadyExistsError, BaseError

    try:
        yield
    except AlreadyExistsError:
        raise FileExistsError(errno.EEXIST, "there is such an object", path) from None
    except ValueError as error:
        if "parse path" not in str(error):
            raise
        raise OSError(
            errno.EINVAL,
            "object_store reads no key with control characters or with '', '.' or '..' between "
            "slashes: copy the object to another key",
            path,
        ) from None
    except (BaseError, FileNotFoundError) as error:
        raise _os_error(error, path) from None


def _os_error(error: Exception, path: str) -> OSError:
    """What obstore says of a request, whose kinds of error differ between stores and requests."""
    text = str(error)
    found, said = _STATUS.search(text), _CODE.search(text)
    status = int(found[1]) if found else None
    code = next(filter(None, said.groups()), "") if said else ""
    if MACHINE_SERVICE in text:
        return AccessRefusedError(NO_CREDENTIALS, path)
    if "token request" in text:
        return AccessRefusedError("the cloud gave no token for these credentials", path)
    if status in (401, 403):
        return AccessRefusedError(refused_words(status, code), path)
    if code in _NO_BUCKET:
        return BucketMissingError(path.partition("/")[0])
    if status == 404 or isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "there is no such object", path)
    # Its first line, without a signature in the URL; what follows tells how the library is made.
    return OSError(errno.EIO, SECRETS.sub("...", (text.splitlines() or ["unknown"])[0]), path)


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
    require_packages(url)
    options = object_store_options(url, given)
    if options is None:
        return None
    bucket = path.partition("/")[0]
    named = tuple(sorted(options.items()))
    return _opened(scheme_of(url), bucket, named, given.get("profile"), retrying)


def check_store_url(url: str) -> None:
    """Refuse what looks like a store's URL and is none that its libraries understand alike.

    Raises:
        SettingsError: saying how to write it.
    """
    if scheme_of(url) != "az":
        return
    scheme, _, rest = one_scheme(url).partition("://")
    authority, slash, path = rest.partition("/")
    container, at, host = authority.rpartition("@")
    if at and "." not in host:
        raise SettingsError(
            f"{redacted(url)} names the account {host} without its domain: write "
            f"{redacted(f'{scheme}://{container}@{host}.dfs.core.windows.net{slash}{path}')}"
        )


def require_packages(url: str) -> None:
    """Raise an error if packages for a store's URL are not installed; no other URL needs any here.

    Raises:
        NotInstalledError: with the extra that brings them.
    """
    if scheme := scheme_of(url):
        require(extra_of(scheme), f"{redacted(url)} needs")


_ALLOW_HTTP = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "ALLOW_HTTP")


@cache
def _opened(
    scheme: str,
    bucket: str,
    options: tuple[tuple[str, str], ...],
    profile: str | None,
    retrying: bool,
) -> ObjectStore:
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, S3Store

    config: Any = {name: value for name, value in options if name != "AWS_PROFILE"}
    retries: Any = RETRYING if retrying else {**RETRYING, "max_retries": 0}
    allowed = [config.pop(name, "false") for name in _ALLOW_HTTP]
    client: Any = {"allow_http": "true" in allowed}
    try:
        if scheme == "s3":
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
            kind = GCSStore if scheme == "gs" else AzureStore
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
    """Options for fsspec.

    Raises:
        SettingsError, StorageError: see :func:`object_store_options`.
    """
    options = _options(url, storage_options)
    if options is None:
        return {name: value for name, value in storage_options.items() if not name.isupper()}
    return options.filesystem


def object_store_options(url: str, storage_options: Mapping[str, Any]) -> dict[str, str] | None:
    """The same options for deltalake; None where the URL is not an object store's.

    What is not named there is read by object_store itself from the environment (``AWS_...``,
    ``GOOGLE_...``, ``AZURE_...``).

    Raises:
        SettingsError: if they contradict each other.
        StorageError: if no credentials are to be found.
    """
    options = _options(url, storage_options)
    return None if options is None else options.object_store


def _options(url: str, storage_options: Mapping[str, Any]) -> StoreOptions | None:
    try:
        options = store_options(url, storage_options)
    except SettingsError as error:
        raise SettingsError(f"cannot open {redacted(url)}: {error}") from None
    if options is None:
        return None
    _lead_to_emulator(options.object_store)
    return with_identity(scheme_of(url), options)


def _lead_to_emulator(options: Mapping[str, str]) -> None:
    """Say where Azure's emulator is in the variable in which alone object_store looks for it.

    Raises:
        SettingsError: if this process uses another one.
    """
    if EMULATOR not in options:
        return
    place = options["AZURE_STORAGE_ENDPOINT"].rpartition("/")[0]
    other = os.environ.setdefault(EMULATOR_PLACE, place).rstrip("/")
    if other != place:
        raise SettingsError(
            f"two emulators of Azure are named, and a process can use one: {place}, and {other} by "
            f"{EMULATOR_PLACE} or earlier in this process. Name the same"
        )
