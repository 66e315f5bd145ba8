"""Grading one notebook: what is judged here, what runs over there, what is put back."""

import copy
import re
from dataclasses import replace
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from classroom import Refusal, convert
from classroom.grade import grade, is_check, questions, restore
from classroom.sandbox import Limits, Sandbox

SAMPLE = Path(__file__).with_name("sample.md")
CHECKS = ["count", "still", "plausible", "sigma"]
LIMITS = Limits(answer_s=30, memory=10**9, processes=20)

pytestmark = pytest.mark.usefixtures("sandbox_works")


@pytest.fixture(scope="module")
def source():
    return convert.nbgrader(SAMPLE.read_text(encoding="utf-8"), {})


@pytest.fixture(scope="module")
def asked(source):
    return questions(source)


@pytest.fixture(scope="module")
def released(source):
    notebook = copy.deepcopy(source)
    for cell in notebook.cells:
        for part in ("SOLUTION", "HIDDEN TESTS"):
            cell.source = re.sub(rf"\n?### BEGIN {part}\n.*?### END {part}\n?", "", cell.source, flags=re.S)
    return notebook


def answers(notebook):
    """Return the answer cells by name, in the order of CHECKS."""
    found = [cell for cell in notebook.cells if cell.id.endswith("-starter")]
    return dict(zip(CHECKS, found, strict=True))


def solved(released, source, **others):
    """Return the released notebook with the right answers, but for those that are given."""
    notebook, right = copy.deepcopy(released), answers(source)
    for name, cell in answers(notebook).items():
        cell.source = others.get(name, right[name].source)
    return notebook


def result(notebook):
    """Return points and feedback of each check."""
    found = {}
    for name, cell in zip(CHECKS, [cell for cell in notebook.cells if is_check(cell)], strict=True):
        shown, earned = cell.outputs
        found[name] = (float(earned.data["text/plain"]), shown.data["text/plain"])
    return found


def graded(released, source, asked, limits=LIMITS, **others):
    submitted = restore(solved(released, source, **others), released)
    return result(grade(submitted, asked, limits=limits))


def points(found):
    return [earned for earned, _ in found.values()]


def test_solution_earns_all_and_starter_nothing(released, source, asked):
    assert points(graded(released, source, asked)) == [1, 2, 1, 2]
    nothing = result(grade(released, asked))
    assert points(nothing) == [0, 0, 0, 0]
    assert all(said.startswith("○ Not yet") for _, said in nothing.values())


def test_mistakes_are_named(released, source, asked):
    found = graded(
        released, source, asked,
        count="n_voxels = brain.image.shape",
        still="still = 0.60 / 0.32",
        plausible="def plausible(s):\n    return bool(np.prod(s) > 0)",
        sigma="def sigma_vox(w, z):\n    raise ValueError('oh')",
    )  # fmt: skip
    assert points(found) == [0, 0, 0, 0]
    for name, says in [
        ("count", "that is the shape"),
        ("still", "the ventricle itself"),
        ("sigma", "ValueError: oh"),
    ]:
        assert says in found[name][1]
    assert "`plausible((" in found["plausible"][1]


FOOL = """
class All(float):
    def __eq__(self, other): return True
    def __array__(self, *a, **k): return np.array(52.0)
"""


@pytest.mark.parametrize(
    "attack",
    [
        FOOL + "still = All(3)",
        "import helpers.exercises as e\ne.check = e.expect = np.allclose = lambda *a, **k: True\nstill = 3",
        "from helpers.exercises import Feedback\nstill = Feedback(True, 'yes')",
        "from helpers.exercises import measurement\nstill = measurement.EXPERT / measurement.AUTOMATIC - 1",
    ],
)
def test_fooling_the_check_earns_nothing(released, source, asked, attack):
    found = graded(released, source, asked, still=attack)
    assert found["still"][0] == 0
    assert found["count"][0] == 1


def test_data_that_a_student_changed_do_not_count(released, source, asked):
    found = graded(
        released, source, asked, count="brain = type('B', (), {'image': np.zeros((2, 2))})()\nn_voxels = 4"
    )
    assert points(found) == [0, 2, 1, 2]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("while True: pass", "it ran longer than 2 s"),
        ("import os; os._exit(1)", "it ended Python"),
        (
            "import os, time\nfor n in range(30):\n    if not os.fork(): time.sleep(60)\ntime.sleep(60)",
            "processes",
        ),
    ],
)
def test_stopped_cell_costs_only_its_own_exercise(released, source, asked, answer, says, monkeypatch):
    run = Sandbox.run

    def run_impatiently(box, code):  # the endless cell alone, as others take their time on a busy machine
        box.limits = replace(LIMITS, cell_s=2 if "while True" in code else LIMITS.cell_s)
        return run(box, code)

    monkeypatch.setattr(Sandbox, "run", run_impatiently)
    submitted = restore(solved(released, source, still=answer), released)
    notebook = grade(submitted, asked, limits=LIMITS)
    assert points(result(notebook)) == [1, 0, 1, 2]
    assert says in result(notebook)["still"][1]
    (error,) = answers(notebook)["still"].outputs
    assert says in error.evalue


