"""Removes possible secrets from URLs and messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

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
    if bare == value:
        return repr(value)
    held = "a key or signature" if _CONNECTION.search(value) else "a user, query or fragment"
    return f"{bare!r} with {held}"


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
        for one in sorted(_secrets(given), key=lambda one: len(one.text), reverse=True):
            words = one.left_out_of(words)
        if words != str(error):
            raise type(error)(words) from None
        raise


_USER = r"(?<=//)(?![a-z0-9$-]{1,63}@\w+\.(?:dfs|blob)\.)[^/@\s]+@"
_CONNECTION = re.compile(r"(?i:(?:AccountKey|SharedAccessKey|SharedAccessSignature)\s*=\s*[^;\s]+)")
# What may be a secret in the words of a library's error: user information, but no container of
# Azure's, query strings, and the key and signature of a connection string.
SECRETS = re.compile(rf"{_USER}|\?\S+|{_CONNECTION.pattern}")
# A key whose value is one, such as `api_key`, and not `keyboard`.
_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:(?:api|access|account|private|secret)?keys?|secrets?|tokens?|pass|passwd"
    r"|passwords?|passphrase|credentials?|signature|sas)(?:$|[_.-])",
    re.IGNORECASE,
)
# Where words of camelCase meet: account|Key, API|Key.
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Tables whose keys are names that people chose: a label `key` says nothing of its value.
_TABLES_OF_NAMES = frozenset({"taxonomy", "ignore_values", "colours", "model_runs", "metadata"})
# Names may have an @ or a question mark: of a key, only what cannot be one is left out.
_SECRET_IN_NAME = re.compile(rf"://|:.*@|\?[^\s?=]+=|{_CONNECTION.pattern}", re.DOTALL)


def _bare(text: str) -> str:
    """A text without what may be a secret, also where what is wrong with a URL is its scheme."""
    text = _CONNECTION.sub("...", text)  # first: it may hold a URL, and stand before it or after
    if "://" in text:
        before, _, rest = redacted(text).partition("://")
        return f"{_bare(before)}://{re.sub(_USER, '...', rest)}"  # of URLs after the first one
    user, at, rest = text.rpartition("@")
    return f"{'...' if user else ''}{at}{SECRETS.sub('...', rest)}"


class _Secret(NamedTuple):
    """A text that may be a secret, as messages have it, and what is said instead."""

    text: str
    bare: str
    number: bool = False

    def left_out_of(self, words: str) -> str:
        if not self.number:
            return words.replace(self.text, self.bare)
        # As a word of its own: the same digits may be in a path, or in another number.
        word = rf"(?<![\w./-]){re.escape(self.text)}(?![\w/-]|\.\d)"
        return re.sub(word, self.bare, words)


def _secrets(given: object, *, hidden: bool = False, named: bool = False) -> Iterator[_Secret]:
    """What may be a secret in a value of a settings file.

    Args:
        hidden: the value stands under a key whose values are secrets.
        named: it is a table whose keys are names.
    """
    if isinstance(given, Mapping):
        for key, value in given.items():
            name = str(key)
            if _SECRET_IN_NAME.search(name):
                yield from _secrets(name)
            secret = not named and _SECRET_KEY.search(_CAMEL.sub("_", name)) is not None
            yield from _secrets(value, hidden=hidden or secret, named=name in _TABLES_OF_NAMES)
    elif isinstance(given, list):
        for member in given:
            yield from _secrets(member, hidden=hidden)
    elif isinstance(given, str):
        bare = _bare(given)
        if bare != given:
            yield _Secret(given, bare)
            yield _Secret(repr(given)[1:-1], bare)
        if hidden:
            yield _Secret(repr(given), "'...'")
            yield _Secret(repr(bare), "'...'")
    elif hidden and not isinstance(given, bool):
        yield _Secret(repr(given), "...", number=True)
