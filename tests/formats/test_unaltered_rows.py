"""What is added to a manifest arrives as it was given, or its item is refused by name."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from segpipe import ManifestWriter, Segment
from segpipe.errors import ManifestError
from segpipe.manifests.partition import Partition
from segpipe.root import Root

PARTITION = Partition("unet", "2026-01-05")
TWO = np.array([[0, 1], [1, 1]], np.uint8)
SEGMENTS = [Segment("Road", 0), Segment("Person", 1)]
NOON = dt.datetime(2026, 1, 5, 12, 0, 0, 123456)
TOKYO = dt.timezone(dt.timedelta(hours=9))


def writer(root: Path, **how: Any) -> ManifestWriter:
    return ManifestWriter(root, PARTITION.model_run, PARTITION.date, **how)


def column(root: Path, name: str) -> list[Any]:
    (path,) = root.rglob("*.parquet")
    values: list[Any] = pq.read_table(path, partitioning=None)[name].to_pylist()
    return values


def held(root: Path, values: list[Any], **how: Any) -> list[Any]:
    """The values of a carried column, as they are read back."""
    with writer(root, **how) as manifest:
        for number, value in enumerate(values):
            manifest.add(f"item-{number}", TWO, SEGMENTS, value=value)
    return column(root, "value")


# --- whole numbers


@pytest.mark.parametrize(
    "one", [1, np.int64(1), np.uint8(1), 1.0, np.float32(1), Decimal("1"), Decimal("1.0"),
            np.array(1), np.bool_(True).astype(np.int8)]
)  # fmt: skip
def test_a_whole_number_in_other_clothes_is_taken(tmp_path: Path, one: Any) -> None:
    with writer(tmp_path) as manifest:
        segments = [Segment("Road", 0), Segment("Person", one)]
        manifest.add("a", TWO, segments, height=one, width=one, check=False)
    assert [segment["index"] for segment in column(tmp_path, "segments")[0]] == [0, 1]
    assert column(tmp_path, "height") == column(tmp_path, "width") == [1]


@pytest.mark.parametrize(
    "value",
    [1.7, np.float32(1.9), -0.5, Decimal("0.5"), math.nan, math.inf, True, "1", None, 2**40, [1],
     Decimal("NaN")],
)  # fmt: skip
def test_what_is_no_whole_number_is_refused_with_item_and_value(tmp_path: Path, value: Any) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("good", TWO, SEGMENTS)
        with pytest.raises(ManifestError, match=r"index of Segment 'Person' of 'bad'"):
            manifest.add("bad", TWO, [Segment("Road", 0), Segment("Person", value)])
        if value is not None:
            with pytest.raises(ManifestError, match=r"height of 'bad'"):
                manifest.add("bad", TWO, SEGMENTS, height=value, width=2)
    assert column(tmp_path, "reference_id") == ["good"]


# --- carried columns


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (1, 0.465),
        (None, "rainy"),
        (None, 3),
        ([], [1]),
        ([1], [0.5, None]),
        ({"a": 1}, {"a": 0.5, "b": ["x"]}),
        (1, 2**64 - 1),
        (Decimal("1.5"), Decimal("1000.25")),
        (3, Decimal("0.25")),
        (dt.datetime(2026, 1, 5, 8, tzinfo=TOKYO), dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC)),
    ],
)
def test_a_column_widens_after_rows_that_are_no_longer_in_memory(
    tmp_path: Path, first: Any, then: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segpipe.manifests.writer._ROWS_PER_GROUP", 3)
    back = held(tmp_path, [first] * 4 + [then] * 4 + [first])
    assert back[0] == first or (first, back[0]) == ({"a": 1}, {"a": 1, "b": None})
    assert back[-1] == back[0]
    assert back[4] == back[7] == then


def test_a_column_that_widens_is_validated_and_carried(tmp_path: Path) -> None:
    held(tmp_path, [1] * 2001 + [0.465])
    root = Root.open(str(tmp_path))
    assert root.materialize(PARTITION).accepted == 2002
    values = [
        value
        for batch in root.validated(PARTITION).batches(5000)
        for value in batch.rows["value"].to_pylist()
    ]
    assert values == [1.0] * 2001 + [0.465]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int32(), 0.7),
        (pa.int32(), True),
        (pa.int8(), 300),
        (pa.date32(), NOON),
        (pa.timestamp("s"), NOON),
        (pa.timestamp("us", "UTC"), NOON),
        (pa.timestamp("us"), NOON.replace(tzinfo=TOKYO)),
        (pa.decimal128(5, 2), Decimal("1.234")),
        (pa.list_(pa.int32()), [1, 0.5]),
        (pa.float32(), 1e300),
    ],
)
def test_a_declared_type_takes_nothing_it_would_change(
    tmp_path: Path, kind: pa.DataType, value: Any
) -> None:
    with pytest.raises(ManifestError, match=r"'item-0': value is .*expected .*as the column was"):
        held(tmp_path, [value], carried={"value": kind})


def test_a_declared_type_takes_what_it_holds(tmp_path: Path) -> None:
    assert held(tmp_path / "a", [1.0, np.int64(2)], carried={"value": pa.int32()}) == [1, 2]
    assert held(tmp_path / "b", [0.1], carried={"value": pa.float32()}) == [np.float32(0.1)]
    midnight = NOON.replace(microsecond=0)
    assert held(tmp_path / "c", [midnight], carried={"value": pa.timestamp("s")}) == [midnight]


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        (1, "n/a", "expected a whole number as in the rows before, and text"),
        (NOON.replace(tzinfo=TOKYO), NOON, "a time without a zone"),
        (NOON, NOON.replace(tzinfo=TOKYO), "a time with a zone"),
        (True, 1, "true or false"),
        (2**60 + 1, 0.5, "unaltered"),
        (0.5, 2**60 + 1, "unaltered"),
        (-1, 2**63, "unaltered"),
        (Decimal("0.1"), 0.1, "unaltered"),
        (dt.date(2026, 1, 5), NOON, "expected a day"),
        ("a", b"a", "bytes"),
        (1, 2**64, "beyond 64 bits"),
        (1, {}, "an object|unaltered"),
        (None, {}, "an empty object"),
        (None, {1: 2}, "the key 1"),
        (None, object(), "no type for object"),
        (None, {1, 2}, "no type for set"),
        (None, "\ud800", "not valid Unicode"),
        (None, [1, "a"], "several types"),
        (None, Decimal("Infinity"), "no NaN"),
        (None, np.datetime64("2026-01-05T00:00:00.000000001"), "microseconds"),
        (None, dt.time(1, tzinfo=dt.UTC), "zone"),
        (None, dt.timedelta.max, "beyond 64 bits"),
        (None, dt.datetime.min.replace(tzinfo=TOKYO), "Parquet cannot hold it"),
    ],
)
def test_a_value_that_does_not_fit_costs_its_item_alone(
    tmp_path: Path, first: Any, then: Any, words: str
) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("before", TWO, SEGMENTS, value=first)
        with pytest.raises(ManifestError, match=rf"(?s)'bad': value is .*({words})"):
            manifest.add("bad", TWO, SEGMENTS, value=then)
        manifest.add("after", TWO, SEGMENTS, value=first)
    assert column(tmp_path, "reference_id") == ["before", "after"]
    assert column(tmp_path, "value") == [first, first]


def test_what_other_libraries_hold_becomes_pythons(tmp_path: Path) -> None:
    one = uuid.uuid4()
    with writer(tmp_path) as manifest:
        manifest.add(
            one, TWO, SEGMENTS,  # type: ignore[arg-type]
            image_url=Path("images/a.png"), scores=np.float32([0.5, 0.25]), path=Path("x/y"),
            at=np.datetime64("2026-01-05T12:00"), day=np.datetime64("2026-01-05"), job=one,
            count=np.uint16(3), raw=bytearray(b"\0"),
        )  # fmt: skip
    (path,) = tmp_path.rglob("*.parquet")
    (row,) = pq.read_table(path, partitioning=None).to_pylist()
    assert row["reference_id"] == row["job"] == str(one)
    assert (row["image_url"], row["path"], row["raw"]) == ("images/a.png", "x/y", b"\0")
    assert (row["scores"], row["count"]) == ([0.5, 0.25], 3)
    assert (row["at"], row["day"]) == (dt.datetime(2026, 1, 5, 12), dt.date(2026, 1, 5))


_NS = pa.time64("ns")


def _holding(nanoseconds: int) -> list[Any]:
    """A time of day in each type of Arrow's that has a cast to microseconds."""
    times = pa.array([nanoseconds], _NS)
    dictionary = times.dictionary_encode()
    deep = pa.struct([("at", pa.large_list(pa.list_(_NS, 1)))])
    return [
        times[0], times, dictionary[0], dictionary, pa.ListArray.from_arrays([0, 1], dictionary)[0],
        pa.scalar([nanoseconds], pa.list_(_NS)),
        pa.scalar([nanoseconds], pa.large_list(_NS)),
        pa.scalar([nanoseconds], pa.list_(_NS, 1)),
        pa.scalar([(nanoseconds, nanoseconds)], pa.map_(_NS, _NS)),
        pa.scalar({"at": [[nanoseconds]]}, deep),
    ]  # fmt: skip


