"""Sphinx's configuration of the site; `make docs` collects the sources first (`docs/tools/stage.py`)."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

import audiocodec

_setup = configparser.ConfigParser()
_setup.read(CHECKOUT / "setup.cfg", encoding="utf-8")

project = "audiocodec"
author = _setup["metadata"]["author"]
copyright = author
version = release = audiocodec.__version__
html_title = f"audiocodec {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
root_doc = "index"
exclude_patterns = ["tools"]
default_role = "code"  # docstrings quote names as `name`
myst_heading_anchors = 4
# docstrings name attributes that several classes have; a generated page may leave out a level of headings
suppress_warnings = ["ref.python", "myst.header"]
nitpicky = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
napoleon_use_rtype = False
napoleon_numpy_docstring = False
pygments_style = "friendly"
pygments_dark_style = "monokai"

html_theme = "furo"
html_theme_options = {"top_of_page_buttons": []}
html_extra_path = [str(CHECKOUT / "build" / "docs" / "extra")]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
