"""Removes possible secrets from URLs and messages."""

from __future__ import annotations

import re

_USER_INFORMATION = re.compile(r"^(?:[^/@?#]*@|[^/@?#:]*:[^@]*@)")


def redacted(url: str) -> str:
    """The URL without what may be a secret: query, fragment and user information.

    A ``#`` or ``?`` in a plain path is part of a file's name and stays.
    """
    if "://" not in url:
        return url
    # By hand: a URL that the library refuses to split may hold a secret all the same, and a
    # password may hold any character.
    scheme, _, rest = url.partition("://")
    rest = _USER_INFORMATION.sub("", rest)
    bare, question, _ = rest.partition("?")
    return f"{scheme}://{bare.partition('#')[0]}" + ("?..." if question else "")


# What may be a secret in the words of a library's error: user information and query strings.
SECRETS = re.compile(r"(?<=//)[^/@\s]+@|\?\S+")
