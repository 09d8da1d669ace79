"""Settings of the documentation: `sphinx-build -W -b html docs docs/_build/html`."""

from __future__ import annotations

import re
import sys
from importlib.metadata import metadata
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from numpydoc.xref import DEFAULT_LINKS
from sphinx import addnodes

import nnarray

sys.path.insert(0, str(Path(__file__).parent))  # for pages and formulas
from formulas import as_role, escaped

project = "nnarray"
author = copyright = "the nnarray authors"
version = release = nnarray.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_copybutton",
    "sphinx_design",
    "pages",
]
exclude_patterns = ["_build", "_templates", "**/.ipynb_checkpoints", "notebooks/ja"]  # translations become notebooks
nb_execution_cache_path = "_build/.jupyter_cache"
nb_execution_mode = "cache"  # notebooks are run where their code has changed since the last build
nb_execution_timeout = 600  # of one cell, on a busy machine too
nb_ipywidgets_js = {}  # pages are static: nothing is loaded from another site
nb_execution_raise_on_error = True
nb_merge_streams = True
html_theme = "furo"
html_title = f"nnarray {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = False
html_show_sourcelink = False
smartquotes = False  # names in quotes are code: "concat"
pygments_style = "default"  # both have enough contrast for WCAG AA, comments and output included
pygments_dark_style = "monokai"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

default_role = "py:obj"  # `Name` in a docstring links to what is documented under that name, and is code if nothing is
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True  # public names among the types of parameters are links, other words are not
numpydoc_xref_ignore = "all"
DEFAULT_LINKS.clear()  # of Python's own types, to another site
numpydoc_xref_aliases = {name: f"nnarray.{name}" for name in nnarray.__all__}
maximum_signature_line_length = 88
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
plot_include_source = True
plot_html_show_formats = False
plot_html_show_source_link = False
plot_formats = [("png", 110)]
plot_template = (Path(__file__).parent / "_templates" / "plot.rst").read_text(encoding="utf-8")
suppress_warnings = ["ref.citation"]  # a docstring lists its sources without pointing at each of them


def addresses() -> dict[str, str]:
    """The addresses that pyproject.toml gives under [project.urls]: none, as long as the project is not published."""
    given = metadata("nnarray").get_all("Project-URL") or []
    return dict(line.split(", ", 1) for line in given)


if repository := addresses().get("Repository"):  # then each page has links to its source, and to what is known of it
    html_theme_options = {
        "source_repository": repository,
        "source_branch": "main",
        "source_directory": "docs/",
        "footer_icons": [
            {"name": "Report a problem", "url": addresses().get("Issues", repository), "html": "!", "class": ""}
        ],
    }


def visit_math(self, node: nodes.math) -> None:
    """Formulas as MathML, which browsers draw themselves: no script, and nothing loaded from another site."""
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def visit_displaymath(self, node: nodes.math_block) -> None:
    """Write a formula that has a line of its own."""
    self.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


SPLIT = re.compile(r"(?<=\S) {2,}(?=\S)")


def formulas_are_mathematics(app, what, name, obj, options, lines: list[str]) -> None:
    """Typeset the formulas of a docstring. What it sets apart by several blanks, as the shapes, gets lines of its own.

    Only before the first section, and not in lists and examples, whose lines begin with blanks or signs.
    """
    text = "\n".join(lines)
    end = re.search(r"^\S.*\n-{3,}$", text, re.MULTILINE)
    intro, sections = (text[: end.start()], text[end.start() :]) if end else (text, "")
    paragraphs = [
        _paragraph(each) if re.match(r"\w|\(", each) and not re.search(r"^\s|::$", each, re.MULTILINE) else each
        for each in re.split(r"\n{2,}", intro)
    ]
    lines[:] = ("\n\n".join(paragraphs) + "\n" + sections).split("\n")


def _paragraph(text: str) -> str:
    """A paragraph with its formulas as mathematics, or as it was if it has none."""
    line = text.replace("\n", " ")
    if SPLIT.search(line):
        return "".join(f"| {as_role(each)}\n" for each in SPLIT.split(line))
    typeset = as_role(line)
    return text if typeset == line else typeset


def formulas_are_text(app, what, name, obj, options, lines: list[str]) -> None:
    """What could not be typeset stays as it is written."""
    lines[:] = [line if line.lstrip().startswith((">>>", "...")) else escaped(line) for line in lines]


def citations_are_numbers(app, doctree, docname) -> None:
    """numpydoc gives every source a name that is unique in all pages; a reader expects [1]."""
    for node in list(doctree.findall(nodes.Text)):
        if re.search(r"\bR[0-9a-f]{8,}-\d+\b", node):
            node.parent.replace(node, nodes.Text(re.sub(r"\bR[0-9a-f]{8,}-(\d+)\b", r"\1", node)))


def names_are_short(app, env, node, contnode):
    """In all docstrings, `Model` is nn.Model, whatever module the docstring is in."""
    if node.get("reftype") == "obj" and not node["reftarget"].startswith("nnarray."):
        domain = env.domains.python_domain
        return domain.resolve_xref(
            env, node["refdoc"], app.builder, "obj", f"nnarray.{node['reftarget']}", node, contnode
        )
    return None


def sources_lead_back(app, pagename, templatename, context, doctree) -> None:
    """From a source, lead back to the page of the object: viewcode's anchor is that of the module, not of the page."""
    if pagename.startswith("_modules/") and "body" in context:
        context["body"] = re.sub(r'(class="viewcode-back" href="[^"#]*)#[^"]*', r"\1", context["body"])


SIGNATURE = re.compile(r"<dl>\n((?:<dd><em class=\"sig-param\">.*</dd>\n)+)</dl>")


def signatures_are_lines(app, pagename, templatename, context, doctree) -> None:
    """Sphinx writes a long signature as a list of definitions without terms, which screen readers cannot read out."""
    if "body" in context:
        context["body"] = SIGNATURE.sub(_signature_lines, context["body"])


def _signature_lines(found: re.Match[str]) -> str:
    lines = found[1].replace("<dd>", "<div>").replace("</dd>", "</div>")
    return f'<div class="signature">\n{lines}</div>'


def sources_are_items(app, pagename, templatename, context, doctree) -> None:
    """docutils gives each source a role that ARIA has given up; it is an item of its list."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def notebooks_are_downloaded(app, doctree) -> None:
    """Put a link to the notebook below the title of its page."""
    source = Path(app.env.doc2path(app.env.docname))
    if source.suffix == ".ipynb":
        link = addnodes.download_reference("", "Download this notebook", reftarget=f"/{app.env.docname}.ipynb")
        title = next(doctree.findall(nodes.title))
        title.parent.insert(title.parent.index(title) + 1, nodes.paragraph("", "", link, classes=["download"]))


def setup(app) -> None:
    """Connect the functions above to Sphinx."""
    app.connect("doctree-resolved", citations_are_numbers)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    app.connect("doctree-read", notebooks_are_downloaded, priority=100)  # before Sphinx collects what is downloaded
    app.connect("html-page-context", sources_lead_back)
    app.connect("html-page-context", signatures_are_lines)
    app.connect("html-page-context", sources_are_items)
    app.connect("missing-reference", names_are_short)
    app.connect("autodoc-process-docstring", formulas_are_mathematics, priority=300)
    app.connect("autodoc-process-docstring", formulas_are_text, priority=400)  # before numpydoc
