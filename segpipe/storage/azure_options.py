"""Azure's blob storage in the words of adlfs and of object_store; see ``store_options``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from segpipe.errors import SettingsError

_PUBLIC = "core.windows.net"
# Azurite's account, the same everywhere.
_EMULATED = {
    "AccountName": "devstoreaccount1",
    "AccountKey": (
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    ),
}
_STRING = "AZURE_STORAGE_CONNECTION_STRING"
# adlfs's name -> the variables that mean it, of which the first goes to object_store.
_NAMES = {
    "account_name": ("AZURE_STORAGE_ACCOUNT_NAME",),
    "account_key": (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_MASTER_KEY",
    ),
    "sas_token": ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
    "client_id": ("AZURE_STORAGE_CLIENT_ID", "AZURE_CLIENT_ID"),
    "client_secret": ("AZURE_STORAGE_CLIENT_SECRET", "AZURE_CLIENT_SECRET"),
    "tenant_id": ("AZURE_STORAGE_TENANT_ID", "AZURE_TENANT_ID"),
    "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    "emulator": ("AZURE_STORAGE_USE_EMULATOR",),
}
_SERVICE = ("client_id", "client_secret", "tenant_id")
# What decides who asks; the first that is there, in both libraries.
_CREDENTIALS = ("account_key", "client_secret", "sas_token")
#: In object_store's options: it goes to where the variable EMULATOR_PLACE says, and nowhere else.
EMULATOR, EMULATOR_PLACE = "AZURE_STORAGE_USE_EMULATOR", "AZURITE_BLOB_STORAGE_URL"
_FALSE = ("", "0", "f", "false")


class _Said(NamedTuple):
    """What was said, by adlfs's names, and by whom."""

    values: dict[str, str]
    by_environment: bool


