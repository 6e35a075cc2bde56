"""The page as one file: its modules, styles and data, with a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import orjson

_STYLES = ("base.css", "gallery.css", "item.css", "boards.css")
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function|class|const) (\w+)", re.MULTILINE)
_ICON = "/pages/favicon.svg"


def page_file(name: str) -> str:
    """The text of a file of the page's."""
    return (resources.files("segpipe.viewer") / "pages" / name).read_text(encoding="utf-8")


def bundled(entry: str = "main") -> str:
    """The page's modules as one script: each a function, after those it imports."""
    return "\n".join(_modules(entry, set()))


def _modules(name: str, seen: set[str]) -> Iterator[str]:
    seen.add(name)
    text = page_file(f"{name}.js")
    for match in _IMPORT.finditer(text):
        if match.group(2) not in seen:
            yield from _modules(match.group(2), seen)
    exported = ", ".join(match.group(2) for match in _EXPORT.finditer(text))
    body = _EXPORT.sub(r"\1 \2", _IMPORT.sub(r"const {\1} = module_\2;\n", text))
    yield f"const module_{name} = (() => {{\n{body}\nreturn {{ {exported} }};\n}})();"


def one_file(title: str, held: Any) -> bytes:
    """An HTML file that needs no server and no other file.

    Args:
        title: of the window, until the page sets its own.
        held: what the page shows, for JSON.
    """
    icon = (
        "data:image/svg+xml;base64," + base64.b64encode(page_file("favicon.svg").encode()).decode()
    )
    style = "".join(map(page_file, _STYLES)).replace(_ICON, icon)
    theme, script = page_file("theme.js"), bundled()
    # In JSON, `<` can be written so that no HTML parser sees an element in it.
    data = orjson.dumps(held).replace(b"<", b"\\u003c").decode()
    policy = (
        f"default-src 'none'; script-src {_hash(theme)} {_hash(script)}; style-src {_hash(style)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    shell = page_file("shell.html")
    head, _, rest = shell.partition("<title>")
    body = rest.partition("</head>")[2]
    return (
        f"{head.replace('<head>', _policy_element(policy), 1)}<title>{_escaped(title)}</title>\n"
        f'<link rel="icon" href="{icon}">\n<style>{style}</style>\n<script>{theme}</script>\n'
        f'<script type="application/json" id="segpipe-data">{data}</script>\n'
        f'<script type="module">{script}</script>\n</head>{body}'
    ).encode()


def _policy_element(policy: str) -> str:
    # Before anything that it is about.
    return f'<head>\n<meta http-equiv="Content-Security-Policy" content="{policy}">'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
