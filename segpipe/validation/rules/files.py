"""Rules about the mask file: it exists, is an intact PNG, and holds index values.

Violations are found while reading and decoding (segpipe.storage.sources, segpipe.masks.decoding).
They arrive as a refusal or a remark with the rule's id; the entries here turn them into findings.
"""

from __future__ import annotations

from collections.abc import Iterator

from segpipe.validation.rules.catalogue import Check, Found, Severity, rule
from segpipe.validation.rules.evidence import Evidence


def _refused(id: str) -> Check:
    def check(evidence: Evidence) -> Iterator[Found]:
        refusal = evidence.refusal
        if refusal is not None and refusal.rule == id:
            yield Found(refusal.message, refusal.found, refusal.expected, remedy=refusal.remedy)

    return check


def _remarked(id: str) -> Check:
    def check(evidence: Evidence) -> Iterator[Found]:
        if evidence.mask is not None:
            for remark in evidence.mask.remarks:
                if remark.rule == id:
                    yield Found(remark.message)

    return check


def _refusal(id: str, meaning: str, remedy: str, example: str) -> None:
    rule(
        id,
        Severity.REJECT,
        meaning=meaning,
        remedy=remedy,
        example=example,
        essential=True,
        reported_by_reader=True,
    )(_refused(id))


def _conversion(
    id: str, meaning: str, remedy: str, example: str, severity: Severity = Severity.CONVERT
) -> None:
    rule(id, severity, meaning=meaning, remedy=remedy, example=example, reported_by_reader=True)(
        _remarked(id)
    )


_refusal(
    "URL-REFUSED",
    "The mask's URL lies outside the places masks may be read from.",
    "Add its folder to allowed_roots in segpipe.toml, or pass --allow-root.",
    "mask_url = '/etc/passwd.png', or a bucket nobody allowed",
)
_refusal(
    "FILE-MISSING",
    "There is no mask file where the manifest says.",
    "Check the URL as resolved; upload the file, or write the manifest again.",
    "mask_url = 'masks/frame-7.png' where only frame-07.png was uploaded",
)
_refusal(
    "TOO-LARGE",
    "The mask is larger than the limits allow, by bytes or by pixels.",
    "If it is meant to be that large, raise max_bytes or max_pixels in the policy.",
    "a header that says 60000 x 60000 pixels",
)
_refusal(
    "FILE-NOT-PNG",
    "The file's bytes are not a PNG, whatever its name says.",
    "Export the mask as PNG from the array; fetch an expired link again; unpack an archive; run "
    "`git lfs pull` where the file is a pointer.",
    "an expired signed URL, saved as an HTML page under a .png name",
)
_refusal(
    "PNG-UNREADABLE",
    "The PNG is damaged or cut: a checksum, a chunk or pixels are missing or wrong.",
    "Write or upload the file again.",
    "an upload that was cut after two thirds of the file",
)
_refusal(
    "MASK-COLOUR",
    "The PNG holds colours, not index values.",
    "Write index values as 8-bit greyscale, or translate the colours with their table: `segpipe "
    "import colour-map`; for panoptic ids written as colours, `segpipe import coco-panoptic`.",
    "a Cityscapes-style colour export, road painted (128, 64, 128)",
)
_refusal(
    "MASK-ALPHA",
    "The PNG has transparency that varies: what a transparent pixel means is ambiguous.",
    "Write the mask without an alpha channel.",
    "an RGBA export in which the background is transparent",
)
_refusal(
    "MASK-16BIT",
    "The PNG has 16-bit values beyond 255, as instance ids or probabilities have.",
    "Remap ids to 0..255, or import them from arrays with --over-256; divide values that are all "
    "multiples of 257 by it; apply argmax or a threshold to scores.",
    "instance ids up to 33003 in a 16-bit PNG",
)
_refusal(
    "MASK-TWICE",
    "The row holds a mask and names the file of another: which is meant is not said.",
    "Leave mask or mask_url empty (null), in each row.",
    "PNG bytes in the column mask, and mask_url = 'masks/frame-7.png' beside them",
)
_refusal(
    "MASK-UNREADABLE",
    "What the row's column mask holds is no mask: run lengths or lines that make up no image, or "
    "values that no index can have.",
    "Write the mask again: PNG bytes, COCO run lengths that fill their size, or H x W whole "
    "numbers from 0 to 255.",
    "COCO counts that were cut, an array whose lines have several lengths, or the value -1",
)
_conversion(
    "CONV-PALETTE",
    "A palette PNG: the palette's indexes are the values.",
    "Nothing to do; write 8-bit greyscale to avoid the conversion.",
    "a PNG in palette mode, as VOC and DAVIS tools write",
)
_conversion(
    "CONV-LOWBIT",
    "A 1-, 2- or 4-bit greyscale PNG: samples are taken as they are, not scaled.",
    "Nothing to do; write 8-bit greyscale to avoid the conversion.",
    "a 1-bit PNG with samples 0 and 1 (most decoders return 0 and 255)",
)
_conversion(
    "CONV-G16-SMALL",
    "A 16-bit greyscale PNG whose values all fit 8 bits.",
    "Nothing to do; write 8-bit greyscale to avoid the conversion.",
    "a 16-bit PNG with values 0 to 18",
)
_conversion(
    "CONV-GREY-IN-RGB",
    "A colour PNG whose channels are equal at every pixel.",
    "Nothing to do; write 8-bit greyscale to avoid the conversion.",
    "an RGB PNG with (3, 3, 3) where the class is 3",
)
_conversion(
    "CONV-TRNS",
    "The PNG names a transparent value (tRNS): it is dropped, the values stay.",
    "Nothing to do.",
    "a palette PNG in which entry 0 is transparent",
)
_conversion(
    "PNG-TRAILING",
    "There are bytes after the PNG's end or its last pixel: they are dropped.",
    "Nothing to do; check what writes them.",
    "a PNG with a thumbnail appended",
)
_conversion(
    "EXIF-ORIENTATION",
    "The mask's metadata asks for a rotation; masks are never rotated.",
    "Check that the mask matches its image as stored; remove the tag.",
    "a mask written with its photo's metadata, orientation 6",
    Severity.WARN,
)
