"""Settings of the documentation: `sphinx-build -W -b html docs docs/_build/html`."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import nnarray

project = "nnarray"
author = copyright = "the nnarray authors"
version = release = nnarray.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
nb_execution_cache_path = "_build/.jupyter_cache"
nb_execution_mode = "cache"  # notebooks are run where their code has changed since the last build
nb_execution_timeout = 120
nb_ipywidgets_js = {}  # pages are static: nothing is loaded from another site
nb_execution_raise_on_error = True
nb_merge_streams = True
html_theme = "furo"
html_title = f"nnarray {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
smartquotes = False  # names in quotes are code: "concat"
pygments_style = "friendly"
pygments_dark_style = "monokai"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

default_role = "py:obj"  # `Name` in a docstring links to what is documented under that name, and is code if nothing is
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False
maximum_signature_line_length = 88
suppress_warnings = ["ref.citation"]  # a docstring lists its sources without pointing at each of them


def visit_math(self, node: nodes.math) -> None:
    """Formulas as MathML, which browsers draw themselves: no script, and nothing loaded from another site."""
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def visit_displaymath(self, node: nodes.math_block) -> None:
    """Write a formula that has a line of its own."""
    self.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def formulas_are_text(app, what, name, obj, options, lines: list[str]) -> None:
    """In reStructuredText |x|, *x and x_ are markup; in the formulas of our docstrings they are themselves."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            lines[i] = re.sub(r"[|*]|(?<=\w)_(?=\W|$)", r"\\\g<0>", line)


def citations_are_numbers(app, doctree, docname) -> None:
    """numpydoc gives every source a name that is unique in all pages; a reader expects [1]."""
    for node in list(doctree.findall(nodes.Text)):
        if re.search(r"\bR[0-9a-f]{8,}-\d+\b", node):
            node.parent.replace(node, nodes.Text(re.sub(r"\bR[0-9a-f]{8,}-(\d+)\b", r"\1", node)))


def setup(app) -> None:
    """Connect the functions above to Sphinx."""
    app.connect("doctree-resolved", citations_are_numbers)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    app.connect("autodoc-process-docstring", formulas_are_text, priority=400)  # before numpydoc
