"""Rules about the mask file: there, whole, a PNG, and a table of numbers.

What breaks them is seen while reading and decoding (segpipe.sources, segpipe.mask); a refusal
or remark carries the rule's id, and the catalogue's entries here pick it up.
"""

from __future__ import annotations

from collections.abc import Iterator

from segpipe.rules.catalogue import Check, Found, Severity, rule
from segpipe.rules.evidence import Evidence


def _refused(id: str) -> Check:
    def check(evidence: Evidence) -> Iterator[Found]:
        refusal = evidence.refusal
        if refusal is not None and refusal.rule == id:
            yield Found(refusal.message, refusal.found, refusal.expected)

    return check


def _remarked(id: str) -> Check:
    def check(evidence: Evidence) -> Iterator[Found]:
        if evidence.mask is not None:
            for remark in evidence.mask.remarks:
                if remark.rule == id:
                    yield Found(remark.message)

    return check


def _refusal(id: str, meaning: str, remedy: str) -> None:
    check = rule(id, Severity.REJECT, meaning=meaning, remedy=remedy, essential=True)
    check(_refused(id))


def _conversion(id: str, meaning: str, remedy: str, severity: Severity = Severity.CONVERT) -> None:
    rule(id, severity, meaning=meaning, remedy=remedy)(_remarked(id))


_refusal(
    "URL-REFUSED",
    "The mask's URL lies outside the places masks may be read from.",
    "Add its folder to allowed_roots in segpipe.toml, or pass --allow-root.",
)
_refusal(
    "FILE-MISSING",
    "There is no mask file where the manifest says.",
    "Check the URL as resolved; upload the file, or write the manifest again.",
)
_refusal(
    "TOO-LARGE",
    "The mask is larger than the limits allow, by bytes or by pixels.",
    "If it is meant to be that large, raise max_bytes or max_pixels in the policy.",
)
_refusal(
    "FILE-NOT-PNG",
    "The file's bytes are not a PNG, whatever its name says.",
    "Export the mask as PNG from the array; fetch an expired link again.",
)
_refusal(
    "PNG-UNREADABLE",
    "The PNG is damaged or cut: a checksum, a chunk or pixels are missing or wrong.",
    "Write or upload the file again.",
)
_refusal(
    "MASK-COLOUR",
    "The PNG holds colours, not index values.",
    "Write index values as 8-bit greyscale, or translate the colours with their table.",
)
_refusal(
    "MASK-ALPHA",
    "The PNG has transparency that varies: what a transparent pixel means is ambiguous.",
    "Write the mask without an alpha channel.",
)
_refusal(
    "MASK-16BIT",
    "The PNG has 16-bit values beyond 255, as instance ids or probabilities have.",
    "Remap the ids to 0..255.",
)
_conversion(
    "CONV-PALETTE",
    "A palette PNG: the palette's indexes are the values.",
    "Nothing to do; write 8-bit greyscale to avoid the conversion.",
)
_conversion(
    "CONV-LOWBIT",
    "A 1-, 2- or 4-bit greyscale PNG: samples are taken as they are, not scaled.",
    "Nothing to do; write 8-bit greyscale to avoid the conversion.",
)
_conversion(
    "CONV-G16-SMALL",
    "A 16-bit greyscale PNG whose values all fit 8 bits.",
    "Nothing to do; write 8-bit greyscale to avoid the conversion.",
)
_conversion(
    "CONV-GREY-IN-RGB",
    "A colour PNG whose channels are equal at every pixel.",
    "Nothing to do; write 8-bit greyscale to avoid the conversion.",
)
_conversion(
    "CONV-TRNS",
    "The PNG names a transparent value (tRNS): it is dropped, the values stay.",
    "Nothing to do.",
)
_conversion(
    "PNG-TRAILING",
    "There are bytes after the PNG's end: they are dropped.",
    "Nothing to do; check what writes them.",
)
_conversion(
    "EXIF-ORIENTATION",
    "The mask's metadata asks for a rotation; masks are never rotated.",
    "Check that the mask matches its image as stored; remove the tag.",
    Severity.WARN,
)
