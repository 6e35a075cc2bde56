"""The validation report as one HTML file: a picture per rule, and a list of all rows."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from segpipe.errors import SegpipeError
from segpipe.manifests.chosen_rows import chosen_rows
from segpipe.manifests.manifest import Manifest
from segpipe.pictures.images import read_image
from segpipe.pictures.overlay import encoded
from segpipe.pictures.palette import Colour
from segpipe.pictures.report_rows import POLICY, ItemAddress, escaped, item_cell, list_of_rows
from segpipe.pictures.version_picture import evidence_picture
from segpipe.storage.files import Folder
from segpipe.validation.chunk import Validation, read_evidence
from segpipe.validation.report import RuleReport, ValidationReport, findings_of
from segpipe.validation.rules import CATALOGUE, Severity

_LONGEST_SIDE = 480
_STYLE = """
:root{color-scheme:light}[hidden]{display:none!important}
body{font:15px/1.5 system-ui,sans-serif;color:#1e1e1e;background:#fafaf8;max-width:62rem;
margin:2rem auto;padding:0 1rem;overflow-wrap:break-word}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2.2rem 0 .2rem}
table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.2rem .8rem .2rem 0;text-align:left;
vertical-align:top}th,#list td:first-child{white-space:nowrap}
td{overflow-wrap:anywhere}td:first-child,nav td{overflow-wrap:normal}
nav td:not(:last-child){white-space:nowrap}
#list table{width:100%}#list td,#list th{border-top:1px solid #ddd}#list td:nth-child(2){width:32%}
@media(max-width:40rem){#list thead{display:none}tr,td{display:block}th{display:inline-block}
#list td{border:0;padding:0}#list td:nth-child(2){width:auto}tr{margin:.5rem 0}}
.reject{color:#b00040}.warn{color:#7a4f00}.convert{color:#555}a{color:#005a8c}
img{border:1px solid #ccc;margin:.4rem 0;max-width:100%}
.remedy{border-left:3px solid #0072b2;padding-left:.8rem}small{color:#595959}
section.rule{break-inside:avoid}input,select{font:inherit}
@media print{body{background:#fff;max-width:none;margin:0;font-size:10pt}a{color:inherit}
#list,.unprinted{display:none}img{max-height:14cm}}
"""

#: Gives labels colours, the same for the same label.
GiveColours = Callable[[Iterable[str]], Mapping[str, Colour]]


@dataclass(frozen=True)
class PageHead:
    """What a page is about.

    Attributes:
        title: of the page.
        entries: what it is of, as pairs of words.
    """

    title: str
    entries: Sequence[tuple[str, str]]


def write_page(
    report: ValidationReport,
    manifest: Manifest,
    validation: Validation,
    tables: Folder,
    head: PageHead,
    colours: GiveColours,
    address: ItemAddress = lambda row: None,
) -> bytes:
    """The page as UTF-8 HTML; it needs no server and no other file.

    Args:
        report: of the validation.
        manifest: its masks are read again for the pictures of the examples.
        validation: the settings it was validated with.
        tables: of the partition.
        colours: of the labels in the pictures.
        address: of the page of a row's item.
    """
    pictures = _pictures(report, manifest, validation, colours)
    body = "\n".join(_body(report, pictures, tables, head, address))
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escaped(head.title)}</title><style>{_STYLE}</style></head>"
        f"<body>{body}</body></html>\n"
    ).encode("utf-8", "backslashreplace")


def _body(
    report: ValidationReport,
    pictures: Mapping[str, str],
    tables: Folder,
    head: PageHead,
    address: ItemAddress,
) -> Iterator[str]:
    summary = report.summary
    yield f"<h1>{escaped(head.title)}</h1><table>"
    for name, value in head.entries:
        yield f"<tr><th>{escaped(name)}</th><td>{escaped(value)}</td></tr>"
    for name in ("rows", "accepted", "rejected", "repeated"):
        yield f"<tr><th>{name}</th><td>{getattr(summary, name):,}</td></tr>"
    yield "</table>"
    for line in summary.warning_lines:
        yield f"<p>{escaped(line)}</p>"
    if not report.rules:
        yield "<p>Nothing to report: every row was accepted as it is.</p>"
        return
    yield from _contents(report.rules)
    for rule in report.rules:
        yield from _section(rule, pictures.get(rule.rule), address)
    counts = {rule.rule: rule.rows for rule in report.rules}
    yield from list_of_rows(findings_of(tables), counts, address)


def _contents(rules: Sequence[RuleReport]) -> Iterator[str]:
    yield "<nav aria-label='Contents'><h2>What was found</h2><table>"
    for rule in rules:
        yield (
            f"<tr><td><a href='#{rule.rule}'>{rule.rule}</a></td>"
            f"<td class='{rule.severity}'>{rule.severity}</td><td>{_rows(rule.rows)}</td>"
            f"<td>{html.escape(CATALOGUE[rule.rule].meaning)}</td></tr>"
        )
    yield "</table></nav>"


def _section(rule: RuleReport, picture: str | None, address: ItemAddress) -> Iterator[str]:
    known = CATALOGUE[rule.rule]
    yield (
        f"<section class='rule'><h2 id='{rule.rule}'>{rule.rule} <small class='{rule.severity}'>"
        f"{rule.severity}, {_rows(rule.rows)}</small></h2>"
    )
    yield f"<p>{html.escape(known.meaning)}</p>"
    if picture is not None:
        yield picture
    if rule.examples:
        yield "<table>"
        for example in rule.examples:
            where = f"{example['manifest']} row {example['manifest_row']}"
            yield (
                f"<tr><td>{item_cell(example, address)}<br><small>{escaped(where)}</small></td>"
                f"<td>{escaped(example['message'])}</td></tr>"
            )
        yield "</table>"
        if rule.rows > len(rule.examples):
            yield (
                f"<p>{len(rule.examples)} of {rule.rows:,} shown<span class='unprinted'>: "
                f"<a href='#list' data-rule='{rule.rule}'>all rows</a></span></p>"
            )
    yield from (f"<p class='remedy'>{escaped(line)}</p>" for line in rule.advice)
    yield "</section>"


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _pictures(
    report: ValidationReport, manifest: Manifest, validation: Validation, colours: GiveColours
) -> dict[str, str]:
    """Rule -> picture of its first example, as an HTML element."""
    wanted: dict[tuple[str, int], list[str]] = {}
    for rule in report.rules:
        if rule.examples and rule.severity != Severity.CONVERT:
            first = rule.examples[0]
            key = (first["manifest"], first["manifest_row"])
            wanted.setdefault(key, []).append(rule.rule)
    rows: dict[str, list[int]] = {}
    for name, number in wanted:
        rows.setdefault(name, []).append(number)
    pictures: dict[str, str] = {}
    for folder, row in chosen_rows(manifest, rows):
        for rule_id in wanted[row.manifest, row.number]:
            try:
                evidence, data = read_evidence(row, folder, validation)
                picture = evidence_picture(
                    evidence,
                    data,
                    [rule_id],
                    colours,
                    title=str(row.reference_id),
                    longest_side=_LONGEST_SIDE,
                    image=read_image(row.image_url, folder, validation.sources),
                )
            except (SegpipeError, OSError, ValueError):
                continue  # the report can do without the picture
            if picture is not None:
                pictures[rule_id] = _element(picture, f"{rule_id}: {row.reference_id}")
    return pictures


def _element(picture: Image.Image, description: str) -> str:
    data = base64.b64encode(encoded(picture)).decode()
    return f"<img alt='{escaped(description)}' src='data:image/png;base64,{data}'>"
