"""The three notebooks of a lesson: what is in them, what is not, and that they are sound notebooks."""

import ast
import json
import re

import nbformat
import pytest

from classroom import convert
from classroom.plain import Unreadable, read_glossary
from tests import lessonfile
from tests.lessonfile import ROOT, TEMPLATE, points, tags

GLOSSARY = read_glossary((ROOT / "lessons" / "glossary.md").read_text(encoding="utf-8"))
LESSONS = [*lessonfile.LESSONS, TEMPLATE]
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
PRODUCTS = (convert.student, convert.instructor, convert.nbgrader)

OPEN = """
+++ {"tags": ["open-3"]}

:::{admonition} In your own words · objective 1
Which one would you report, and why?
:::

:::{dropdown} A good answer
- names the *systematic* error
:::

+++
"""


def text_of(path):
    return path.read_text(encoding="utf-8")


def with_open_question():
    return text_of(TEMPLATE).replace("\n## Key points", OPEN + "\n## Key points")


def sources(notebook, kind=None):
    return [cell.source for cell in notebook.cells if kind in (None, cell.cell_type)]


def released(notebook):
    """Return the notebook as students get it: without what stands between nbgrader's marks."""
    for cell in notebook.cells:
        for what in ("SOLUTION", "HIDDEN TESTS"):
            cell.source = re.sub(rf"### BEGIN {what}\n.*?### END {what}\n?", "", cell.source, flags=re.S)
    return notebook


def lines_of_code(source):
    return {ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)}


@each_lesson
@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.__name__)
def test_is_a_sound_notebook_and_the_same_each_time(path, product):
    notebook = product(text_of(path), GLOSSARY)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert nbformat.writes(notebook) == nbformat.writes(product(text_of(path), GLOSSARY))
    # No output, alternative text or tag of ours: nothing but what Jupyter and nbgrader act on.
    assert {key for cell in notebook.cells for key in cell.metadata} <= {
        "deletable", "jupyter", "nbgrader", "tags"
    }  # fmt: skip
    assert not [cell for cell in notebook.cells if cell.get("outputs")]


@each_lesson
@pytest.mark.parametrize("product", [convert.student, convert.nbgrader], ids=lambda product: product.__name__)
def test_students_get_no_solution(path, product):
    """No statement of a solution, unless the lesson itself teaches it in another cell; no cell for tests."""
    cells = [cell for cell in lessonfile.read(path).cells if cell.cell_type == "code"]
    shown = [cell.source for cell in cells if not tags(cell) & {"solution", "test"}]
    taught = set().union(*(lines_of_code(lessonfile.strip_magics(source)) for source in shown))
    notebook = released(product(text_of(path), GLOSSARY))
    seen = set().union(*(lines_of_code(lessonfile.strip_magics(each)) for each in sources(notebook, "code")))
    hidden = [cell for cell in cells if tags(cell) & {"solution", "test"}]
    for cell in hidden:
        own = lines_of_code(lessonfile.strip_magics(cell.source)) - taught
        assert own or "test" in tags(cell)
        assert not own & seen
    everything = nbformat.writes(notebook)
    assert "# Solution" not in everything and "The numbers in the text" not in everything
    assert len([cell for cell in cells if tags(cell) & {"exercise"}]) == everything.count("-starter")


@each_lesson
def test_instructor_gets_every_solution(path):
    notebook = convert.instructor(text_of(path), GLOSSARY, "# T\n\n## Timing\n\nAn *hour*.\n\n## More\n\nx")
    solutions = [cell.source for cell in lessonfile.read(path).cells if "solution" in tags(cell)]
    assert solutions == [cell.source for cell in notebook.cells if cell.id.endswith("-solution")]
    assert "<summary><u>Timing</u></summary>\n\nAn *hour*." in notebook.cells[1].source


@each_lesson
def test_graded_points_are_those_of_the_checks(path):
    wanted = {
        lessonfile.exercise_name(cell).split(".")[1]: points(cell)
        for cell in lessonfile.read(path).cells
        if points(cell) is not None
    }
    graded = [cell.metadata.get("nbgrader", {}) for cell in convert.nbgrader(text_of(path), GLOSSARY).cells]
    worth = [each for each in graded if each.get("grade")]
    assert {each["grade_id"]: each["points"] for each in worth if not each["solution"]} == wanted
    rows = convert.syllabus(text_of(path))
    assert {row[0].split(".")[-1]: row[3] for row in rows} == {e["grade_id"]: e["points"] for e in worth}
    by_hand = [each["grade_id"] for each in worth if each["solution"]]
    assert by_hand == [row[0] for row in rows if row[4] == "by hand"]
    ids = [each["grade_id"] for each in graded if each]
    assert len(set(ids)) == len(ids)


