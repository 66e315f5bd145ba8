"""Feedback pages that fetch nothing: browsers draw the formulae by themselves, as they are MathML."""

import html
import re
import xml.etree.ElementTree as ET

from latex2mathml.converter import convert_to_element
from nbconvert.exporters import HTMLExporter

# What stands in code is no formula.
CODE_OR_FORMULA = re.compile(
    r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)"
    r"|(?<!\\)\$\$(?P<display>.+?)\$\$|(?<![\\$])\$(?![\s$])(?P<inline>(?:[^$\n]|\n(?!\n))+?)(?<![\s\\])\$(?!\d)",
    flags=re.M | re.S,
)
MATHJAX = re.compile(r"<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->", flags=re.S)


class Page(HTMLExporter):
    """Export a graded notebook without nbconvert's script that fetches another to draw the formulae."""

    def from_notebook_node(self, nb, resources=None, **options):
        """Return the page and its resources."""
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                cell.source = with_mathml(cell.source)
        page, resources = super().from_notebook_node(nb, resources, **options)
        return MATHJAX.sub("", page), resources


def with_mathml(text):
    """Return Markdown in which formulae in TeX, ``$…$`` and ``$$…$$``, are MathML where they can be read.

    Parameters
    ----------
    text : str
        Markdown, which a student may have written.

    Returns
    -------
    str
        The same with elements ``<math>`` of one line each, which link to nothing.
    """

    def convert(found):
        tex = found["display"] or found["inline"]
        return (
            found[0] if tex is None else _mathml(tex, "block" if found["display"] else "inline") or found[0]
        )

    return CODE_OR_FORMULA.sub(convert, text)


def _mathml(tex, display):
    """Return a formula as MathML, or nothing where it cannot be read."""
    try:
        tree = convert_to_element(" ".join(tex.split()), display=display)
    except Exception:  # of many kinds: it was written by a student
        return ""
    for element in tree.iter():
        # The converter leaves it to its own, careless, writer to resolve what stands for characters.
        element.text = html.unescape(element.text or "")
        for name in {"href", "src", "xlink:href", "style"} & set(element.attrib):
            del element.attrib[name]
    return ET.tostring(tree, encoding="unicode")
