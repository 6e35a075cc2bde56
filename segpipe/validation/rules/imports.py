"""Rules applied while other formats are imported: only then is their evidence available."""

from __future__ import annotations

from segpipe.validation.rules.catalogue import Severity, rule_across_rows

OVERLAP_HIDDEN = rule_across_rows(
    "OVERLAP-HIDDEN",
    Severity.WARN,
    meaning="Instances given as masks of their own overlap, and one hides much of another.",
    remedy="Nothing to do if that is meant; check the order in which they are painted.",
    example="a person wholly behind a bus",
)
AREA_MISMATCH = rule_across_rows(
    "AREA-MISMATCH",
    Severity.REJECT,
    meaning="The area a segment is said to have is not the count of its pixels.",
    remedy="Check that the annotation file and the PNG belong together, and the order of channels.",
    example="area 5213 in the JSON, 5200 pixels in the PNG",
)
ID_NOT_IN_PNG = rule_across_rows(
    "ID-NOT-IN-PNG",
    Severity.REJECT,
    meaning="A panoptic id of the annotation file does not occur in the PNG.",
    remedy="Check the order of channels: ids match in BGR where the PNG was written as such.",
    example="id 3226956 in the JSON, written as BGR in the PNG",
)
OVERLAP_REFUSED = rule_across_rows(
    "OVERLAP-REFUSED",
    Severity.REJECT,
    meaning="Instances given as masks of their own overlap; the import was told to refuse that.",
    remedy="Import with --overlaps score (higher on top) or --overlaps area (smaller on top).",
    example="a rider and a bicycle that share 420 pixels",
    essential=True,
)
INSTANCES_MERGED = rule_across_rows(
    "INSTANCES-MERGED",
    Severity.WARN,
    meaning="More ids had pixels than a mask has values; some were merged, as --over-256 asked.",
    remedy="Nothing to do if that is meant; the ids are in the metadata source_ids of the Segments "
    "they became part of.",
    example="401 cells, of which the 146 smallest became one crowd",
)
IMPORT_LEFT_OUT = rule_across_rows(
    "IMPORT-LEFT-OUT",
    Severity.WARN,
    meaning="Parts of a record are no masks, have no area or belong to nothing, and are not in the "
    "prediction.",
    remedy="Nothing to do if that is meant; the message counts them by kind.",
    example="a point and two lines among the polygons of labelme",
)
IMPORT_UNREADABLE = rule_across_rows(
    "IMPORT-UNREADABLE",
    Severity.REJECT,
    meaning="A record of another format cannot be read as a prediction.",
    remedy="The message says which part of it; write that record again, or leave it out.",
    example="an RLE whose counts do not fill its size, an array of text",
    essential=True,
)