def azure_options(
    url: str, given: Mapping[str, Any], own: Mapping[str, str], environment: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Options for adlfs and for object_store.

    Args:
        url: may name the account, ``abfss://container@account.dfs.core.windows.net/...``.
        given: in adlfs's words.
        own: in object_store's, which go through.

    Raises:
        SettingsError: if no account is named or several are, or one library cannot be told.
    """
    if given.get("credential") is not None:
        raise SettingsError(
            "`credential` in storage_options reaches the masks, but not the catalog's table: name "
            "account_key, sas_token, or client_id, client_secret and tenant_id instead"
        )
    said = _said(given, own, environment)
    account, endpoint = _account(url, said.values)
    values = said.values
    kind = next((name for name in _CREDENTIALS if values.get(name)), None)
    _check_variables(kind, said, environment)
    options = {"AZURE_STORAGE_ACCOUNT_NAME": account}
    if endpoint:
        options["AZURE_STORAGE_ENDPOINT"] = endpoint
        if kind == "account_key" and endpoint.endswith(f"/{account}"):
            # Emulators name the account in the path. Their listings begin at the beginning
            # wherever they are told to, which object_store has to know.
            options[EMULATOR] = "true"
        if endpoint.startswith("http://"):
            options["AZURE_ALLOW_HTTP"] = "true"
    asked = _SERVICE if kind == "client_secret" else (kind,) if kind else ()
    options |= {_NAMES[name][0]: values[name] for name in asked if values.get(name)}
    anonymous = kind is None and str(given.get("anon") or environment.get("AZURE_STORAGE_ANON", ""))
    if anonymous and anonymous.lower() not in _FALSE:
        options["AZURE_SKIP_SIGNATURE"] = "true"
    elif kind is None and endpoint and endpoint.startswith("http://"):
        raise SettingsError(
            f"{endpoint} needs account_key or sas_token in storage_options: identities of Azure "
            "are sent over https alone"
        )
    filesystem = {k: v for k, v in given.items() if k not in ("connection_string", *_NAMES)}
    filesystem |= _filesystem(account, endpoint, kind, values)
    passed = {name: value for name, value in own.items() if name not in _ALL_NAMES}
    return filesystem, {**options, **passed}


def _filesystem(
    account: str, endpoint: str | None, kind: str | None, values: Mapping[str, str]
) -> dict[str, Any]:
    """For adlfs, which takes an endpoint in a connection string only, and one from the environment
    before what it is given."""
    place = endpoint or f"https://{account}.blob.{_PUBLIC}"
    if kind == "account_key":
        return {
            "connection_string": f"AccountName={account};AccountKey={values['account_key']};"
            f"BlobEndpoint={place}"
        }
    if kind == "sas_token":
        signature = values["sas_token"].removeprefix("?")
        return {"connection_string": f"BlobEndpoint={place};SharedAccessSignature={signature}"}
    options: dict[str, Any] = {"account_name": account}
    if endpoint:
        options["account_host"] = endpoint.partition("://")[2]
    if kind == "client_secret":
        options |= {name: values[name] for name in _SERVICE if values.get(name)}
    return options


_ALL_NAMES = {_STRING, *(variable for variables in _NAMES.values() for variable in variables)}


def _said(
    given: Mapping[str, Any], own: Mapping[str, str], environment: Mapping[str, str]
) -> _Said:
    words = {name: str(given[name]) for name in _NAMES if given.get(name) is not None}
    words = {**_variables(own), **words}
    if given.get("account_host"):
        words["endpoint"] = f"https://{given['account_host']}"
    string = given.get("connection_string") or own.get(_STRING)
    if string:
        return _Said({**words, **_connection(str(string), "connection_string")}, False)
    variables = _variables(environment)
    if any(words.get(name) for name in (*_CREDENTIALS, "emulator")) or given.get("anon"):
        for name in (*_CREDENTIALS, "client_id", "tenant_id", "emulator"):
            variables.pop(name, None)  # who asks is said by one place
        return _Said(_emulated({**variables, **words}, environment), False)
    if environment.get(_STRING):
        connected = _connection(environment[_STRING], _STRING)
        _check_same(words.get("account_name"), connected["account_name"], _STRING)
        return _Said({**words, **connected}, True)
    return _Said(_emulated({**variables, **words}, environment), True)


def _variables(names: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for word, variables in _NAMES.items():
        value = next((names[name] for name in variables if names.get(name)), None)
        if value is not None:
            found[word] = value
    return found


def _emulated(values: dict[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    if values.pop("emulator", "").lower() in _FALSE:
        return values
    server = environment.get(EMULATOR_PLACE) or "http://127.0.0.1:10000"
    account = values.get("account_name") or _EMULATED["AccountName"]
    return {
        "account_key": _EMULATED["AccountKey"],
        "endpoint": f"{server.rstrip('/')}/{account}",
        **values,
        "account_name": account,
    }


def _connection(string: str, named: str) -> dict[str, str]:
    """What a connection string says.

    Raises:
        SettingsError: if it is none; it is not shown, since it holds a secret.
    """
    parts = {
        name.strip().lower(): value.strip()
        for name, equals, value in (part.partition("=") for part in string.split(";"))
        if equals
    }
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        return _emulated({"emulator": "true"}, {})
    key, signature = parts.get("accountkey"), parts.get("sharedaccesssignature")
    endpoint = parts.get("blobendpoint")
    account = parts.get("accountname") or _account_of(endpoint or "")
    if not account or not (key or signature):
        raise SettingsError(
            f"{named} is no connection string of Azure's: it names AccountName and AccountKey, or "
            "BlobEndpoint and SharedAccessSignature, with ';' in between"
        )
    suffix = parts.get("endpointsuffix") or _PUBLIC
    protocol = parts.get("defaultendpointsprotocol") or "https"
    if endpoint is None and (suffix, protocol) != (_PUBLIC, "https"):
        endpoint = f"{protocol}://{account}.blob.{suffix}"
    values = {"account_name": account, "endpoint": endpoint, "account_key": key}
    if not key:
        values["sas_token"] = signature
    return {name: value.rstrip("/") for name, value in values.items() if value}


def _account_of(endpoint: str) -> str:
    """The account of ``https://account.blob...`` or ``http://127.0.0.1:10000/account``."""
    host, _, path = endpoint.partition("://")[2].partition("/")
    return host.partition(".")[0] if ".blob." in host else path.strip("/")


def _account(url: str, values: Mapping[str, str]) -> tuple[str, str | None]:
    """The account's name, and its endpoint where it is not that of Azure's public cloud."""
    authority = url.partition("://")[2].partition("/")[0]
    host = authority.rpartition("@")[2] if "@" in authority else ""
    name, _, domain = host.partition(".")
    endpoint = values.get("endpoint", "").rstrip("/")
    if name:
        _check_same(name, values.get("account_name"), "the settings or the environment")
        cloud = domain.partition(".")[2]
        if not endpoint and cloud != _PUBLIC:
            endpoint = f"https://{name}.blob.{cloud}"
    account = name or values.get("account_name") or _account_of(endpoint)
    if not account:
        raise SettingsError(
            "the container's storage account at Azure is not named: set "
            f"AZURE_STORAGE_ACCOUNT_NAME or {_STRING}, or write "
            f"abfss://container@account.dfs.{_PUBLIC}/..."
        )
    return account, None if endpoint == f"https://{account}.blob.{_PUBLIC}" else endpoint or None


def _check_same(one: str | None, other: str | None, place: str) -> None:
    if one and other and one != other:
        raise SettingsError(
            f"two accounts of Azure's are named: {one}, and {other} by {place}. Masks and catalog "
            "would be in different ones: name one of them"
        )


def _check_variables(kind: str | None, said: _Said, environment: Mapping[str, str]) -> None:
    """Refuse variables that a library would read before what was chosen."""
    if said.by_environment:
        return
    before = _CREDENTIALS[: _CREDENTIALS.index(kind)] if kind else _CREDENTIALS
    in_the_way = [v for name in before for v in _NAMES[name] if environment.get(v)]
    if kind not in ("account_key", "sas_token") and environment.get(_STRING):
        in_the_way.append(_STRING)
    if in_the_way:
        raise SettingsError(
            f"storage_options has credentials for Azure, but the libraries take {in_the_way[0]} "
            "from the environment first: unset it, or remove those in storage_options"
        )
