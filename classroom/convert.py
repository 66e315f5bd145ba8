"""Convert a lesson file into the student's, the instructor's and the graded notebook: text in, notebook out.

Tags say what a cell is: ``exercise`` (the starter), ``check-N`` (a check worth N points), ``solution`` and
``test`` (for the course's own tests, in no product). A markdown cell tagged ``open-N`` asks a question that a
teacher grades by hand, with N points; the dropdown that ends it says what a good answer has.
"""

import ast
import hashlib
import re
from dataclasses import dataclass

import jupytext
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from classroom.plain import Unreadable, details, plain_markdown, words

KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
WRITE_HERE = "*Double-click here and write your answer.*"
GRADED = (
    "*How this notebook is graded: answer in the cells that hold `...`, and run the check below each as "
    "often as you like. It says what is wrong, and its last line is your points. Play with every other cell, "
    "too: for grading they are put back as they were, and everything runs once from top to bottom. So before "
    "you hand in, choose “Restart Kernel and Run All Cells” and look at your points again.*"
)
# What an answer has put in the place of the check counts no more: it is loaded from its file again.
AFRESH = """### BEGIN HIDDEN TESTS
import sys

[sys.modules.pop(each) for each in list(sys.modules) if each.startswith("helpers.exercises")]
from helpers.exercises import check
from IPython.display import display
### END HIDDEN TESTS
"""


@dataclass(frozen=True)
class Part:
    """A cell of a lesson and what it is there for.

    Attributes
    ----------
    kind : {"text", "code", "starter", "check", "solution", "open"}
        Its purpose.
    source : str
        Its text as in the lesson.
    exercise : str
        The exercise it belongs to, as in ``"image_intro.field_of_view"``; of an open question its number.
    title : str
        The title of that exercise.
    points : int
        What a check or an open question is worth.
    may_fail : bool
        Whether an error of this cell is part of the lesson.
    """

    kind: str
    source: str
    exercise: str = ""
    title: str = ""
    points: int = 0
    may_fail: bool = False


def read_parts(text):
    """Return the parts of a lesson, cells for tests left out.

    Parameters
    ----------
    text : str
        The lesson file.

    Returns
    -------
    list of Part
        In the lesson's order; starter, check and solution of an exercise bear its name.

    Raises
    ------
    Unreadable
        If a starter has no check and no solution after it.
    """
    parts, title, n_open = [], "", 0
    for cell in jupytext.reads(text, fmt="md:myst").cells:
        tags = set(cell.metadata.get("tags", ()))
        worth = next((int(tag.split("-")[1]) for tag in tags if re.fullmatch(r"(check|open)-\d+", tag)), 0)
        if cell.cell_type != "code":
            found = re.findall(r"^:::+\{exercise\} (.+)$", cell.source, flags=re.M)
            title = found[-1] if found else title
            n_open += bool(worth)
            kind, name = ("open", f"open-{n_open}") if worth else ("text", "")
            asked = re.search(r"^:::+\{admonition\} (.+)$", cell.source, flags=re.M)
            heading = asked[1] if worth and asked else title
            parts.append(Part(kind, cell.source, name, heading if worth else "", worth))
        elif "test" not in tags:
            kind = "check" if worth else "starter" if "exercise" in tags else "code"
            kind = "solution" if "solution" in tags else kind
            named = title if kind in ("starter", "check", "solution") else ""
            parts.append(Part(kind, cell.source, "", named, worth, "raises-exception" in tags))
    return _named(parts)