def test_all_code_but_answers_is_locked():
    """Autograde puts locked cells back, so that a student may spoil them without losing a point."""
    for cell in convert.nbgrader(text_of(TEMPLATE), GLOSSARY).cells:
        if cell.cell_type == "code":
            assert cell.metadata.nbgrader.locked is not cell.metadata.nbgrader.solution
            assert cell.metadata.nbgrader.solution == cell.id.endswith("-starter")


def test_starter_stands_as_it_was_once_the_solution_is_cut():
    notebook = released(convert.nbgrader(text_of(TEMPLATE), GLOSSARY))
    starter, check = [cell for cell in notebook.cells if cell.id.startswith("template-count")]
    assert starter.source == "n_voxels = ...\n"
    assert check.source.startswith("# Check your answer")
    assert check.source.endswith("1 * feedback.passed  # the points earned")


def test_open_question_is_graded_by_hand():
    text = with_open_question()
    assert convert.syllabus(text)[1] == ("open-1", "In your own words", "1", 3, "by hand")
    notebook = convert.nbgrader(text, GLOSSARY)
    answer = next(cell for cell in notebook.cells if cell.id == "open-1-answer")
    assert answer.cell_type == "markdown" and answer.metadata.nbgrader.points == 3
    assert answer.metadata.nbgrader.grade and answer.metadata.nbgrader.solution
    assert "systematic" in answer.source
    for students in (released(notebook), convert.student(text, GLOSSARY)):
        assert "systematic" not in nbformat.writes(students)
        assert any(
            "why?" in source and "*3 points, graded by hand*" in source
            for source in sources(students, "markdown")
        )
    assert "systematic" in nbformat.writes(convert.instructor(text, GLOSSARY))


def test_errors_that_belong_to_the_lesson_do_not_stop_it():
    cells = convert.student(text_of(TEMPLATE), GLOSSARY).cells
    assert [cell.source for cell in cells if "raises-exception" in cell.metadata.get("tags", ())] == [
        "brain.image.get_data()"
    ]


def test_ids_outlive_a_change_elsewhere_in_the_lesson():
    before = convert.student(text_of(TEMPLATE), GLOSSARY)
    after = convert.student(text_of(TEMPLATE).replace("Show something", "Show it"), GLOSSARY)
    assert [cell.id for cell in before.cells[1:]] == [cell.id for cell in after.cells[1:]]


def test_equal_cells_have_ids_of_their_own():
    cell = "\n```{code-cell} ipython3\nbrain\n```\n"
    cells = convert.nbgrader(text_of(TEMPLATE) + 2 * cell, GLOSSARY).cells[-2:]
    assert [cell.source for cell in cells] == ["brain", "brain"]
    assert [cell.metadata.nbgrader.grade_id for cell in cells] == [cell.id for cell in cells]
    assert cells[1].id == f"{cells[0].id}-2"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("tags: [solution, hide-cell]", "tags: [hide-cell]", "An exercise is a starter"),
        ('check("template.count", n', "check(name, n", "must call"),
        ("The shape has one", "{ref}`shape` has one", "the role `{ref}`"),
        (":::{dropdown} Hint", ":::{tab-set} Hint", "the directive `:::{tab-set} Hint`"),
        ("## Key points", "(key-points)=\n## Key points", "the label `(key-points)=`"),
        ("multiply them", "multiply [them](glossary.md#them)", "no term “them”"),
    ],
)
def test_what_cannot_be_converted_is_named(old, new, says):
    text = text_of(TEMPLATE)
    assert old in text
    with pytest.raises(Unreadable, match=re.escape(says)):
        convert.student(text.replace(old, new), GLOSSARY)


def test_open_question_without_a_model_answer_is_refused():
    with pytest.raises(Unreadable, match="In your own words.*must end in a dropdown"):
        convert.nbgrader(with_open_question().replace(":::{dropdown} A good", ":::{note} A good"), GLOSSARY)


def test_metadata_names_no_place():
    text = json.dumps(convert.student(text_of(TEMPLATE), GLOSSARY).metadata)
    assert "jupytext" not in text and str(ROOT) not in text
