"""Removes possible secrets from URLs and messages."""

from __future__ import annotations

import re
from collections.abc import Mapping

_USER_INFORMATION = re.compile(r"^(?:[^/@?#]*@|[^/@?#:]*:[^@]*@)")
# Azure's URLs name the container where others have a user: abfss://container@account.dfs...
_CONTAINERS = ("abfs", "abfss", "az", "azure")
_CONTAINER = re.compile(r"[a-z0-9$-]{1,63}@[A-Za-z0-9.-]+(?:[/?#]|$)")


def redacted(url: str) -> str:
    """The URL without what may be a secret: query, fragment and user information.

    A ``#`` or ``?`` in a plain path is part of a file's name and stays.
    """
    if "://" not in url:
        return url
    # By hand: a URL that the library refuses to split may hold a secret all the same, and a
    # password may hold any character.
    scheme, _, rest = url.partition("://")
    if scheme.lower() in _CONTAINERS and _CONTAINER.match(rest):
        container, _, rest = rest.partition("@")
        scheme = f"{scheme}://{container}@"
    else:
        rest = _USER_INFORMATION.sub("", rest)
        scheme = f"{scheme}://"
    bare, question, _ = rest.partition("?")
    return f"{scheme}{bare.partition('#')[0]}" + ("?..." if question else "")


def told(value: object) -> str:
    """A value of a settings file in a message that refuses it; what may be a secret is left out."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return f"[{', '.join(map(told, value))}]"
    if not isinstance(value, str):
        return repr(value)
    # Also where what is wrong with a URL is that it has no scheme.
    bare = redacted(value) if "://" in value else value.rpartition("@")[2]
    return repr(bare) if bare == value else f"{bare!r} with a user, query or fragment"


# What may be a secret in the words of a library's error: user information, but no container of
# Azure's, query strings, and the key and signature of a connection string.
SECRETS = re.compile(
    r"(?<=//)(?![a-z0-9$-]{1,63}@\w+\.(?:dfs|blob)\.)[^/@\s]+@"
    r"|\?\S+|(?i:(?:AccountKey|SharedAccessSignature)=[^;\s]+)"
)
