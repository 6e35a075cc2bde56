"""Queries that are ready to run, and to start one's own from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Example(NamedTuple):
    """A query and what it answers."""

    meaning: str
    sql: str


_LEAST_SURE = """\
SELECT dataset, model_run, reference_id, label, index, entropy, confidence, area_fraction
FROM segments
WHERE entropy IS NOT NULL OR confidence IS NOT NULL
ORDER BY entropy DESC NULLS LAST, confidence, dataset, reference_id, index
LIMIT 20
"""

_DISAGREEMENT = """\
WITH areas AS (
    SELECT dataset, reference_id, model_run, label, sum(area_fraction) AS area
    FROM segments GROUP BY ALL
), labels AS (
    SELECT DISTINCT dataset, reference_id, label FROM areas
), pairs AS (
    SELECT a.dataset, a.reference_id, a.model_run AS first_run, b.model_run AS second_run
    FROM predictions AS a JOIN predictions AS b USING (dataset, reference_id)
    WHERE a.model_run < b.model_run
), differences AS (
    SELECT pairs.*, labels.label, abs(coalesce(a.area, 0) - coalesce(b.area, 0)) AS difference
    FROM pairs JOIN labels USING (dataset, reference_id)
    LEFT JOIN areas AS a
        ON (a.dataset, a.reference_id, a.label, a.model_run)
         = (pairs.dataset, pairs.reference_id, labels.label, first_run)
    LEFT JOIN areas AS b
        ON (b.dataset, b.reference_id, b.label, b.model_run)
         = (pairs.dataset, pairs.reference_id, labels.label, second_run)
)
SELECT dataset, reference_id, first_run, second_run, sum(difference) / 2 AS share_of_image,
    arg_max(label, difference) AS label, max(difference) AS of_label
FROM differences
GROUP BY dataset, reference_id, first_run, second_run
ORDER BY share_of_image DESC, dataset, reference_id, first_run, second_run
LIMIT 20
"""

_COVERAGE = """\
WITH accepted AS (
    SELECT dataset, model_run, partition, count(*) AS accepted FROM validated GROUP BY ALL
), refused AS (
    SELECT dataset, model_run, partition, count(DISTINCT (manifest, manifest_row)) AS rejected
    FROM rejected GROUP BY ALL
), published AS (
    SELECT dataset, model_run, partition, count(*) AS published FROM predictions GROUP BY ALL
), items AS (
    SELECT dataset, count(DISTINCT reference_id) AS items FROM predictions GROUP BY ALL
)
SELECT dataset, model_run, partition, coalesce(accepted, 0) AS accepted,
    coalesce(rejected, 0) AS rejected, coalesce(published, 0) AS published,
    coalesce(published, 0) / items AS share_of_published_items
FROM accepted
FULL JOIN refused USING (dataset, model_run, partition)
FULL JOIN published USING (dataset, model_run, partition)
LEFT JOIN items USING (dataset)
ORDER BY dataset, model_run, partition
"""

#: Name -> the query.
EXAMPLES: Mapping[str, Example] = {
    "least-sure": Example("the Segments their model is least sure of", _LEAST_SURE),
    "disagreement": Example(
        "items whose labels' areas differ most between two model runs", _DISAGREEMENT
    ),
    "coverage": Example(
        "per model run and day: accepted, rejected, published, and of how many of all published "
        "items",
        _COVERAGE,
    ),
}
