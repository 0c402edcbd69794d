"""The page as one HTML document: styles, data and scripts inside it, and a policy that forbids every request."""

from __future__ import annotations

import html
import json
from importlib.resources import files

from costmodel.report.page.export import Exported

SCRIPTS = ("exact", "model", "links", "overlap", "device", "solve", "format", "charts", "bars", "profile", "table", "controls",
           "headline", "sections", "answers", "app")


def document(exported: Exported) -> str:
    """The document. Names from the model reach it as JSON text or escaped, never as markup or code."""
    scripts = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return (_asset("page.html").replace("{{title}}", html.escape(str(exported.data["name"])))
            .replace("{{style}}", _asset("page.css"))
            .replace("{{functions}}", exported.functions).replace("{{scripts}}", scripts)
            .replace("{{data}}", embedded(exported.data)))  # last: a name may look like a place


def embedded(data: object) -> str:
    r"""JSON inside a script element, where ``<`` could end it.

    >>> embedded({"name": "</script>"})
    '{"name":"\\u003c/script>"}'
    """
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
