"""Names that look the same and are not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.names import folded, shown


@given(st.text(max_size=8), st.text(max_size=8))
def test_names_that_differ_are_shown_differently_if_they_look_the_same(a: str, b: str) -> None:
    for other in (b, unicodedata.normalize("NFD", a), f"{a}\u200b", f" {a}", f"{a}\n"):
        if a != other:
            assert shown(a) != shown(other)


@given(st.text(max_size=8))
def test_folding_takes_away_what_cannot_be_seen(name: str) -> None:
    look = folded(name)
    assert folded(look) == look
    assert folded(unicodedata.normalize("NFD", look)) == look
    assert folded(f"\ufeff {look}\u200b\r\n") == look


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Straße", "'Straße'"),
        ("Mu\u0308ller", "'Mu\\u0308ller'"),
        ("a\u200bb", "'a\\u200bb'"),
        ("a\n", "'a\\n'"),
        ("\u212b", "'\\u212b'"),
        ("\u1112\u1161\u11ab", "'\\u1112\\u1161\\u11ab'"),
        ("กำลัง", "'กำลัง'"),
    ],
)
def test_what_one_cannot_see_is_escaped(name: str, text: str) -> None:
    assert shown(name) == text
