"""Label maps as other tools and people write them: read where they have one meaning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segpipe.errors import SegpipeError
from segpipe.formats.label_map import read_colour_table, read_label_map

CVAT = """# label:color_rgb:parts:actions
background:0,0,0::
Cat:48,112,32::
traffic: light:176,112,32::
"""


def labels_of(path: Path, content: str | bytes | object) -> dict[int, str]:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return {index: entry.label for index, entry in read_label_map(path).items()}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("excel.csv", "index;label\r\n0;wall\r\n1;sky\r\n"),
        ("tabs.tsv", "index\tlabel\n0\twall\n1\tsky\n"),
        ("tabs.txt", "index\tlabel\n0\twall\n1\tsky\n"),
        ("UPPER.CSV", "index,label\n0,wall\n1,sky\n"),
        ("utf16.csv", "index,label\n0,wall\n1,sky\n".encode("utf-16")),
        ("no-names.csv", "0,wall\n1,sky\n"),
        ("floats.csv", "index,label\n0.0,wall\n1.0,sky\n"),
        ("trailing.csv", "index,label,\n0,wall,\n1,sky,\n\n"),
        ("config.json", {"architectures": ["Segformer"], "id2label": {"0": "wall", "1": "sky"},
                         "label2id": {"wall": 0, "sky": 1}}),
        ("label2id.json", {"wall": 0, "sky": 1}),
        ("coco.json", {"categories": [{"id": 0, "name": "wall"}, {"id": 1, "name": "sky"}]}),
    ],
)  # fmt: skip
def test_label_maps_of_other_tools_are_read(tmp_path: Path, name: str, content: object) -> None:
    assert labels_of(tmp_path / name, content) == {0: "wall", 1: "sky"}


def test_a_label_may_hold_separators_and_line_ends_in_quotation_marks(tmp_path: Path) -> None:
    content = 'index,label\n0,"a, b"\n1,"c;d"\n2,"e\nf"\n'
    assert labels_of(tmp_path / "map.csv", content) == {0: "a, b", 1: "c;d", 2: "e\nf"}


def test_a_label_is_never_cut_at_a_separator(tmp_path: Path) -> None:
    with pytest.raises(SegpipeError, match=r"line 2: 3 cells for 2 columns.*quotation marks"):
        labels_of(tmp_path / "map.csv", "index,label\n0,road, wet\n")


def test_the_label_map_of_cvat_is_a_colour_table(tmp_path: Path) -> None:
    path = tmp_path / "labelmap.txt"
    path.write_text(CVAT)
    found = {entry.label: entry.colour for entry in read_colour_table(path)}
    assert found == {
        "background": (0, 0, 0), "Cat": (48, 112, 32), "traffic: light": (176, 112, 32),
    }  # fmt: skip
    with pytest.raises(SegpipeError, match="it has a colour: import with colour-map --colours"):
        read_label_map(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "wall\nsky\n"),
        ("map.yaml", "names:\n  0: wall\n 1: sky\n"),
        ("list.json", ["wall", "sky"]),
        ("cut.json", '{"0": "wall", '),
        ("wrong.csv", "number;meaning\n0;wall\n"),
        ("cut.txt", CVAT.replace("Cat:48,112,32::", "Cat")),
    ],
)
def test_a_label_map_that_is_not_read_lists_the_forms_that_are(
    tmp_path: Path, name: str, content: object
) -> None:
    with pytest.raises(SegpipeError, match=name) as raised:
        labels_of(tmp_path / name, content)
    if name != "cut.txt":
        assert "id2label" in str(raised.value)
        assert "index,label" in str(raised.value)


def test_text_of_another_encoding_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(SegpipeError, match=r"byte 0xdf at 18.*save it as UTF-8"):
        labels_of(tmp_path / "map.csv", "index,label\n0,Straße\n".encode("latin-1"))
