"""The notebook in ``examples/``: what is stored in it is what a run of it gives."""

from __future__ import annotations

import base64
import io
import re

import nbformat
import pytest
from nbformat import NotebookNode
from PIL import Image

from tests.fixtures.notebooks import executed, outputs, texts
from tests.fixtures.places import PROJECT

NOTEBOOK = PROJECT / "examples" / "first_predictions.ipynb"
_MOST_BYTES = 300_000
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@pytest.fixture
def stored() -> NotebookNode:
    """The notebook as it is under version control."""
    return nbformat.read(NOTEBOOK, as_version=4)


def same(word: str, other: str) -> bool:
    """Whether two words are equal; of numbers with decimals, almost: processors round otherwise."""
    one, two = (_NUMBER.search(text) for text in (word, other))
    if one is None or two is None or not (one[1] and two[1]):
        return word == other
    around = (word[: one.start()] + word[one.end() :], other[: two.start()] + other[two.end() :])
    return around[0] == around[1] and float(one[0]) == pytest.approx(float(two[0]), abs=0.02)


def pictures(node: NotebookNode) -> list[Image.Image]:
    """The pictures among its outputs."""
    encoded = [
        one.data["image/png"] for _, one in outputs(node) if "image/png" in one.get("data", {})
    ]
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in encoded]


def test_the_stored_notebook_was_run_once_from_beginning_to_end(stored: NotebookNode) -> None:
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == [*range(1, len(counts) + 1)]
    kinds = {output.output_type for _, output in outputs(stored)}
    assert kinds == {"stream", "execute_result"}
    assert all(one.name == "stdout" for _, one in outputs(stored) if one.output_type == "stream")
    assert len(pictures(stored)) == 1


def test_the_stored_notebook_is_small_and_names_no_place_of_a_machine(stored: NotebookNode) -> None:
    text = NOTEBOOK.read_text("utf-8")
    assert len(text.encode()) < _MOST_BYTES
    for _, output in outputs(stored):
        assert not re.search(r"/(tmp|home|root|Users|var)\b", str({**output}.get("text", "")))
    assert {*stored.metadata} == {"kernelspec", "language_info"}


@pytest.mark.slow
def test_a_new_run_prints_and_draws_what_is_stored(stored: NotebookNode) -> None:
    anew = executed(NOTEBOOK)
    told, tells = texts(stored), texts(anew)
    assert told.keys() == tells.keys()
    for cell, words in told.items():
        assert len(words) == len(tells[cell]), cell
        differing = [pair for pair in zip(words, tells[cell], strict=True) if not same(*pair)]
        assert differing == [], cell
    assert [one.size for one in pictures(anew)] == [one.size for one in pictures(stored)]


def test_the_story_it_tells_is_the_one_that_came_out(stored: NotebookNode) -> None:
    words = {cell: " ".join(found) for cell, found in texts(stored).items()}
    assert "VALUE-NO-SEGMENT" in words["refused"]
    assert words["materialize"].count("8 accepted") == 3
    assert re.search(r"\bunchanged\b.*\b8\b", words["again"])
    assert re.search(r"\bmIoU \S+ \S+ \+[\d.]+ \+[\d.]+ to \+", words["comparison"])  # better
    assert words["undone"].startswith("8 predictions taken back; 16 are published 24 are published")
