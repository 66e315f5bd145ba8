"""What a student's page shows without a network: formulae, and nothing that acts."""

import re
import xml.etree.ElementTree as ET

import nbformat.v4
import pytest

from classroom.feedback import Page, with_mathml
from classroom.plain import CODE_SPAN
from tests import lessonfile


def elements(text):
    """Return the names of the elements of the formulae in a text."""
    formulae = re.findall(r"<math .*?</math>", text)
    return [element.tag.split("}")[-1] for formula in formulae for element in ET.fromstring(formula).iter()]


def test_formulae_become_mathml():
    text = with_mathml("the $n$ voxels\n\n$$\n\\frac{a}{b} < c\n$$")
    assert re.match(r"the <math [^>]*display=\"inline\".*?<mi>n</mi>.*?</math> voxels\n\n<math ", text)
    assert "mfrac" in elements(text) and 'display="block"' in text and "$" not in text


@pytest.mark.parametrize(
    "text", ["`a $b$ c`", "```\n$a$\n```", "it costs $3 or $4", r"\$a$", "a $\n\nb$", "$\\frac{$", "$ a $"]
)
def test_what_is_no_formula_stays(text):
    assert with_mathml(text) == text


@pytest.mark.parametrize(
    "tex",
    [
        r"\text{<script>alert(1)</script>}", r"\text{&lt;script&gt;alert(1)&lt;/script&gt;}", "<script>",
        r"\href{javascript:alert(1)}{a}", r"\style{color:url(x)}{a}", r"\text{</math><img src=x onerror=a>}",
        r"\class{a}{\text{\" onclick=a}}", r"\mathrm{<}script\mathrm{>}",
    ],
)  # fmt: skip
def test_formula_does_nothing_but_show_itself(tex):
    text = with_mathml(f"${tex}$")
    assert not {"script", "img", "a"} & set(elements(text))
    for formula in re.findall(r"<math .*?</math>", text):
        for element in ET.fromstring(formula).iter():
            assert not re.search("javascript|href|onclick|url", str(element.attrib))
    assert not re.search("<script|<img", re.sub(r"<math .*</math>", "", text)) or text == f"${tex}$"


@pytest.mark.parametrize("path", lessonfile.LESSONS, ids=lambda path: path.stem)
def test_all_formulae_of_the_lessons_can_be_read(path):
    for cell in lessonfile.read(path).cells:
        if cell.cell_type == "markdown":
            left = CODE_SPAN.sub("", re.sub(r"```.*?```", "", with_mathml(cell.source), flags=re.S))
            assert "$" not in left, left


def test_page_fetches_no_mathjax():
    cell = nbformat.v4.new_markdown_cell("a $b$ c")
    page, _ = Page(template_name="classic").from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert "<mi>b</mi>" in page
    assert not re.search("<script[^>]*mathjax", page, flags=re.I)
