"""What receipts say a destination holds: the same content, the same digest."""

from __future__ import annotations

import pyarrow as pa

from segpipe.publishing.published_content import PublishedContent

NAMES = ("reference_id", "outcome", "fingerprint", "previous_fingerprint")


def content_of(*batches: list[tuple[str, str, str, str | None]]) -> tuple[int, str]:
    content = PublishedContent()
    for rows in batches:
        columns = zip(*rows, strict=True)
        content.add(pa.table({name: pa.array(column, pa.string()) for name, column in
                              zip(NAMES, columns, strict=True)}))  # fmt: skip
    return content.predictions, content.digest


def test_batches_and_order_do_not_count_and_neither_does_how_it_came_there() -> None:
    one, other = ("a", "inserted", "1", None), ("b", "replaced", "2", "1")
    assert content_of([one, other]) == content_of([other], [one])
    assert content_of([("a", "unchanged", "1", "1")]) == content_of([one])


def test_what_was_left_alone_counts_as_it_stands() -> None:
    assert content_of([("a", "ignored", "2", "1")]) == content_of([("a", "inserted", "1", None)])
    assert content_of([("a", "failed", "2", None)])[0] == 0


def test_another_fingerprint_item_or_pairing_counts() -> None:
    def there(*pairs: str) -> tuple[int, str]:
        return content_of([(item, "inserted", print_, None) for item, print_ in pairs])

    assert len({there("a1"), there("a2"), there("b1"), there("a1", "b2"), there("a2", "b1")}) == 5