def test_function_that_never_returns_costs_only_its_own_exercise(released, source, asked):
    endless = "def plausible(s):\n    while True: pass"
    found = graded(released, source, asked, limits=replace(LIMITS, answer_s=2), plausible=endless)
    assert points(found) == [1, 2, 0, 2]
    assert "`plausible` could not be judged: it ran longer than 2 s" in found["plausible"][1]


def test_missing_name_is_explained_by_the_error_above(released, source, asked):
    found = graded(
        released, source, asked, still="still = 1 / 0", count="voxels = 3", sigma="def sigma_vox(:"
    )
    assert "there is no `still`: a cell above ends in ZeroDivisionError" in found["still"][1]
    assert "there is no `n_voxels`; fill in" in found["count"][1]
    assert "SyntaxError" in found["sigma"][1]


def test_time_for_all_cells_is_limited(released, source, asked):
    notebook = grade(solved(released, source), asked, limits=LIMITS, submission_s=0)
    assert points(result(notebook)) == [0, 0, 0, 0]
    assert "all cells together ran longer than 0 s" in result(notebook)["count"][1]


def test_submission_is_not_changed_and_grading_again_gives_the_same(released, source, asked):
    submitted = solved(released, source, still="print(1)")
    before = copy.deepcopy(submitted)
    assert grade(submitted, asked) == grade(submitted, asked)
    assert submitted == before


# Putting back


def test_untouched_notebook_is_restored_to_itself(released):
    assert restore(released, released) == released


def test_tampered_notebook_is_put_back(released, source, asked):
    submitted = solved(released, source, count="n_voxels = 1")
    checks = [cell for cell in submitted.cells if is_check(cell)]
    checks[0].source = "from IPython.display import display\n1"
    checks[0].metadata.nbgrader.points = 100
    checks[1].metadata.nbgrader.grade = False
    checks[2].metadata.nbgrader.grade_id = "other"
    submitted.cells.remove(checks[3])
    submitted.cells[0].source += "!"
    submitted.cells.reverse()
    submitted.cells.append(copy.deepcopy(answers(submitted and released)["still"]))
    whole = restore(submitted, released)
    kept = [cell for cell in whole.cells if not cell.id.startswith("own-")]
    assert [(each.id, each.metadata) for each in kept] == [
        (each.id, each.metadata) for each in released.cells
    ]
    assert [each.source for each in kept if is_check(each)] == [
        each.source for each in released.cells if is_check(each)
    ]
    assert points(result(grade(whole, asked))) == [0, 2, 1, 2]


def test_own_cells_stay_where_they_stood(released, source, asked):
    submitted = solved(released, source, count="n_voxels = product(brain.image.shape)")
    place = submitted.cells.index(answers(submitted)["count"])
    submitted.cells.insert(place, new_code_cell("def product(shape):\n    return int(np.prod(shape))"))
    submitted.cells.insert(place, new_markdown_cell("My notes"))
    submitted.cells.insert(0, new_code_cell("first = 1"))
    whole = restore(submitted, released)
    assert [cell.source for cell in whole.cells] == [cell.source for cell in submitted.cells]
    assert points(result(grade(whole, asked))) == [1, 2, 1, 2]


def test_metadata_of_own_cells_is_not_taken_over(released):
    submitted = copy.deepcopy(released)
    cheat = new_code_cell("2", metadata={"nbgrader": {"grade": True, "grade_id": "extra", "points": 9}})
    submitted.cells.append(cheat)
    assert restore(submitted, released).cells[-1].metadata == {}


def test_no_html_of_a_student_reaches_a_page(released):
    submitted = copy.deepcopy(released)
    submitted.cells.append(new_markdown_cell("<script>alert(1)</script> a < b, `<img>`"))
    (own,) = [cell for cell in restore(submitted, released).cells if cell.id == "own-0"]
    assert not re.search("<[a-z/!?]", own.source)
    assert own.source.replace("\u200b", "") == submitted.cells[-1].source


def test_too_many_cells_are_refused(released):
    submitted = copy.deepcopy(released)
    submitted.cells += [new_code_cell("1")] * 1001
    with pytest.raises(Refusal, match="1000 cells"):
        restore(submitted, released)


# The instructor's notebook


def test_wrong_solution_of_the_lesson_is_refused(source):
    broken = copy.deepcopy(source)
    answers(broken)["still"].source = "still = 3"
    with pytest.raises(Refusal, match="solution of measurement.still is not accepted"):
        questions(broken)
    answers(broken)["still"].source = "still = 1 / 0"
    with pytest.raises(Refusal, match="still = 1 / 0.*division by zero"):
        questions(broken)


def test_data_are_kept_as_they_were_at_the_check(source):
    changed = copy.deepcopy(source)
    changed.cells.append(new_code_cell("brain.image.header['dim'][1] = 3"))
    assert questions(changed)["count"].data["img"].header["dim"][1] != 3