@pytest.mark.parametrize("place", range(len(_holding(0))), ids=[str(v.type) for v in _holding(0)])
def test_arrows_times_of_day_are_whole_microseconds_or_refused_however_deep(
    tmp_path: Path, place: int
) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("whole", TWO, SEGMENTS, value=_holding(1000)[place])
        with pytest.raises(ManifestError, match="no whole number of microseconds"):
            manifest.add("cut", TWO, SEGMENTS, value=_holding(1001)[place])
    assert "datetime.time(0, 0, 0, 1)" in repr(column(tmp_path, "value"))


@pytest.mark.parametrize(
    "value",
    [
        pa.scalar([1000], pa.list_view(_NS)),
        pa.array([[1000]], pa.list_view(_NS)),
        pa.RunEndEncodedArray.from_arrays([1], pa.array([1000], _NS))[0],
        pa.DictionaryArray.from_arrays([0], pa.array([[1000]], pa.list_(_NS)))[0],
        pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1000], _NS)])[0],
    ],
    ids=lambda value: str(value.type),
)
def test_times_of_day_in_a_type_that_arrow_cannot_cast_are_refused_by_it(
    tmp_path: Path, value: Any
) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("none", TWO, SEGMENTS, value=pa.scalar(None, pa.list_view(_NS)))
        with pytest.raises(ManifestError, match="cannot be cast to microseconds: give lists") as no:
            manifest.add("a", TWO, SEGMENTS, value=value)
    assert str(value.type) in str(no.value)


