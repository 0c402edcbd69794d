"""Sphinx configuration; `make docs` builds into docs/_build/html."""

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent

project = "costmodel"
author = "the authors of costmodel"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
html_theme = "sphinx_book_theme"
html_title = "costmodel"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_static_path = ["_static"]
html_css_files = ["wide.css"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True
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
    sys.path.insert(0, str(HERE))
    from gallery import make

    make(HERE / "gallery")


def copy_notebooks(app):
    """The course's notebooks as pages, executed here; they are kept beside the documentation, without outputs."""
    (HERE / "course").mkdir(exist_ok=True)
    for notebook in (HERE.parent / "notebooks").glob("*.ipynb"):
        shutil.copy2(notebook, HERE / "course")


def setup(app):
    app.connect("builder-inited", make_gallery)
    app.connect("builder-inited", copy_notebooks)
    app.connect("autodoc-process-docstring", arguments_as_list)
