"""Settings of the docs site; ``make docs`` builds it from ``docs/_build/source``, which ``_ext/stage.py`` writes."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import clbench

project = "clbench"
author = "The clbench authors"
version = release = clbench.__version__
project_copyright = author
html_title = f"clbench {release}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "cross_references",
]
root_doc = "index"
smartquotes = False  # options and texts to type are shown as they are typed
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "tasklist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88

html_theme = "furo"
html_static_path = [str(Path(__file__).parent / "_static")]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"
