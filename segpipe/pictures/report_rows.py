"""The list of all rows with findings on a report page, and what filters it."""

from __future__ import annotations

import base64
import hashlib
import html
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from segpipe.errors import printable, shortened
from segpipe.names import visible

#: Address of the page of a row's item; None where there is none.
ItemAddress = Callable[[Mapping[str, Any]], str | None]

# Rows of a rule, and of all rules, on a page; and characters of a message.
_MOST_OF_RULE, _MOST, _LONGEST = 500, 3_000, 300
# Nothing of the data is in the script: it looks at the text of the table that is there.
_SCRIPT = """
const words = document.getElementById("words"), rule = document.getElementById("rule");
const rows = [...document.querySelectorAll("#list tbody tr")];
function filter() {
  const wanted = words.value.toLowerCase();
  let shown = 0;
  for (const row of rows) {
    const fits = (!rule.value || row.cells[0].textContent === rule.value)
      && row.textContent.toLowerCase().includes(wanted);
    row.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = shown;
}
words.addEventListener("input", filter);
rule.addEventListener("change", filter);
for (const link of document.querySelectorAll("a[data-rule]")) {
  link.addEventListener("click", () => {
    rule.value = link.dataset.rule; words.value = ""; filter();
  });
}
document.getElementById("filters").hidden = false;
"""
#: What a browser may do with the page: its own style and this script, pictures in the page, and
#: nothing else, whatever text is in it.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; script-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    + "'"
)


def escaped(text: str) -> str:
    """Text from data for HTML: markup and what one cannot see are shown as they are written."""
    return html.escape(printable(text), quote=True)


def item_cell(row: Mapping[str, Any], address: ItemAddress) -> str:
    """The reference id, as a link where the item has a page."""
    name = row["reference_id"]
    shown = escaped(shortened(visible(name) if name else "(no reference_id)", 120))
    url = address(row)
    return shown if url is None else f'<a href="{html.escape(url, quote=True)}">{shown}</a>'


def list_of_rows(
    findings: Iterable[Mapping[str, Any]], counts: Mapping[str, int], address: ItemAddress
) -> Iterator[str]:
    """The list as HTML: a line per finding, and above it what filters it.

    Args:
        findings: ``rule``, ``severity``, ``reference_id``, ``manifest``, ``manifest_row``,
            ``message`` of each.
        counts: rule -> number of its rows; only these rules are listed, in this order.
        address: of a row's item.
    """
    listed: dict[str, list[str]] = {rule: [] for rule in counts}
    total: Counter[str] = Counter()
    for row in findings:
        rule = row["rule"]
        if rule not in listed:
            continue
        total[rule] += 1
        if len(listed[rule]) < _MOST_OF_RULE and sum(map(len, listed.values())) < _MOST:
            listed[rule].append(_line(row, address))
    lines = [line for rule in listed for line in listed[rule]]
    whole = sum(total.values())
    yield "<section id='list'><h2>All rows</h2>"
    left_out = f" of {whole:,}; the others are in the partition's tables" * (whole > len(lines))
    yield f"<p class='unprinted'>{len(lines):,} lines{left_out}.</p>"
    options = "".join(f"<option>{escaped(rule)}</option>" for rule in listed)
    yield (
        "<p id='filters' hidden><label>Rule <select id='rule'><option value=''>all</option>"
        f"{options}</select></label> <label>Text <input id='words' type='search'></label> "
        f"<span id='shown'>{len(lines)}</span> shown</p>"
    )
    yield "<table><thead><tr><th>rule</th><th>item</th><th>found</th></tr></thead>"
    yield f"<tbody>{''.join(lines)}</tbody></table></section>"
    yield f"<script>{_SCRIPT}</script>"


def _line(row: Mapping[str, Any], address: ItemAddress) -> str:
    where = f"{row['manifest']} row {row['manifest_row']}"
    return (
        f"<tr><td>{escaped(row['rule'])}</td>"
        f"<td>{item_cell(row, address)}<br><small>{escaped(where)}</small></td>"
        f"<td>{escaped(shortened(str(row['message']), _LONGEST))}</td></tr>\n"
    )
