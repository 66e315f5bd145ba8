"""MyST becomes Markdown that Jupyter shows without help."""

import pytest

from classroom.plain import Unreadable, plain_markdown, read_glossary, words

GLOSSARY = {
    "axial": ("Axial", 'A *"belt"* plane.'),
    "field-of-view": ("Field of view", "The box.\nOf voxels."),
}


@pytest.mark.parametrize(
    ("myst", "plain"),
    [
        (":::{exercise} Count · objective 1\n:label: c\n\nHow many?\n:::",
         "#### Exercise: Count · objective 1 · 2 points\n\nHow many?"),
        (":::{dropdown} `a < b` **and** *c*\nNo.\n:::",
         "<details>\n<summary><u><code>a &lt; b</code> <b>and</b> <i>c</i></u></summary>\n\n"
         "No.\n\n</details>"),
        (":::{tip}\nLook.\n\nTwice.\n:::", "> **Tip.** Look.\n>\n> Twice."),
        (":::{note} On size\nSmall.\n:::", "> **Note.** On size Small."),
        ("::::{admonition} Predict first\n:class: predict\n\nWhy?\n\n:::{dropdown} A\nSo.\n:::\n::::",
         "#### Predict first\n\nWhy?\n\n<details>\n<summary><u>A</u></summary>\n\nSo.\n\n</details>"),
        ("see [lesson 2](02_affines.md#x) and [all](https://nipy.org/x)", "see lesson 2 and [all](https://nipy.org/x)"),
        ("an [axial](glossary.md#axial) cut", 'an <abbr title="A &quot;belt&quot; plane.">axial</abbr> cut'),
        ("$a_{b}$ and `{x}` and ``f\"{y}\"``", "$a_{b}$ and `{x}` and ``f\"{y}\"``"),
        ("```python\n:::{note}\n(a)=\n```", "```python\n:::{note}\n(a)=\n```"),
    ],
)  # fmt: skip
def test_becomes_plain(myst, plain):
    assert plain_markdown(myst, GLOSSARY, worth="2 points") == plain


@pytest.mark.parametrize(
    ("myst", "says"),
    [
        (":::{figure} x.png\n:::", "directive `:::{figure} x.png`"),
        ("```{math}\na\n```", "directive ````{math}`"),
        (":::{note}\nnever closed", "never closed"),
        ("{doc}`x`", "role `{doc}`"),
        ("{{ version }}", "substitution"),
        ("![old](old.png)", "stored picture"),
    ],
)
def test_what_has_no_plain_form_is_refused(myst, says):
    with pytest.raises(Unreadable) as caught:
        plain_markdown(myst)
    assert says in str(caught.value) and str(caught.value).endswith(".")


def test_glossary_is_read_and_told():
    glossary = read_glossary("# Glossary\n\n## Axial\n\nA plane.\n\nMore.\n\n## Field of view\n\nThe box.\n")
    assert glossary == {
        "axial": ("Axial", "A plane.\n\nMore."),
        "field-of-view": ("Field of view", "The box."),
    }
    told = words(["a [b](glossary.md#field-of-view)", "c"], glossary)
    assert told == "## Words\n\n**Field of view.** The box."
    assert words(["none"], glossary) == ""
