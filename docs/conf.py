"""Sphinx settings: MyST Markdown with the furo theme. `make docs` builds into docs/_build/html."""

project = "focus"
author = "The FOCUS authors"
copyright = "2026, The FOCUS authors"

extensions = ["myst_parser"]
html_theme = "furo"
html_title = "focus"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist", "dollarmath"]
