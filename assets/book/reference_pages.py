"""Sphinx extension of the reference part: docstrings, sources and words with their uses, pages' seconds."""

import dataclasses
import inspect
import re
from collections import defaultdict
from pathlib import Path
from urllib.parse import quote

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from pybtex.plugin import register_plugin
from pybtex.richtext import Tag, Text
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle
from sphinx.domains.python import PyObject
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from classroom.plain import GLOSSARY_LINK

EXTENSIONS = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinxcontrib.bibtex"]
SETTINGS = {
    "add_module_names": False,
    "autodoc_member_order": "bysource",
    "autodoc_preserve_defaults": True,
    "autosummary_generate": False,
    "bibtex_bibfiles": ["lessons/references.bib"],
    "bibtex_default_style": "annotated",
    "default_role": "py:obj",
    "maximum_signature_line_length": 70,
    "napoleon_custom_sections": [("Sources", "References")],
    "napoleon_google_docstring": False,
    "napoleon_use_ivar": True,
    "napoleon_use_rtype": False,
}
GLOSSARY = "lessons/glossary"
DOI = re.compile(r"\bdoi (10\.\d{4,9}/\S*[^\s.,;])")


class Keys(BaseLabelStyle):
    """The keys of the file as the entries' labels: that is what one cites by."""

    def format_labels(self, sorted_entries):
        """Return the label of each entry."""
        return [entry.key for entry in sorted_entries]


class Annotated(Style):
    """References as in any paper, each with where it is used and what to read it for."""

    default_label_style = Keys

    def format_entry(self, label, entry, bib_data=None):
        """Return the formatted entry with its two fields of ours after it."""
        formatted = super().format_entry(label, entry, bib_data)
        used, note = (Text.from_latex(entry.fields[name]) for name in ("usedin", "annotation"))
        formatted.text = Text("[", label, "] ", formatted.text, " ", Tag("strong", used, "."), " ", note)
        return formatted


def tidy_docstring(app, what, name, obj, options, lines):
    """Make of a docstring what Sphinx takes as it is meant: links, formulae, plain marks and stars."""
    text = DOI.sub(doi_link, "\n".join(lines))
    # References are numbered anew in each docstring, which one page cannot have.
    text = re.sub(r"^\.\. (\[\d+\])", r"-  \1", text, flags=re.M)
    text = re.sub(r"(\[\d+\])_", r"\1", text)
    text = re.sub(r"(?<=[(, ])\*(?=\w+\))", r"\*", text)  # (ndim, *shape)
    # A formula stands apart and further in, its number near; it is no Python.
    block = r"\1\2\n\1.. code-block:: text\n\n"
    text = re.sub(r"^( *)(\S.*\n)\n(?=\1 {4}[^\s\d*-])", block, text, flags=re.M)
    text = re.sub(r"(?<=\S) {5,}(?=\()", "    ", text)
    text = re.sub(r"^(?! {4})(.*)", lambda line: re.sub(r"\|(?=\w)", r"\|", line[0]), text, flags=re.M)
    lines[:] = text.split("\n")


def doi_link(found):
    """Return the link to a DOI; a bracket that it does not open stands around it."""
    doi, after = found[1], ""
    while doi.endswith(")") and doi.count(")") > doi.count("("):
        doi, after = doi[:-1], ")" + after
    return f"`doi:{doi} <https://doi.org/{quote(doi)}>`__{after}"


def tidy_fields(app, what, name, obj, options, lines):
    """Give each of several attributes a line of its own, as arguments have, and link what is returned."""

    def each_alone(found):
        return "\n".join(f":{found[1]} {attribute}:{found[3]}" for attribute in found[2].split(", "))

    text = re.sub(
        r"^:(ivar|vartype) (\w+(?:, \w+)+):(.*(?:\n +.*)*)", each_alone, "\n".join(lines), flags=re.M
    )
    lines[:] = re.sub(r"^:returns: \*([A-Z]\w+)\*", r":returns: :py:class:`\1`", text, flags=re.M).split("\n")


