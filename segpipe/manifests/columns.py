"""The columns of a manifest that segpipe reads: their names and types."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from segpipe.errors import ManifestError, listed
from segpipe.manifests.held_masks import EXPECTED_MASKS, MASK_COLUMN, MaskForm, mask_form
from segpipe.manifests.plain_types import is_list, is_text, plain_type

#: Possible names of the column of Segments; the first that exists is used.
SEGMENT_COLUMNS = ("segments", "annotations")
TEXT_COLUMNS = ("reference_id", "mask_url", "annotation_id", "image_url")
SIZE_COLUMNS = ("height", "width")
#: Column of what importers found wrong with the records they read.
FINDINGS_COLUMN = "import_findings"
_FINDING = ("rule", "message", "found", "expected", "remedy")
FINDINGS_TYPE = pa.list_(pa.struct([pa.field(name, pa.string()) for name in _FINDING]))
_EXPECTED_SEGMENTS = "list<struct<label, index, metadata>> or the same as a JSON string"
# Key of the features of Hugging Face datasets in a schema's metadata.
_HUGGING_FACE = b"huggingface"


def check_columns(shown: str, schema: pa.Schema) -> None:
    """Check that a manifest has the required columns, and their types.

    Args:
        shown: name of the file, for messages.

    Raises:
        ManifestError: naming the file, the column, what was found and what was expected.
    """
    if "reference_id" not in schema.names:
        raise ManifestError(_missing(shown, "reference_id", schema))
    if "mask_url" not in schema.names and form_of_masks(schema) is None:
        if MASK_COLUMN in schema.names:
            raise ManifestError(f"{shown}: {no_masks(schema)}")
        raise ManifestError(_missing(shown, "mask_url", schema))
    if not any(name in schema.names for name in SEGMENT_COLUMNS):
        raise ManifestError(_missing(shown, "segments", schema))
    for name in used_columns(schema):
        if schema.names.count(name) > 1:
            raise ManifestError(f"{shown}: there are several columns named {name!r}")
    for name in TEXT_COLUMNS:
        if name in schema.names:
            _check_type(shown, name, schema.field(name).type, "text", is_text)
    for name in SIZE_COLUMNS:
        if name in schema.names:
            _check_type(shown, name, schema.field(name).type, "integers", _is_number)
    column = segment_column(schema)
    _check_type(shown, column, schema.field(column).type, _EXPECTED_SEGMENTS, _is_segments)
    if FINDINGS_COLUMN in schema.names:
        kind = schema.field(FINDINGS_COLUMN).type
        _check_type(shown, FINDINGS_COLUMN, kind, str(FINDINGS_TYPE), _is_findings)


def segment_column(schema: pa.Schema) -> str:
    """The name of the column of Segments in a manifest's schema."""
    return next(name for name in SEGMENT_COLUMNS if name in schema.names)


def used_columns(schema: pa.Schema) -> tuple[str, ...]:
    """The columns that segpipe itself reads; all others are carried through to the tables."""
    masks = () if form_of_masks(schema) is None else (MASK_COLUMN,)
    return (*TEXT_COLUMNS, *SIZE_COLUMNS, FINDINGS_COLUMN, segment_column(schema), *masks)


def form_of_masks(schema: pa.Schema) -> MaskForm | None:
    """How the column ``mask`` holds masks; None if there is none that does."""
    if MASK_COLUMN not in schema.names:
        return None
    return mask_form(schema.field(schema.names.index(MASK_COLUMN)).type)


def no_masks(schema: pa.Schema) -> str:
    """Why a column ``mask`` holds no masks, and what to do."""
    kind = schema.field(schema.names.index(MASK_COLUMN)).type
    hint = ""
    if is_text(plain_type(kind)):
        hint = "; decode base64 with base64.b64decode, name files in a column 'mask_url'"
    elif is_list(plain_type(kind)):
        hint = "; apply argmax or a threshold to scores, give each row a height and a width"
    return f"column {MASK_COLUMN!r} holds {type_name(kind)}, expected {EXPECTED_MASKS}{hint}"


def class_names(schema: pa.Schema) -> tuple[str, ...]:
    """The names of integer labels, where a Hugging Face ``ClassLabel`` gives them; else empty."""
    try:
        features = json.loads((schema.metadata or {})[_HUGGING_FACE])["info"]["features"]
        found = _class_labels(features[segment_column(schema)], under_label=False)
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    return next(found, ())


def _class_labels(feature: object, *, under_label: bool) -> Iterator[tuple[str, ...]]:
    """The names of each ClassLabel below a member ``label`` of a feature."""
    if isinstance(feature, Mapping):
        names = feature.get("names")
        if under_label and feature.get("_type") == "ClassLabel" and isinstance(names, list):
            yield tuple(map(str, names))
        for key, member in feature.items():
            yield from _class_labels(member, under_label=under_label or key == "label")
    elif isinstance(feature, list):
        for member in feature:
            yield from _class_labels(member, under_label=under_label)


def _check_type(shown: str, name: str, kind: pa.DataType, expected: str, fits: Any) -> None:
    # A column of nulls alone has no type; its rows are judged by the rules.
    if not (fits(plain_type(kind)) or pa.types.is_null(kind)):
        # Not read as text: the zeros in front of 000139 are gone, and 1.0 is not the item 1.
        written_as_text = (
            f"; write it as text, in pandas with df[{name!r}].astype('Int64').astype('string'), or "
            "read it with dtype=str where ids have leading zeros"
        )
        hint = written_as_text if expected == "text" and _is_number(plain_type(kind)) else ""
        raise ManifestError(
            f"{shown}: column {name!r} holds {type_name(kind)}, expected {expected}{hint}"
        )


def _missing(shown: str, name: str, schema: pa.Schema) -> str:
    close = difflib.get_close_matches(name, schema.names, n=1, cutoff=0.6)
    hint = f"; is it {close[0]!r}?" if close else ""
    there = listed(schema.names) or "none"
    return f"{shown}: there is no column {name!r} (columns: {there}){hint}"


def _is_number(kind: pa.DataType) -> bool:
    # pandas writes integer columns with nulls as floats.
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _is_segments(kind: pa.DataType) -> bool:
    if is_text(kind):
        return True
    if pa.types.is_struct(kind):  # of lists, as Hugging Face writes a list of structs
        lists = {field.name for field in kind if is_list(field.type)}
        return {"label", "index"} <= lists
    if not is_list(kind):
        return False
    member = kind.value_type
    if pa.types.is_null(member):
        return True
    return pa.types.is_struct(member) and {"label", "index"} <= {field.name for field in member}


def _is_findings(kind: pa.DataType) -> bool:
    return is_list(kind) and bool(
        pa.types.is_struct(kind.value_type)
        and {"rule", "message"} <= {field.name for field in kind.value_type}
    )


def type_name(kind: pa.DataType) -> str:
    """A type in a message, shortened."""
    text = str(kind).replace("element: ", "").replace("item: ", "")
    return text if len(text) <= 120 else text[:117] + "..."
