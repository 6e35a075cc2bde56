"""Filters, sorts and cursors, held against a filter in plain Python over the tables' rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from segpipe.root import Root
from segpipe.viewer.index import Index
from tests.fixtures.landing import LandingWriter
from tests.fixtures.viewed_root import (
    FIRST,
    LABELS,
    OTHER,
    SECOND,
    Get,
    Looking,
    Record,
    records,
    rows_for,
)  # fmt: skip

OUTCOMES = ("published", "replaced", "ignored", "accepted", "rejected")
SORTS = ("id", "least-sure", "most-segments", "largest-change", "rule", "newest")
RULES = ("VALUE-NO-SEGMENT", "FILE-MISSING", "SIZE-UNVERIFIED", "DUPLICATE-MASK")


def pick(*values: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True)


def bounds(most: float) -> st.SearchStrategy[tuple[float | None, float | None] | None]:
    one = st.none() | st.floats(0, most).map(lambda value: round(value, 2))
    ordered = st.tuples(one, one).filter(
        lambda pair: pair[0] is None or pair[1] is None or pair[0] <= pair[1]
    )
    return st.none() | ordered


FILTERS = st.fixed_dictionaries(
    {
        "run": pick(FIRST.model_run, OTHER.model_run, "later", "none such"),
        "from": st.sampled_from([None, "2026-01-05", "2026-01-06"]),
        "to": st.sampled_from([None, "2026-01-05", "2026-01-06"]),
        "label": pick(*LABELS),
        "confidence": bounds(1),
        "entropy": bounds(1),
        "segments": bounds(5),
        "area": st.none() | st.tuples(st.sampled_from(LABELS), bounds(1).filter(bool)),
        "rule": pick(*RULES),
        "outcome": pick(*OUTCOMES),
        "text": st.sampled_from(["", "00", "ITEM-0", "m-01", ".*"]),
        "column": st.sampled_from([None, "left", "right"]),
        "sort": st.sampled_from(SORTS),
    }
)


def text(pair: tuple[float | None, float | None]) -> str:
    return "..".join("" if one is None else str(one) for one in pair)


def parameters(wanted: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in wanted.items() if value}
    for name in ("confidence", "entropy", "segments"):
        if name in given:
            given[name] = text(given[name])
    if "area" in given:
        given["area"] = f"{given['area'][0]}:{text(given['area'][1])}"
    if "column" in given:
        given["column"] = f"camera:{given['column']}"
    return given


def fits(record: Record, wanted: dict[str, Any]) -> bool:
    """The filters' meaning, as the page's contract has it."""

    def within(value: float | None, pair: tuple[float | None, float | None] | None) -> bool:
        if not pair:
            return True
        low, high = pair
        near = 1e-7  # numbers are kept in single precision
        return value is not None and (
            (low is None or value >= low - near) and (high is None or value <= high + near)
        )

    outcomes = wanted["outcome"] or ["published"]
    area = wanted["area"]
    if record.outcome == "rejected" and (area or wanted["segments"]):
        return False  # no table has Segments of rejected rows: neither many of them nor none
    return (
        (not wanted["run"] or record.run in wanted["run"])
        and (wanted["from"] or "") <= record.date <= (wanted["to"] or "9")
        and all(label in record.areas for label in wanted["label"])
        and within(record.confidence, wanted["confidence"])
        and within(record.entropy, wanted["entropy"])
        and within(record.segments, wanted["segments"])
        and (area is None or within(record.areas.get(area[0], 0.0), area[1]))
        and (not wanted["rule"] or any(rule in record.rules for rule in wanted["rule"]))
        and (
            record.outcome in outcomes or (record.outcome == "replaced" and "published" in outcomes)
        )
        and wanted["text"].lower() in record.id.lower()
        and (wanted["column"] is None or record.camera == wanted["column"])
    )


@given(FILTERS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)  # fmt: skip
def test_filters_leave_what_a_plain_filter_over_the_tables_leaves(
    viewed: Root, get: Get, wanted: dict[str, Any]
) -> None:
    whole = _RECORDS.setdefault(viewed.settings.root, records(viewed))
    expected = Counter((r.run, r.date, r.id, r.outcome) for r in whole if fits(r, wanted))
    found = get("/api/items", limit=500, **parameters(wanted))
    shown = Counter(
        (card["model_run"], card["date"], card["id"], card["outcome"]) for card in found["items"]
    )
    assert shown == expected
    assert found["total"] == sum(expected.values())


_RECORDS: dict[str, list[Record]] = {}


def pages(client: Any, limit: int, between: Any = None, **params: Any) -> list[dict[str, Any]]:
    """All cards, page by page."""
    cards, after = [], None
    while True:
        more = {} if after is None else {"after": after}
        answer = client.get("/api/items", params={**params, "limit": limit, **more})
        assert answer.status_code == 200, answer.text
        cards += answer.json()["items"]
        after = answer.json()["next"]
        if after is None:
            return cards
        if between is not None:
            between()


@pytest.mark.parametrize("sort", SORTS)
def test_cursors_visit_each_row_once_in_the_order_of_one_page(
    page: Any, get: Get, sort: str
) -> None:
    params = {"sort": sort, "outcome": list(OUTCOMES)}
    whole = get("/api/items", limit=500, **params)["items"]
    assert [card["key"] for card in pages(page, 4, **params)] == [card["key"] for card in whole]
    assert len({card["key"] for card in whole}) == len(whole) == 8 + 6 + 10 + 3 + 3 + 2


def test_each_sort_puts_first_what_it_says(get: Get) -> None:
    def of(sort: str, name: str, **other: Any) -> list[Any]:
        return [card[name] for card in get("/api/items", sort=sort, limit=500, **other)["items"]]

    sure = [one for one in of("least-sure", "confidence") if one is not None]
    assert sure == sorted(sure) and len(sure) > 10
    assert of("most-segments", "segments") == sorted(of("id", "segments"), reverse=True)
    assert set(of("newest", "model_run")[:4]) == {FIRST.model_run}  # what was replaced last
    rules = of("rule", "rules", outcome=list(OUTCOMES))
    assert rules.index([]) >= 2 and not any(rules[rules.index([]) :])


def test_what_changed_most_since_the_version_before_comes_first(get: Get) -> None:
    cards = get("/api/items", sort="largest-change", limit=500)["items"]
    assert {card["outcome"] for card in cards[:4]} == {"replaced"}
    assert all(card["outcome"] == "published" for card in cards[4:])


def test_a_list_is_read_to_its_end_while_a_run_publishes(own: Root) -> None:
    root = own
    landing = LandingWriter(Path(own.settings.root))
    with Looking(root) as client:
        before = {card["key"] for card in pages(client, 500)}
        state = {"published": False}

        def publish() -> None:
            if not state["published"]:
                state["published"] = True
                rows = rows_for(landing, SECOND, range(100, 140), "more")
                landing.manifest(rows, SECOND, name="more.parquet")
                root.materialize(SECOND)
                root.publish(SECOND)
                client.viewer.index.renew()

        seen = [card["key"] for card in pages(client, 5, publish, sort="least-sure")]
        assert len(seen) == len(set(seen))
        assert before <= set(seen)
        assert client.get("/api/items").json()["total"] == len(before) + 40


def test_the_first_page_does_not_wait_for_all_rows(
    viewed: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segpipe.viewer.index._FIRST_SECONDS", -1.0)
    made: list[Any] = []
    own = Index._replace

    def noted(index: Index, *given: Any, **named: Any) -> None:
        own(index, *given, **named)
        made.append(index._snapshot)

    monkeypatch.setattr(Index, "_replace", noted)
    with Looking(viewed) as client:
        found = client.get("/api/items").json()
    assert [one.is_whole for one in made] == [*[False] * (len(made) - 1), True]
    assert len(made) > 2 and 0 < len(made[0]) < len(made[-1])
    assert any("of the catalog have been read" in note for note in made[0].notes)
    assert found["whole"] and not found["notes"]


def test_counts_are_what_each_choice_would_show(get: Get) -> None:
    counts = get("/api/counts", run=FIRST.model_run)
    for name, values in (("run", counts["runs"]), ("outcome", counts["outcomes"])):
        assert values
        for value, count in values.items():
            params = {"run": FIRST.model_run} | {name: value}
            assert get("/api/items", limit=1, **params)["total"] == count, (name, value)
    for label, count in counts["labels"].items():
        assert get("/api/items", limit=1, run=FIRST.model_run, label=label)["total"] == count
    assert counts["rules"] == {} or all(
        get("/api/items", limit=1, run=FIRST.model_run, rule=rule)["total"] == count
        for rule, count in counts["rules"].items()
    )


def test_filters_that_rejected_rows_cannot_pass_are_told(get: Get) -> None:
    found = get("/api/items", outcome="rejected", label="car", confidence="..0.5")
    words = "of rejected rows no table has labels or confidences: they are left out"
    assert (found["total"], found["notes"]) == (0, [words])
    assert get("/api/items", outcome="rejected")["notes"] == []


@pytest.mark.parametrize(
    ("name", "bounds", "missing"),
    [
        ("segments", "..5", "numbers of Segments"),
        ("segments", "0..0", "numbers of Segments"),
        ("area", "car:..0.5", "areas"),
        ("entropy", "..5", "entropies"),
    ],
)
def test_rejected_rows_are_not_taken_for_rows_without_segments(
    get: Get, name: str, bounds: str, missing: str
) -> None:
    assert get("/api/items", outcome="rejected")["total"] > 0
    found = get("/api/items", outcome="rejected", **{name: bounds})
    words = f"of rejected rows no table has {missing}: they are left out"
    assert (found["total"], found["notes"]) == (0, [words])


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("labl=x", "did you mean 'label'"),
        ("confidence=0.5", "LOW..HIGH"),
        ("confidence=0.9..0.1", "LOW..HIGH"),
        ("confidence=nan..1", "LOW..HIGH"),
        ("from=2026-13-01", "a day as YYYY-MM-DD"),
        ("area=road", "LABEL:LOW..HIGH"),
        ("sort=size", "least-sure"),
        ("outcome=lost", "rejected"),
        ("column=camra:left", "did you mean 'camera'"),
        ("limit=0", "from 1 to 500"),
        ("limit=%D9%A3", "from 1 to 500"),
        ("after=xx", "cursor"),
        ("sort=id&sort=rule", "once"),
        ("text=" + "x" * 2000, "at most 1000"),
        ("ids=nobody", "no selection"),
    ],
)
def test_what_cannot_be_read_is_refused_with_words(page: Any, query: str, words: str) -> None:
    answer = page.get(f"/api/items?{query}")
    assert answer.status_code in (400, 404)
    assert words in answer.json()["error"]
