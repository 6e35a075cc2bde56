"""Turns storage exceptions into ``StorageError`` with a message that says what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from segpipe.errors import StorageError
from segpipe.storage.redaction import SECRETS


class AccessRefusedError(PermissionError):
    """An object store does not know who asks, or allows it too little."""

    def __init__(self, words: str, path: str) -> None:
        super().__init__(errno.EACCES, words, path)


class BucketMissingError(FileNotFoundError):
    """There is no such bucket or container."""

    def __init__(self, bucket: str) -> None:
        super().__init__(
            errno.ENOENT,
            f"there is no bucket or container named {bucket}: create it, or correct its name, "
            "account or endpoint",
            bucket,
        )


def refused_words(status: int | None, code: str = "") -> str:
    """What a store means that answers 401 or 403, and what to do, as the end of a sentence.

    Args:
        code: the store's own word for it, if it gave one.
    """
    told = f" ({status} {code})".replace(" )", ")") if status else ""
    if status == 401 or "Expired" in code or code in _UNKNOWN:
        return (
            f"the store does not accept the credentials{told}: they are wrong, or have expired. "
            "Renew them in the environment or in storage_options"
        )
    return (
        f"the store refuses access{told}: the credentials are wrong or have expired, or may not "
        "do this. Renew them, or have the rights given"
    )


_UNKNOWN = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthenticationFailed", "InvalidToken")


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an OSError into a StorageError that says what failed and what to do."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{doing} failed: {os_words(error)}") from error
    except Exception as error:
        # What speaks to object stores raises classes of its own; they hold requests and headers.
        if type(error).__module__.partition(".")[0] not in _STORE_LIBRARIES:
            raise
        raise StorageError(f"{doing} failed: {_store_words(error)}") from None


# Top-level packages behind fsspec's object stores.
_STORE_LIBRARIES = frozenset(
    {"botocore", "aiobotocore", "s3fs", "aiohttp", "google", "gcsfs", "azure", "adlfs", "obstore"}
)


#: Where a cloud's machines are told who they are; asked where no credentials are found.
MACHINE_SERVICE = "169.254.169.254"
NO_CREDENTIALS = (
    "no usable credentials were found. Put them into the environment (for S3 AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), or give the machine a role"
)


def _store_words(error: Exception) -> str:
    if "Credentials" in type(error).__name__:
        return NO_CREDENTIALS
    status, code = _answered(error)
    if status in (401, 403):
        return refused_words(status, code)
    text = SECRETS.sub("...", str(error))
    return (text.splitlines() or [type(error).__name__])[0]


def _answered(error: BaseException) -> tuple[int | None, str]:
    """Status of the answer and the store's word for it, as each library keeps them."""
    said = getattr(error, "response", None)
    if isinstance(said, dict):  # botocore's
        status = said.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status, str(said.get("Error", {}).get("Code", ""))
    for status in (getattr(error, "status_code", None), getattr(error, "code", None)):
        if isinstance(status, int):
            return status, str(getattr(error, "error_code", None) or "")
    return None, ""


def os_words(error: OSError) -> str:
    """What an error of the operating system means, and what to do, as the end of a sentence."""
    if isinstance(error, (AccessRefusedError, BucketMissingError)):
        return str(error.strerror)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full. Free some space and run again; nothing was left half-written"
    if error.errno == errno.EFBIG:
        return "the file is larger than this place allows. Nothing was left half-written"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "no permission to write or read there. Choose another place or change its rights"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "a file is where a folder is needed"
    if error.errno == errno.ENAMETOOLONG:
        return "a name is too long for this file system (255 bytes at most)"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    text = error.strerror or str(error)
    # s3fs keeps botocore's answer as the cause, gcsfs the word for it.
    status, code = _answered(error.__cause__) if error.__cause__ else (None, "")
    if status in (401, 403) or text.startswith("Forbidden"):
        return refused_words(status or 403, code)
    return SECRETS.sub("...", (text.splitlines() or [type(error).__name__])[0])


# Less than this is no room for anything: a log entry and the database page that belongs to it.
_NO_ROOM = 65_536


def is_full(place: str | os.PathLike[str]) -> bool:
    """Whether the disk of a folder on this machine has no room left; False where it is not told."""
    try:
        return shutil.disk_usage(place).free < _NO_ROOM
    except OSError:
        return False


# How Rust's libraries end what the operating system told them, and a file they name.
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_REFUSED = re.compile(
    r"status code: (40[13])|lacked the necessary privileges|lacked valid authentication"
)
_NAMED_FILE = re.compile(r"(?<=[\s'\"(])/\S+?(?=#\d|[:'\"),]*(?:\s|$))")


def library_words(error: Exception) -> str:
    """What an error of the Delta library means, and what to do, as the end of a sentence.

    The library's first line may say only ``Generic LocalFileSystem error``, and the reason and the
    file follow far below it.
    """
    text = SECRETS.sub("...", str(error))
    number = _OS_ERROR.search(text)
    if MACHINE_SERVICE in text:
        return NO_CREDENTIALS
    if refused := _REFUSED.search(text):
        return refused_words(int(refused[1]) if refused[1] else None)
    if "Invalid table version" in text:
        return (
            "earlier commits are not found, because the store lists keys from the first one on, "
            "wherever it is asked to begin, as emulators do. Name Azurite with its AccountKey, by "
            "which it is known as one"
        )
    if number is None:
        return (text.splitlines() or [type(error).__name__])[0]
    code = int(number[1])
    file = _NAMED_FILE.search(text)
    words = os_words(OSError(code, os.strerror(code)))
    return f"{file[0]}: {words}" if file else words
