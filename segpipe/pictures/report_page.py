"""The validation report as one HTML file, with a picture per rule."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping

from PIL import Image

from segpipe.errors import SegpipeError, printable, shortened
from segpipe.manifests.chosen_rows import chosen_rows
from segpipe.manifests.manifest import Manifest
from segpipe.pictures.offending import offending_pixels, undecoded
from segpipe.pictures.overlay import LegendEntry, encoded, overlay
from segpipe.validation.chunk import Validation, read_evidence
from segpipe.validation.report import RuleReport, ValidationReport
from segpipe.validation.rules import CATALOGUE, Evidence, Severity

_LONGEST_SIDE = 420
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1e1e1e;background:#fafaf8;max-width:60rem;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2.2rem 0 .2rem}
table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.2rem .8rem .2rem 0;text-align:left;
vertical-align:top}
code{background:#eee;padding:.05rem .3rem;border-radius:3px;overflow-wrap:anywhere}
.reject{color:#b00040}.warn{color:#8a5a00}.convert{color:#555}
img{border:1px solid #ccc;margin:.4rem 0;max-width:100%}
.remedy{border-left:3px solid #0072b2;padding-left:.8rem}small{color:#666}
"""


def write_page(report: ValidationReport, manifest: Manifest, validation: Validation) -> bytes:
    """The page as UTF-8 HTML; it needs no server and no other file.

    Args:
        report: of the validation.
        manifest: its masks are read again for the pictures of the examples.
        validation: the settings it was validated with.
    """
    pictures = _pictures(report, manifest, validation)
    body = "\n".join(_body(report, pictures))
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>segpipe report</title>"
        f"<style>{_STYLE}</style>{body}</html>\n"
    ).encode("utf-8", "backslashreplace")


def _body(report: ValidationReport, pictures: Mapping[str, str]) -> Iterator[str]:
    summary = report.summary
    yield "<h1>What was found in the masks</h1><table>"
    for name in ("rows", "accepted", "rejected", "repeated"):
        yield f"<tr><th>{name}</th><td>{getattr(summary, name):,}</td></tr>"
    yield "</table>"
    for line in summary.warning_lines:
        yield f"<p>{_escaped(line)}</p>"
    if not report.rules:
        yield "<p>Nothing to report: every row was accepted as it is.</p>"
    for rule in report.rules:
        yield from _section(rule, pictures.get(rule.rule))


def _section(rule: RuleReport, picture: str | None) -> Iterator[str]:
    known = CATALOGUE[rule.rule]
    yield (
        f"<h2 id='{rule.rule}'>{rule.rule} <small class='{rule.severity}'>{rule.severity}, "
        f"{rule.rows:,} row{'s' * (rule.rows != 1)}</small></h2>"
    )
    yield f"<p>{html.escape(known.meaning)}</p>"
    if picture is not None:
        yield picture
    if rule.examples:
        yield "<table>"
        for example in rule.examples:
            where = f"{example['manifest']} row {example['manifest_row']}"
            yield (
                f"<tr><td>{_escaped(shortened(str(example['reference_id'])))}<br>"
                f"<small>{_escaped(where)}</small></td>"
                f"<td>{_escaped(example['message'])}</td></tr>"
            )
        yield "</table>"
    yield from (f"<p class='remedy'>{_escaped(line)}</p>" for line in rule.advice)


def _pictures(
    report: ValidationReport, manifest: Manifest, validation: Validation
) -> dict[str, str]:
    """Rule -> picture of its first example, as an HTML element."""
    wanted: dict[tuple[str, int], list[str]] = {}
    for rule in report.rules:
        if rule.examples and rule.severity != Severity.CONVERT:
            first = rule.examples[0]
            key = (first["manifest"], first["manifest_row"])
            wanted.setdefault(key, []).append(rule.rule)
    pictures: dict[str, str] = {}
    if not wanted:
        return pictures
    rows: dict[str, list[int]] = {}
    for name, number in wanted:
        rows.setdefault(name, []).append(number)
    for folder, row in chosen_rows(manifest, rows):
        for rule_id in wanted[row.manifest, row.number]:
            try:
                evidence, data = read_evidence(row, folder, validation)
                picture = _picture(rule_id, evidence, data)
            except (SegpipeError, OSError, ValueError):
                continue  # the report can do without the picture
            if picture is not None:
                pictures[rule_id] = _element(picture, f"{rule_id}: {row.reference_id}")
    return pictures


def _element(picture: Image.Image, description: str) -> str:
    data = base64.b64encode(encoded(picture)).decode()
    return f"<img alt='{html.escape(description, quote=True)}' src='data:image/png;base64,{data}'>"


def _picture(rule_id: str, evidence: Evidence, data: bytes) -> Image.Image | None:
    if evidence.mask is None:
        image = undecoded(data, evidence.policy.max_pixels)
        if image is None:
            return None
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        return image.convert("RGB")
    pixels = evidence.mask.pixels
    legend = [
        LegendEntry(
            s.index,
            s.label or "?",
            s.confidence,
            likeliest=s.class_pdf.top(3) if s.class_pdf is not None else (),
        )
        for s in evidence.declaration.segments
        if s.index is not None and 0 <= s.index <= 255
    ]
    marked = offending_pixels(rule_id, evidence)
    title = str(evidence.row.reference_id)
    if marked is None:
        return overlay(pixels, legend, title=title, longest_side=_LONGEST_SIDE)
    values = sorted(evidence.unexplained)
    legend += [LegendEntry(value, "no Segment") for value in values]
    return overlay(
        pixels, legend, title=f"{title}: offending pixels in red", marked=marked,
        longest_side=_LONGEST_SIDE,
    )  # fmt: skip


def _escaped(text: str) -> str:
    return html.escape(printable(text))
