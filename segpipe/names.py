"""Names that look the same and are not: ids and labels as different tools spell them.

macOS decomposes letters with accents, spreadsheets leave blanks and line ends, the web adds
zero-width characters. Names are never changed; these functions find and show the difference.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

# Conjoining letters of Korean, which a decomposed name has in place of syllables.
_JAMO = range(0x1100, 0x1200)
# Categories: control and format characters, separators of lines and paragraphs.
_INVISIBLE = ("Cc", "Cf", "Zl", "Zp")
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")


def folded(name: str) -> str:
    """The name composed (NFC), without invisible characters and blanks at its ends.

    Names that fold to the same look the same, or nearly so.
    """
    if name.isascii() and name.isprintable():
        return name.strip()
    visible = "".join(c for c in name if unicodedata.category(c) not in _INVISIBLE)
    return unicodedata.normalize("NFC", visible).strip()


def shown(name: str) -> str:
    """The name in quotes, with what one cannot see escaped: ``'cafe\\u0301'``, ``'a\\u200b'``."""
    text = repr(name)
    if name.isascii() or unicodedata.is_normalized("NFC", name):
        return text
    escaped = "".join(
        c.encode("ascii", "backslashreplace").decode() if _is_part_of_letter(c) else c for c in text
    )
    return ascii(name) if escaped == text else escaped


def visible(text: str) -> str:
    """Text with what one cannot see escaped, for paths and URLs, which messages do not quote."""
    composed = text.isascii() or unicodedata.is_normalized("NFC", text)
    if composed and text.isprintable():
        return text
    return "".join(
        ascii(c)[1:-1] if not c.isprintable() or (not composed and _is_part_of_letter(c)) else c
        for c in text
    )


def _is_part_of_letter(c: str) -> bool:
    """Whether a character joins the one before it, where a composed name has a single one."""
    return bool(unicodedata.combining(c)) or ord(c) in _JAMO


def stem(name: str) -> str:
    """A name without its file extension."""
    return _EXTENSION.sub("", name)


class Looks:
    """Known names by their looks, to find the one that was meant by a name that is not known."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_look: dict[str, str] = {}
        for name in names:
            self._by_look.setdefault(_look(name), name)

    def alike(self, name: str) -> str | None:
        """The name that differs only in what :func:`folded` takes away, in letter case, or in
        leading zeros of a number; None if there is none."""
        found = self._by_look.get(_look(name))
        return None if found == name else found

    def nearest(self, name: str, cutoff: float = 0.6) -> str | None:
        """The name whose look is spelled most like this one's; None if all are very different.

        Args:
            cutoff: 1 for the same look only, 0 for whatever there is.
        """
        close = difflib.get_close_matches(_look(name), self._by_look, n=1, cutoff=cutoff)
        return self._by_look[close[0]] if close else None


def _look(name: str) -> str:
    return _LEADING_ZEROS.sub("", folded(name).casefold())
