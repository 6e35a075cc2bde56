"""Removes possible secrets from URLs and messages."""

from __future__ import annotations

import re

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


# What may be a secret in the words of a library's error: user information, but no container of
# Azure's, query strings, and the key and signature of a connection string.
SECRETS = re.compile(
    r"(?<=//)(?![a-z0-9$-]{1,63}@\w+\.(?:dfs|blob)\.)[^/@\s]+@"
    r"|\?\S+|(?i:(?:AccountKey|SharedAccessSignature)=[^;\s]+)"
)
