"""Removes possible secrets from URLs and messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from segpipe.errors import SettingsError

# To the last @: a password may hold any character.
_USER_INFORMATION = re.compile(r"^(?:[^/?#]*@|[^/@?#:]*:.*@)", re.DOTALL)
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
    bare = _bare(value)
    return repr(bare) if bare == value else f"{bare!r} with a user, query or fragment"


@contextmanager
def refusals_without_secrets(given: object) -> Iterator[None]:
    """Leave what may be a secret out of refusals of a settings file's values, whoever words them.

    Args:
        given: the file, or a part of it, as TOML has it.

    Raises:
        SettingsError: what was raised within, without the secrets among the values and keys.
    """
    try:
        yield
    except SettingsError as error:
        words = str(error)
        # The longest first: one may be the beginning of another.
        for text, bare in sorted(_secrets(given), key=lambda one: len(one[0]), reverse=True):
            words = words.replace(text, bare)
        if words != str(error):
            raise type(error)(words) from None
        raise


# What may be a secret in the words of a library's error: user information, but no container of
# Azure's, query strings, and the key and signature of a connection string.
SECRETS = re.compile(
    r"(?<=//)(?![a-z0-9$-]{1,63}@\w+\.(?:dfs|blob)\.)[^/@\s]+@"
    r"|\?\S+|(?i:(?:AccountKey|SharedAccessKey|SharedAccessSignature)=[^;\s]+)"
)
# A key whose value is one, such as `api_key`, and not `keyboard`.
_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:key|secret|token|pass|passwd|password|credentials?|signature|sas)(?:$|[_.-])",
    re.IGNORECASE,
)


def _bare(text: str) -> str:
    """A text without what may be a secret, also where what is wrong with a URL is its scheme."""
    if "://" in text:
        return redacted(text)
    user, at, rest = text.rpartition("@")
    return f"{'...' if user else ''}{at}{SECRETS.sub('...', rest)}"


def _secrets(given: object) -> Iterator[tuple[str, str]]:
    """Texts within a value that may be secrets, as messages have them, and what is said instead."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            yield from _secrets(key)
            yield from _secrets(value)
            if isinstance(value, str) and _SECRET_KEY.search(str(key)):
                yield repr(value), "'...'"
    elif isinstance(given, list):
        for member in given:
            yield from _secrets(member)
    elif isinstance(given, str) and (bare := _bare(given)) != given:
        yield given, bare
        yield repr(given)[1:-1], bare
