"""Sphinx: the pages of docs/ as they are, and the reference that antsibull-docs makes from roles and modules."""

project = "canvas.fleet"
author = "canvas-fleet contributors"
project_copyright = author
extensions = ["sphinx_antsibull_ext", "myst_parser"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["docs/README.collection.md"]  # the README without a checkout: the start page has both ways
myst_heading_anchors = 4
# Links to source files are for the repository; the site has the pages alone. Labels of Ansible's own documentation are
# on another site, which is not asked while this one is built.
suppress_warnings = ["myst.xref_missing", "myst.header", "misc.highlighting_failure", "ref.ref"]
html_theme = "sphinx_ansible_theme"
html_theme_options = {"display_version": False, "vcs_pageview_mode": "view"}
html_title = "canvas.fleet"
html_use_smartypants = True
html_show_sphinx = False
html_context = {"display_github": False}
nitpicky = True