def _named(parts):
    """Return the parts with each exercise's name, which its check says, on its starter and solution too."""
    exercises = [i for i, part in enumerate(parts) if part.kind in ("starter", "check", "solution")]
    kinds = [parts[i].kind for i in exercises]
    if kinds != ["starter", "check", "solution"] * (len(kinds) // 3):
        raise Unreadable(f"An exercise is a starter, its check and its solution; found {', '.join(kinds)}.")
    named = list(parts)
    for n, i in enumerate(exercises):
        check = parts[exercises[n - n % 3 + 1]]
        name = re.search(r"\bcheck\(\s*[\"']([\w.]+)[\"']", check.source)
        if not name:
            raise Unreadable('A check cell must call `check("lesson.exercise", answer)`.')
        named[i] = Part(**{**vars(parts[i]), "exercise": name[1]})
    return named


def syllabus(text):
    """Return what a lesson's exercises are worth: list of (exercise, title, objectives, points, graded)."""
    rows = []
    for part in read_parts(text):
        if part.points:
            title, _, objectives = part.title.partition(" · ")
            graded = "check" if part.kind == "check" else "by hand"
            rows.append((part.exercise, title, re.sub(r"objectives? ", "", objectives), part.points, graded))
    return rows


def student(text, glossary):
    """Convert a lesson to the student's notebook, which holds no solution.

    Parameters
    ----------
    text : str
        The lesson file.
    glossary : mapping of str to (str, str)
        The course's terms, from :func:`classroom.plain.read_glossary`.

    Returns
    -------
    NotebookNode
        Plain Markdown and code, without outputs; cells keep their ids when a lesson is converted again.
    """
    parts = read_parts(text)
    cells = []
    for part, worth in _with_worth(parts):
        if part.kind == "open":
            question, _ = _question(part, worth)
            cells += [_text(question, glossary), _markdown(WRITE_HERE, f"{part.exercise}-answer")]
        elif part.kind != "solution":
            cells.append(_text(part.source, glossary, worth) if part.kind == "text" else _code(part))
    return _notebook([*cells, *_words(parts, glossary)])


def instructor(text, glossary, notes=""):
    """Convert a lesson to the instructor's notebook: with solutions, model answers and teaching notes.

    Parameters
    ----------
    text : str
        The lesson file.
    glossary : mapping of str to (str, str)
        The course's terms.
    notes : str
        The instructor's page of the lesson; its sections fold below the opening.

    Returns
    -------
    NotebookNode
        The whole lesson but for the course's own tests.
    """
    parts = read_parts(text)
    cells = []
    for part, worth in _with_worth(parts):
        if part.kind in ("text", "open"):
            cells.append(_text(part.source, glossary, worth))
        else:
            cells.append(_code(part))
    if notes:
        sections = re.split(r"^## ", notes, flags=re.M)[1:]
        folded = [details(*plain_markdown(section, glossary).split("\n", 1)) for section in sections]
        cells.insert(1, _markdown("\n\n".join(["## For the teacher", *folded])))
    return _notebook([*cells, *_words([*parts, Part("text", notes)], glossary)])


def nbgrader(text, glossary):
    """Convert a lesson to the source of an nbgrader assignment.

    An answer cell holds the starter and, between nbgrader's marks, the solution. A check cell shows the
    feedback and ends in the points earned, which nbgrader takes for the grade: it does not raise, so that
    “Run All Cells” goes on. Checks and the lesson's own code are locked: nbgrader puts them back first.

    Parameters
    ----------
    text : str
        The lesson file.
    glossary : mapping of str to (str, str)
        The course's terms.

    Returns
    -------
    NotebookNode
        With nbgrader's metadata, of schema version 3.
    """
    parts = read_parts(text)
    solutions = {part.exercise: part.source for part in parts if part.kind == "solution"}
    cells = []
    for part, worth in _with_worth(parts):
        name = part.exercise.split(".")[-1]
        if part.kind == "text":
            cells.append(_text(part.source, glossary, worth))
        elif part.kind == "open":
            question, good = _question(part, worth)
            answer = f"### BEGIN SOLUTION\n{plain_markdown(good, glossary)}\n### END SOLUTION"
            cells.append(_text(question, glossary))
            grading = _grading(name, solution=True, points=part.points)
            cells.append(_markdown(answer, f"{name}-answer", grading))
        elif part.kind == "starter":
            solution = f"{part.source}\n### BEGIN SOLUTION\n{solutions[part.exercise]}\n### END SOLUTION"
            cells.append(_code(part, solution, _grading(f"{name}-answer", solution=True)))
        elif part.kind == "check":
            cells.append(_code(part, _graded(part), _grading(name, points=part.points)))
        elif part.kind == "code":
            cell = _code(part)
            cell.metadata.update(_grading(cell.id), deletable=False)
            cells.append(cell)
    cells.insert(1, _markdown(GRADED))
    return _notebook([*cells, *_words(parts, glossary)])


def _graded(part):
    """Return the source of a check cell that shows its feedback and ends in the points earned."""
    lines = part.source.split("\n")
    call = ast.parse(part.source).body[-1]
    if not isinstance(call, ast.Expr):
        raise Unreadable(f"The check of {part.exercise} must end in the call of `check`.")
    lines[call.lineno - 1] = "feedback = " + lines[call.lineno - 1]
    points = f"{part.points} * feedback.passed  # the points earned"
    return AFRESH + "\n".join([*lines, "display(feedback)", points])


def _grading(name, *, points=None, solution=False):
    """Return nbgrader's metadata: a check or an open question has points, all else is an answer or locked."""
    graded = points is not None
    facts = {"grade": graded, "grade_id": name, "locked": not solution, "schema_version": 3}
    facts |= {"solution": solution, "task": False}
    return {"nbgrader": facts | ({"points": points} if graded else {})}


def _with_worth(parts):
    """Yield each part with the words for the points of the exercise that its text announces."""
    for i, part in enumerate(parts):
        points = part.points
        if part.kind == "text" and "{exercise}" in part.source:
            points = next((each.points for each in parts[i:] if each.kind == "check"), 0)
        yield part, f"{points} point{'s' if points > 1 else ''}" if points else ""


def _question(part, worth):
    """Return an open question with its worth, and what a good answer has: the dropdown that ends its cell."""
    question, fence, good = part.source.rpartition("\n:::{dropdown}")
    if not fence or not good.rstrip().endswith(":::"):
        raise Unreadable(f"The open question “{part.title}” must end in a dropdown: what a good answer has.")
    question = f"{question.rstrip()}\n\n*{worth}, graded by hand*"
    return question, good.rstrip().removesuffix(":::").split("\n", 1)[1].strip()


def _text(source, glossary, worth=""):
    return _markdown(plain_markdown(source, glossary, worth))


def _words(parts, glossary):
    section = words([part.source for part in parts], glossary)
    return [_markdown(section)] if section else []


def _markdown(source, name="", metadata=()):
    return new_markdown_cell(source, id=name or _id(source), metadata=dict(metadata))


def _code(part, source=None, metadata=()):
    """Return the code cell of a part; of its metadata only what Jupyter itself acts on is kept."""
    metadata = dict(metadata)
    if part.may_fail:
        metadata["tags"] = ["raises-exception"]
    if part.kind == "check":
        metadata["jupyter"] = {"source_hidden": True}
    name = f"{part.exercise.replace('.', '-')}-{part.kind}" if part.exercise else _id(part.source)
    return new_code_cell(part.source if source is None else source, id=name, metadata=metadata)


def _id(source):
    """Return an id that a cell keeps as long as its text stays the same."""
    return "cell-" + hashlib.sha256(source.encode()).hexdigest()[:12]


def _notebook(cells):
    """Return a notebook of the cells, the second and later of equal ones with ids of their own."""
    seen = {}
    for cell in cells:
        count = seen[cell.id] = seen.get(cell.id, 0) + 1
        if count > 1:
            cell.id = f"{cell.id}-{count}"
            if "nbgrader" in cell.metadata:
                cell.metadata.nbgrader.grade_id = cell.id
    return new_notebook(cells=cells, metadata=KERNEL)