def test_a_map_of_arrows_is_a_list_of_its_pairs(tmp_path: Path) -> None:
    value = pa.scalar([("a", "b")], pa.map_(pa.string(), pa.string()))
    assert held(tmp_path, [value]) == [[["a", "b"]]]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"mask_url": 1}, "a column of its own"),
        ({"import_findings": 1}, "a column of its own"),
        ({"findings": "none"}, "another name"),
        ({"date": 1, "manifest_date": 2}, "rename one"),
        ({"\ud800": 1}, "not valid Unicode"),
    ],
)
def test_a_column_whose_name_is_taken_is_refused(
    tmp_path: Path, names: dict[str, Any], words: str
) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("good", TWO, SEGMENTS)
        with pytest.raises(ManifestError, match=f"'bad'.*{words}"):
            manifest.add("bad", TWO, SEGMENTS, **names)
    assert Root.open(str(tmp_path)).materialize(PARTITION).accepted == 1


# --- identities and Segments


@pytest.mark.parametrize("id", [139, None, b"a", 1.5, "\ud800"])
def test_an_id_that_is_no_text_is_refused(tmp_path: Path, id: Any) -> None:
    with pytest.raises(ManifestError, match="reference_id"), writer(tmp_path) as manifest:
        manifest.add(id, TWO, SEGMENTS)


@pytest.mark.parametrize(
    ("segments", "words"),
    [
        (None, "are 'None'"),
        ("Road", "are 'Road'"),
        ({"label": "Road", "index": 0}, "expected a list"),
        ([5], "is '5'"),
        ([Segment(3, 0)], "label of a Segment of 'item' is 3"),  # type: ignore[arg-type]
        ([Segment("\ud800", 0)], "not valid Unicode"),
        ([{"label": "Road", "index": 0, "metadata": 0}], "expected a dict"),
        ([Segment("Road", 0, {"a": [Decimal("0.12345678901234567890")]})], "more digits"),
        ([{"label": "Road", "index": 0, "a": 1, "metadata": {"a": 2}}], "'a' twice"),
    ],
)
def test_segments_of_another_form_are_refused_by_item(
    tmp_path: Path, segments: Any, words: str
) -> None:
    with pytest.raises(ManifestError, match=f"'item'.*{words}|{words}"), writer(tmp_path) as w:
        w.add("item", TWO, segments)


