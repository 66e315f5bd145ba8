"""The grader's test of itself, on every lesson's graded notebook as nbgrader would run it.

The solution earns full marks, the starter none, and each typical wrong answer loses exactly its points and
is told its mistake. It runs in this process, without the figures; ``test_nbgrader.py`` is the real thing.
"""

import ast
import re
import sys

import matplotlib.pyplot as plt
import pytest

from classroom import convert
from classroom.plain import read_glossary
from tests import lessonfile
from tests.lessonfile import ROOT, TEMPLATE

GLOSSARY = read_glossary((ROOT / "lessons" / "glossary.md").read_text(encoding="utf-8"))
SOLUTION = re.compile(r"### BEGIN SOLUTION\n(.*)\n### END SOLUTION", re.S)


def run(source, names):
    """Run a cell and return the value of its last line, or the error that it raised."""
    tree = ast.parse(lessonfile.strip_magics(source))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    try:
        exec(compile(tree, "<cell>", "exec"), names)
        return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None
    except Exception as error:
        return error
    finally:
        plt.close("all")


def needed(cells, wrongs):
    """Return the code cells without those, such as figures, on which no answer and no check depends."""
    kept, wanted = [], {name for wrong in wrongs for name in lessonfile.names_used(wrong["code"])}
    for cell in reversed([cell for cell in cells if cell.cell_type == "code"]):
        grading = cell.metadata.nbgrader
        if grading.solution or grading.grade or wanted & names_bound(cell.source):
            kept.append(cell)
            wanted |= lessonfile.names_used(cell.source)
    return kept[::-1]


def names_bound(source):
    """Return the names that a cell assigns, imports or defines, or whose parts it changes."""
    tree = ast.parse(lessonfile.strip_magics(source))
    bound = lessonfile.names_assigned(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(each.asname or each.name).split(".")[0] for each in node.names}
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            bound |= lessonfile.names_used(ast.unparse(node.value))
    return bound


@pytest.fixture
def names(monkeypatch):
    """The variables of a notebook on the bundled data; the checks that it loads afresh are its own."""
    monkeypatch.setenv("SLICEWISE_SOURCE", "bundled")
    before = {name: module for name, module in sys.modules.items() if name.startswith("helpers.exercises")}
    yield {"__name__": "__main__"}
    for name in [name for name in sys.modules if name.startswith("helpers.exercises")]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.parametrize("path", [*lessonfile.LESSONS, TEMPLATE], ids=lambda path: path.stem)
def test_answers_earn_what_they_are_worth(path, names):
    text, wrongs = path.read_text(encoding="utf-8"), lessonfile.wrong_answers(path)
    wanted = {row[0].split(".")[1]: row[3] for row in convert.syllabus(text) if row[4] == "check"}
    earned, answer = {}, None
    for cell in needed(convert.nbgrader(text, GLOSSARY).cells, sum(wrongs.values(), [])):
        grading = cell.metadata.nbgrader
        if grading.solution:
            answer = cell.source
        elif not grading.grade:
            failed = isinstance(run(cell.source, names), Exception)
            assert failed == ("raises-exception" in cell.metadata.get("tags", ())), cell.source
        else:
            name = grading.grade_id
            run(SOLUTION.sub("", answer), names)
            assert run(cell.source, names) == 0
            assert "Not yet" in repr(names["feedback"]), name
            for wrong in wrongs[f"{lessonfile.exercise_name(cell).split('.')[0]}.{name}"]:
                run(wrong["code"], names)
                assert run(cell.source, names) == 0, wrong["code"]
                assert wrong["says"] in names["feedback"].message
            run(SOLUTION.search(answer)[1], names)
            earned[name] = run(cell.source, names)
            assert names["feedback"].passed, (name, names["feedback"])
    assert earned == wanted
