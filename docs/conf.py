"""Sphinx configuration; `make docs` builds into docs/_build/html."""

import re
import sys
from pathlib import Path

project = "costmodel"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "alabaster"
html_theme_options = {"page_width": "1300px", "body_max_width": "none"}
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # README links to files of the repository, which are pages here
exclude_patterns = ["_build"]

_ARGUMENT = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*): +(\S.*)$")


def arguments_as_list(app, what, name, obj, options, lines):
    """Docstrings list arguments as ``name:   text`` with indented continuation lines; make each block a bullet list."""
    out, inside = [], False
    for line in lines:
        match = _ARGUMENT.match(line)
        if match:
            if not inside:
                out.append("")
            out.append(f"* **{match[1]}**: {match[2]}")
            inside = True
        elif inside and line.startswith(" "):
            out.append("  " + line.strip())
        else:
            if inside and line:
                out.append("")
            inside = False
            out.append(line)
    lines[:] = out


def make_gallery(app):
    """The figures of the gallery, which are made and not kept."""
    sys.path.insert(0, str(Path(__file__).parent))
    from gallery import make

    make(Path(__file__).parent / "gallery")


def setup(app):
    app.connect("builder-inited", make_gallery)
    app.connect("autodoc-process-docstring", arguments_as_list)