def tidy_signature(app, what, name, obj, options, signature, returned):
    """Show how a viewer is called. How a result is made, only its maker needs to know."""
    if dataclasses.is_dataclass(obj):
        return "", returned
    if what == "class" and "t.Any" in (signature or ""):  # traitlets' own, which hides that of __init__
        own = inspect.signature(obj.__init__)
        return str(own.replace(parameters=list(own.parameters.values())[1:])), returned
    return None


def find_by_last_name(app, env, node, contnode):
    """Return a link to what a docstring calls by its last name; what is not ours is plain code."""
    if node.get("refdomain") != "py":
        return None
    if isinstance(contnode, nodes.literal):
        contnode["classes"] = ["code"]  # and looks like no link
    target, ours = node["reftarget"], env.get_domain("py").objects
    found = [
        entry
        for name, entry in ours.items()
        if name.endswith(f".{target}") and entry.objtype in ("class", "exception", "function", "module")
    ]
    if len(found) == 1:
        return make_refnode(app.builder, node["refdoc"], found[0].docname, found[0].node_id, contnode)
    return None if target.startswith(("helpers.", "data_fetchers.")) else contnode


def say_where_met(app, doctree, docname):
    """Say below each word of the glossary in which lessons it is met, that is, linked to."""
    if docname != GLOSSARY:
        return
    met = defaultdict(list)
    for lesson in sorted(name for name in app.env.found_docs if re.fullmatch(r"lessons/\d\d_\w+", name)):
        text = Path(app.env.doc2path(lesson)).read_text(encoding="utf-8")
        for anchor in {anchor for _, anchor in GLOSSARY_LINK.findall(text)}:
            met[anchor].append(lesson)
    for section in doctree.findall(nodes.section):
        if lessons := met[section.get("slug")]:
            line = nodes.paragraph("", "Met in ", classes=["met-in"])
            for place, lesson in enumerate(lessons):
                line += [nodes.Text(", ")] * bool(place) + [link_to(app, docname, lesson)]
            section += line


def link_to(app, docname, page):
    """Return a link from one page to another, by its title."""
    address = app.builder.get_relative_uri(docname, page)
    return nodes.reference("", app.env.titles[page].astext(), refuri=address, internal=True)


class SecondsPlace(nodes.General, nodes.Element):
    """Where the table of seconds will stand."""


class Seconds(SphinxDirective):
    """Directive for a table of the seconds that each page took, which are known when all have run."""

    def run(self):
        """Return the place of the table."""
        return [SecondsPlace()]


def write_seconds(app, doctree, docname):
    """Put the table of seconds in its place."""
    for place in list(doctree.findall(SecondsPlace)):
        table = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in range(2)), cols=2)
        table += nodes.thead("", _row(nodes.Text("Page"), nodes.Text("Seconds")))
        table += nodes.tbody()
        for page, data in sorted(NbMetadataCollector.get_doc_data(app.env).items()):
            seconds = (data.get("exec_data") or {}).get("runtime")
            if seconds is not None:
                table[-1] += _row(link_to(app, docname, page), nodes.Text(f"{seconds:.0f}"))
        place.replace_self(nodes.table("", table, classes=["colwidths-auto"]))


def _row(*cells):
    """Return a row of a table."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def configure(app, config):
    """Set what concerns these pages alone."""
    for name, value in SETTINGS.items():
        config[name] = value


def setup(app):
    """Connect everything."""
    for extension in EXTENSIONS:
        app.setup_extension(extension)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    register_plugin("pybtex.style.formatting", "annotated", Annotated)
    app.add_node(SecondsPlace)
    app.add_directive("seconds", Seconds)
    app.connect("config-inited", configure, priority=100)
    app.connect("autodoc-process-docstring", tidy_docstring, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", tidy_fields, priority=900)  # after it
    app.connect("autodoc-process-signature", tidy_signature)
    app.connect("missing-reference", find_by_last_name)
    app.connect("doctree-resolved", say_where_met)
    app.connect("doctree-resolved", write_seconds)
    return {"parallel_read_safe": True}
