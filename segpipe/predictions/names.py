"""Names that look the same and are not: ids and labels as different tools spell them.

macOS decomposes letters with accents, spreadsheets leave blanks and line ends, the web adds
zero-width characters. Names are never changed; these functions find and show the difference.
"""

from __future__ import annotations

import unicodedata

# Conjoining letters of Korean, which a decomposed name has in place of syllables.
_JAMO = range(0x1100, 0x1200)
# Categories: control and format characters, separators of lines and paragraphs.
_INVISIBLE = ("Cc", "Cf", "Zl", "Zp")


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
        c.encode("ascii", "backslashreplace").decode()
        if unicodedata.combining(c) or ord(c) in _JAMO
        else c
        for c in text
    )
    return ascii(name) if escaped == text else escaped
