"""Sphinx configuration; `make docs` builds into docs/_build/html."""

project = "costmodel"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "alabaster"
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # README links to files of the repository, which are pages here
exclude_patterns = ["_build"]
