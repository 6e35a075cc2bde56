"""A code version is a promise: rules that changed have another one, so that Dagster can say which
partitions were made by other rules, and so that no pass is skipped that would find other things."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import segpipe
from segpipe.validation.pass_tables import CODE_VERSION
from segpipe.views.materialized import CODE_VERSION as VIEWS_VERSION

_PACKAGE = Path(segpipe.__file__).parent
#: What decides what a pass over the masks finds and writes.
_VALIDATING = [
    "manifests/carried.py", "manifests/cells.py", "manifests/columns.py",
    "manifests/common_types.py", "manifests/manifest.py", "manifests/plain_types.py",
    "manifests/rows.py",
    "masks/beyond_8_bits.py", "masks/co_occurrence.py", "masks/decoding.py", "masks/encoding.py",
    "masks/fast_path.py",
    "masks/index_values.py", "masks/kernel.py", "masks/measures.py", "masks/orientation.py",
    "masks/png.py", "masks/refusal.py", "masks/runs.py",
    "predictions/class_pdf.py", "predictions/declarations.py", "predictions/declared_metadata.py",
    "predictions/fingerprint.py", "predictions/json_text.py", "predictions/metadata.py",
    "names.py", "predictions/prediction.py", "storage/sources.py",
    "tables/digest.py", "tables/schemas.py",
    "tables/segments.py", "tables/writing.py", "validation/chunk.py", "validation/duplicates.py",
    "validation/ground_truth.py",
    "validation/materialization.py", "validation/partition_tables.py", "validation/pass_tables.py",
    "validation/row_files.py", "validation/summary.py", *sorted(
        f"validation/rules/{path.name}" for path in (_PACKAGE / "validation/rules").glob("*.py")
    ),
]  # fmt: skip
_CONSOLIDATING = [
    "predictions/flags.py", "predictions/view.py", "views/chunk.py", "views/consolidation.py",
    "views/materialized.py",
    "views/merged_pdfs.py",
    "views/summary.py",
]  # fmt: skip

_RENEW = (
    "the code that decides changed: if its results can differ, raise {version} (else not), and in "
    "either case renew the digest here with {digest!r}"
)


def digest_of(names: list[str]) -> str:
    """SHA-256 over the modules' lines, those of comments and docstrings left out."""
    digest = hashlib.sha256()
    for name in names:
        source = (_PACKAGE / name).read_text()
        told: set[int] = set()
        for node in ast.walk(ast.parse(source)):
            body = getattr(node, "body", None)
            first = body[0] if isinstance(body, list) and body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                told.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
        lines = [line.strip() for line in source.splitlines()]
        kept = [
            line
            for number, line in enumerate(lines, 1)
            if line and not line.startswith("#") and number not in told
        ]
        digest.update("\n".join([name, *kept]).encode())
    return digest.hexdigest()[:16]


def test_rules_that_changed_have_another_code_version() -> None:
    found = digest_of(_VALIDATING)
    words = _RENEW.format(version="materialization.CODE_VERSION", digest=found)
    assert (CODE_VERSION, found) == ("10", "378b611950f66293"), words


def test_a_consolidation_that_changed_has_another_code_version() -> None:
    found = digest_of(_CONSOLIDATING)
    words = _RENEW.format(version="views.CODE_VERSION", digest=found)
    assert (VIEWS_VERSION, found) == ("4", "83c35c21030547d1"), words