def test_members_beside_label_and_index_are_metadata(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        manifest.add(
            "a", TWO, [{"label": "Road", "index": 0, "confidence": 0.5}, Segment("Person", 1)]
        )
    assert column(tmp_path, "segments")[0][0]["metadata"] == '{"confidence":0.5}'


# --- masks


class Tensor:
    """What a framework's tensors have in common."""

    def __init__(self, values: np.ndarray, device: str = "cpu") -> None:
        self.values, self.device = values, device

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.device != "cpu":
            raise TypeError(f"can't convert {self.device} device type tensor to numpy")
        return self.values


@pytest.mark.parametrize(
    "given",
    [
        Image.fromarray(TWO),
        Image.fromarray(TWO * 255).convert("1"),
        Image.fromarray(TWO.astype(np.uint16)),
        Image.fromarray(TWO.astype(np.int32)),
        Tensor(TWO),
        Tensor(TWO.astype(np.int64)),
        np.ma.masked_array(TWO),
    ],
    ids=lambda value: getattr(value, "mode", type(value).__name__),
)
def test_images_and_tensors_are_masks(tmp_path: Path, given: Any) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("a", given, SEGMENTS)
    (png,) = tmp_path.rglob("*.png")
    with Image.open(png) as image:
        assert np.asarray(image).tolist() == TWO.tolist()
    assert column(tmp_path, "height") == [2]


def test_a_palette_images_indexes_are_its_values(tmp_path: Path) -> None:
    given = Image.fromarray(TWO).convert("P")
    given.putdata(TWO.flatten().tolist())
    given.putpalette([200, 0, 0, 0, 200, 0])
    with writer(tmp_path) as manifest:
        manifest.add("a", given, SEGMENTS)
    assert Root.open(str(tmp_path)).materialize(PARTITION).accepted == 1


def _rotated() -> Image.Image:
    image = Image.fromarray(TWO)
    image.getexif()[0x0112] = 6
    return image


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (TWO.tolist(), r"type list.*numpy\.array"),
        (None, "type NoneType"),
        (5, "type int, expected"),
        (Image.new("RGB", (2, 2)), "mode RGB.*Colours"),
        (Image.new("LA", (2, 2)), "mode LA"),
        (Image.new("F", (2, 2)), "mode F"),
        (Image.fromarray(np.full((2, 2), 300, np.uint16)), "value 300"),
        (_rotated(), "orientation 6.*exif_transpose"),
        (Tensor(TWO, "cuda:0"), r"cuda:0.*\.cpu\(\)"),
        (Tensor(TWO / 2), "holds float64.*threshold"),
        (TWO[None], r"its one channel is mask\[0\]"),
        (TWO[..., None], r"its one channel is mask\[\.\.\., 0\]"),
        (TWO * 2.0, r"mask\.astype"),
        (np.ma.masked_array(TWO, TWO == 0), "masked out"),
        ("a\0b", "null"),
        (Path("nowhere.png"), "No such file"),
    ],
)
def test_what_is_no_mask_is_refused_by_item(tmp_path: Path, mask: Any, words: str) -> None:
    with writer(tmp_path) as manifest:
        manifest.add("good", TWO, SEGMENTS)
        with pytest.raises(ManifestError, match=f"the mask of 'item'.*{words}"):
            manifest.add("item", mask, SEGMENTS)
    assert column(tmp_path, "reference_id") == ["good"]


def test_the_advice_for_a_mask_of_one_channel_is_right(tmp_path: Path) -> None:
    mask = TWO[:, None]
    with writer(tmp_path) as manifest:
        with pytest.raises(ManifestError, match=r"mask\[:, 0\]"):
            manifest.add("a", mask, SEGMENTS)
        manifest.add("a", mask[:, 0], SEGMENTS)
    assert Root.open(str(tmp_path)).materialize(PARTITION).accepted == 1


# --- after a failure


def test_a_crash_says_what_was_not_delivered_and_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as failure, writer(tmp_path) as manifest:
        manifest.add("a", TWO, SEGMENTS)
        manifest.add("b", TWO, SEGMENTS)
        manifest.add("c", TWO * 0.5, SEGMENTS)
    (note,) = failure.value.__notes__
    assert "2 predictions of model_run=unet date=2026-01-05" in note
    assert "catch segpipe.SegpipeError around add" in note
    assert not list(tmp_path.rglob("*.parquet"))


