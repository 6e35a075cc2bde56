"""How Sphinx builds the site: ``make docs``.

The source folder is the checkout, since the pages link to README.md, CHANGELOG.md and others beside
``docs/`` as a Git web page does; what is no page is left out of it.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import GoogleDocstring

import segpipe
import segpipe.pipeline

_CHECKOUT = Path(__file__).resolve().parents[1]
_PAGES = {"docs", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"}

project = "segpipe"
author = "segpipe's authors"
project_copyright = "segpipe's authors, Apache 2.0"
version = release = segpipe.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
root_doc = "docs/index"
source_suffix = {".md": "markdown"}
exclude_patterns = sorted({"site", *(path.name for path in _CHECKOUT.iterdir())} - _PAGES)
templates_path = ["_templates"]
# A page that is gone from a list is told by what links to it; one in no list is still an error.
suppress_warnings = ["toc.not_readable"]
nitpicky = True
# Annotations are written out in full; what is not of segpipe's interface has no page here.
nitpick_ignore_regex = [
    (r"py:(class|meth|data|func)", r"\w+\..*"),
    ("py:class", "NDArray|Sources"),
]
smartquotes = False  # `--option` stays what it is

# As on a Git web page: headings have anchors of their words, and links to them are checked.
myst_heading_anchors = 6
copybutton_exclude = ".linenos, .gp, .go"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"segpipe {segpipe.__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "to_docs.html"}
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#1f5f8b",
        "color-brand-content": "#1f5f8b",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7db8e0",
        "color-brand-content": "#7db8e0",
    },
}
pygments_style = "friendly"
pygments_dark_style = "monokai"


def _dashes(app: Sphinx, page: nodes.document) -> None:
    """Between a parameter and its words; where nothing else is made typographic."""
    for text in list(page.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def _folders_as_text(app: Sphinx, page: nodes.document) -> None:
    """A link to a folder of the checkout, which has no page here, becomes text."""
    folder = Path(page["source"]).parent
    for link in list(page.findall(pending_xref)):
        if link["reftype"] == "myst" and (folder / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def _exported(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """A name by the module that holds it is the name that users import."""
    module, _, name = node["reftarget"].rpartition(".")
    for package in (segpipe, segpipe.pipeline):
        if name in package.__all__ and getattr(package, name).__module__ == module:
            return env.domains["py"].resolve_xref(
                env, node["refdoc"], app.builder, node["reftype"],
                f"{package.__name__}.{name}", node, content,
            )  # fmt: skip
    return None


_SEVERAL = re.compile(r":(param|ivar) (\w+(?:, \w+)+):(.*)")


def _readable(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """What napoleon leaves: a property's ``x: y`` is a sentence and no type, and of ``a, b: words``
    each has the words.
    """
    if what == "property" and lines:
        text = inspect.cleandoc(thing.__doc__ or "")
        lines[:] = GoogleDocstring(text, app.config, app, "method", name, thing).lines()
    for place in reversed(range(len(lines))):
        found = _SEVERAL.match(lines[place])
        if found is None:
            continue
        end = place + 1
        while end < len(lines) and lines[end].startswith(" "):
            end += 1
        kind, names, words = found.groups()
        more = lines[place + 1 : end]
        lines[place:end] = [
            line for one in names.split(", ") for line in (f":{kind} {one}:{words}", *more)
        ]


def _parsable(
    app: Sphinx,
    what: str,
    name: str,
    thing: object,
    options: object,
    signature: str | None,
    back: str,
) -> tuple[str, str] | None:
    """Defaults as they are written: a signature with another ``repr`` is cut at every comma."""
    if signature is None:
        return None
    enums_by_name = re.sub(r"<(\w+\.\w+): [^<>]*>", r"\1", signature)
    return re.sub(r"<[^<>]*>", "...", enums_by_name), back


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("doctree-read", _dashes)
    app.connect("doctree-read", _folders_as_text)
    app.connect("missing-reference", _exported)
    app.connect("autodoc-process-signature", _parsable)
    app.connect("autodoc-process-docstring", _readable, priority=600)
