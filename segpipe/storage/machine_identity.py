"""Who this machine is to Google and Azure, where nobody is named: found out in a second.

The libraries ask the cloud's own service for machines, for minutes where there is none, and gcsfs
then asks as nobody. Here it is asked once, before them.
"""

from __future__ import annotations

import http.client
import os
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from segpipe.errors import StorageError
from segpipe.storage.failures import MACHINE_SERVICE
from segpipe.storage.gcs_options import MACHINE
from segpipe.storage.store_options import StoreOptions

_SECONDS = 1.0
_LOGIN = ".config/gcloud/application_default_credentials.json"
_AZURE_NAMED = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_SKIP_SIGNATURE",
)
# Of identities that a cluster or service gives to what runs in it.
_AZURE_GIVEN = ("AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT", "MSI_ENDPOINT")


def with_identity(scheme: str, options: StoreOptions) -> StoreOptions:
    """The options, with what is needed to be who the machine is.

    Raises:
        StorageError: if nobody is named, and the machine has no identity.
    """
    if scheme == "gs" and options.filesystem["token"] in MACHINE:
        if not (os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or _google()):
            raise StorageError(
                "no usable credentials were found for Google Cloud Storage: name a key file in "
                "GOOGLE_APPLICATION_CREDENTIALS or as `token` in storage_options, log in with "
                "`gcloud auth application-default login`, or give the machine a service account"
            )
    elif scheme == "az" and not _any(_AZURE_NAMED, options.object_store):
        if _any(_AZURE_GIVEN, os.environ) or _azure():
            return options
        if shutil.which("az") is None:
            raise StorageError(
                "no usable credentials were found for Azure: set AZURE_STORAGE_CONNECTION_STRING, "
                "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID, "
                "AZURE_CLIENT_SECRET and AZURE_TENANT_ID, log in with `az login`, or give the "
                "machine an identity"
            )
        return options._replace(
            object_store={**options.object_store, "AZURE_USE_AZURE_CLI": "true"}
        )
    return options


def _any(names: tuple[str, ...], values: Mapping[str, str]) -> bool:
    return any(values.get(name) for name in names)


@cache
def _google() -> bool:
    if Path.home().joinpath(_LOGIN).is_file():
        return True
    host = os.environ.get("GCEMACHINE_SERVICE_HOST") or MACHINE_SERVICE
    said = _answer(host, "/computeMetadata/v1/", {"Metadata-Flavor": "Google"})
    return said is not None and said.headers.get("Metadata-Flavor") == "Google"


@cache
def _azure() -> bool:
    host = os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or MACHINE_SERVICE
    said = _answer(
        host.removeprefix("http://"),
        "/metadata/instance?api-version=2021-02-01",
        {"Metadata": "true"},
    )
    return said is not None and said.status == 200


def _answer(host: str, path: str, headers: Mapping[str, str]) -> http.client.HTTPResponse | None:
    connection = http.client.HTTPConnection(host, timeout=_SECONDS)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