def test_catching_the_error_as_advised_delivers_all_others(tmp_path: Path) -> None:
    import segpipe

    with writer(tmp_path) as manifest:
        for number, mask in enumerate([TWO, TWO * 0.5, TWO]):
            try:
                manifest.add(f"item-{number}", mask, SEGMENTS)
            except segpipe.SegpipeError as error:
                assert "item-1" in str(error)
    assert manifest.rows == 2
    assert column(tmp_path, "reference_id") == ["item-0", "item-2"]


# --- whatever is added

ZONES = st.none() | st.just(dt.UTC) | st.just(TOKYO)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.integers(-5, 5), st.floats(),
    st.floats(width=32).map(np.float32), st.integers(0, 255).map(np.uint8),
    st.decimals(allow_nan=True), st.text(st.characters(), max_size=5), st.binary(max_size=3),
    st.datetimes(timezones=ZONES), st.dates(), st.times(), st.timedeltas(), st.uuids(),
    st.just(object()),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)
ONE_KIND = st.sampled_from(
    [
        st.integers(-5, 5) | st.floats() | st.none(),
        st.integers(-(2**63), 2**64 - 1),
        st.decimals(-1000, 1000) | st.integers(-5, 5),
        st.datetimes(timezones=ZONES),
        st.dictionaries(st.sampled_from("ab"), st.integers(-5, 5) | st.floats(), max_size=2),
        st.lists(st.none() | st.integers(-5, 5) | st.floats(), max_size=3),
        VALUES,
    ]
).flatmap(lambda kind: st.lists(kind, min_size=1, max_size=6))


def equal(given: Any, back: Any) -> bool:
    """Whether a value reads back as it was; members of objects that are None may be absent."""
    if isinstance(given, uuid.UUID):
        return bool(back == str(given))
    if isinstance(given, dict):
        return isinstance(back, dict) and all(
            equal(given.get(name), back.get(name)) for name in {*given, *back}
        )
    if isinstance(given, list):
        return len(given) == len(back) and all(map(equal, given, back))
    if isinstance(given, (float, np.floating)) and math.isnan(given):
        return isinstance(back, float) and math.isnan(back)
    if isinstance(given, dt.datetime) and (given.tzinfo is None) is not (back.tzinfo is None):
        return False
    return isinstance(given, bool) is isinstance(back, bool) and bool(given == back)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=ONE_KIND, group=st.integers(1, 3))
@example(values=[{"a": 1}, {}, {"b": 0.5}], group=1)
def test_any_row_arrives_as_it_was_given_or_is_refused_by_name(
    values: list[Any],
    group: int,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("segpipe.manifests.writer._ROWS_PER_GROUP", group)
    place = tmp_path_factory.mktemp("rows")
    expected = {}
    with writer(place) as manifest:
        manifest.add("first", TWO, SEGMENTS)
        for number, value in enumerate(values):
            try:
                manifest.add(f"item-{number}", TWO, SEGMENTS, value=value)
            except ManifestError as error:
                assert f"'item-{number}': value is " in str(error)
            else:
                expected[f"item-{number}"] = value
    root = Root.open(str(place))
    assert root.materialize(PARTITION).accepted == len(expected) + 1
    back = {}
    for batch in root.validated(PARTITION).batches(100):
        kept = batch.rows.to_pylist()
        back.update({row["reference_id"]: row.get("value") for row in kept})
    assert back.pop("first") is None
    assert back.keys() == expected.keys()
    for id, value in expected.items():
        assert equal(value, back[id]), (value, back[id])


INDEXES = st.one_of(
    st.integers(0, 255), st.floats(0, 255), st.integers(0, 255).map(float),
    st.decimals(0, 255, places=1), st.integers(0, 255).map(np.int16), st.booleans(),
)  # fmt: skip


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(index=INDEXES, label=st.text(st.characters(), max_size=4), height=INDEXES)
def test_any_segment_arrives_as_it_was_given_or_is_refused_by_name(
    index: Any, label: str, height: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("segments")
    with writer(place) as manifest:
        manifest.add("good", TWO, SEGMENTS)
        try:
            segment = Segment(label, index)
            manifest.add("item", TWO, [segment], height=height, width=1, check=False)
        except ManifestError as error:
            assert "'item'" in str(error)
    if manifest.rows == 2:
        assert column(place, "segments")[1] == [{"label": label, "index": index, "metadata": "{}"}]
        assert column(place, "height")[1] == height
