"""The tests of the lessons can fail: each fault, put into a sound lesson on purpose, is found by name."""

import os
import re
import shutil
import subprocess
import sys
from itertools import cycle

import pytest

from tests import test_lessons
from tests.lessonfile import ROOT, TEMPLATE

HEADER = TEMPLATE.read_text(encoding="utf-8").split("# Template")[0]
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
ALT = "---\nmystnb:\n  image:\n    alt: A line that rises from one to two\n---\n"
DEPRECATED = "import warnings\nwarnings.warn('old', DeprecationWarning)"

FAULTS = {
    # name: (cell, what the report must say)
    "broken cell": ("1 / 0", "ZeroDivisionError"),
    "misspelt magic": ("%matplotlb inline", "complains: UsageError"),
    "deprecation": (DEPRECATED, "DeprecationWarning"),
    "future warning": (DEPRECATED.replace("Deprecation", "Future"), "FutureWarning"),
    "expected error does not come": (":tags: [raises-ValueError]\n\nint('1')", "raised nothing"),
    "another error comes": (":tags: [raises-ValueError]\n\n1 / 0", "raised ZeroDivisionError"),
    "faint words": (ALT + PLOT + "\nplt.title('pale', color='0.7');", "“pale” stands out too little"),
    "faint words on a picture": (
        ALT + "import matplotlib.pyplot as plt\nplt.imshow([[0, 1]])\nplt.text(1, 0, 'pale', color='w');",
        "“pale” stands out too little",
    ),
    "no alternative text": (PLOT, "without alternative text"),
    "alternative text of nothing": (ALT + "1", "shows no picture"),
    "wrong number": (":tags: [test]\n\nn = 188\nassert f'{n} slices' == '189 slices'", "AssertionError"),
    "check accepts the starter": (
        ":tags: [check-1]\n\nfrom helpers import check\ncheck('image_intro.window', (-1350, 150))",
        "must say “Not yet”",
    ),
}  # fmt: skip
SOUND = {
    "plain cell": "1 + 1",
    "magic": "%matplotlib inline",
    "expected error": ":tags: [raises-ValueError]\n\nint('one')",
    "picture": ALT + PLOT,
    "check": ":tags: [check-1]\n\nfrom helpers import check\ncheck('image_intro.window', ...)",
}


def run_lesson(folder, cells):
    """Run pytest on a lesson of these cells, as the course's conftest runs the real ones."""
    (folder / "tests").mkdir()
    (folder / "lessons").mkdir()
    shutil.copy(ROOT / "conftest.py", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("__init__.py", "legible.py", "lessonfile.py"):
        shutil.copy(ROOT / "tests" / name, folder / "tests")
    text = HEADER + "".join(f"\n```{{code-cell}} ipython3\n{cell}\n```\n" for cell in cells)
    (folder / "lessons" / "01_trial.md").write_text(text, encoding="utf-8")
    return run_pytest(folder)


def run_pytest(folder):
    """Run pytest on the lessons of a folder, on bundled data alone."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", "lessons"],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"SLICEWISE_DATA": ""},
    )


def test_each_fault_is_found_and_nothing_else(tmp_path):
    pairs = zip(cycle(SOUND.values()), FAULTS.values(), strict=False)
    cells = [cell for pair in pairs for cell in pair]
    run = run_lesson(tmp_path, [cell if isinstance(cell, str) else cell[0] for cell in cells])
    failed = [int(number) for number in re.findall(r"^FAILED .+::bundled::(\d+) ", run.stdout, flags=re.M)]
    assert failed == [number for number, cell in enumerate(cells) if not isinstance(cell, str)], run.stdout
    sections = re.split(r"^_+ .+ _+$", run.stdout, flags=re.M)[1:]
    for (_, says), section in zip(FAULTS.values(), sections, strict=True):
        assert says in section


def test_a_cell_that_never_ends_fails_and_so_does_all_after_it(tmp_path):
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    run_lesson(tmp_path, ["1"])  # lays the files
    (tmp_path / "pyproject.toml").write_text(pyproject.replace("cell-timeout=300", "cell-timeout=1"))
    lesson = tmp_path / "lessons" / "01_trial.md"
    lesson.write_text(HEADER + "\n```{code-cell} ipython3\nwhile True: pass\n```\n\n```{code-cell}\n1\n```\n")
    run = run_pytest(tmp_path)
    assert run.returncode == 1
    assert "Timeout of 1 seconds exceeded" in run.stdout
    assert re.search(r"1 failed, 1 error|2 failed", run.stdout)


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("every_number_in_the_prose_is_proved", "one of 189 axial", "one of 188 axial"),
        ("every_number_in_the_prose_is_proved", "a half of a half", "0.125, a half of a half"),
        ("every_number_in_the_prose_is_proved", '{brain.image.shape[2]} axial planes"', '189 axial planes"'),
        ("pictures_are_computed_not_pasted", "After each figure", "![An old picture](old.png) After each"),
        ("magics_are_allowed", "n_voxels = ...", "%matplotlb inline\nn_voxels = ..."),
        ("magics_are_allowed", "n_voxels = ...", "!pip install something\nn_voxels = ..."),
        ("every_objective_is_exercised_and_has_its_key_point", "Count · objective 1", "Count · objective 2"),
        ("every_objective_is_exercised_and_has_its_key_point", "\n1. A volume has", "\n- A volume has"),
        ("exercises_are_complete", ":::{dropdown} Hint", ":::{dropdown} More"),
        ("exercises_are_complete", "tags: [solution, hide-cell]", "tags: [hide-cell]"),
        ("predict_first_questions_answer_every_choice", "**Yes**: a half", "Yes: a half"),
        ("predict_first_questions_answer_every_choice", "::::{dropdown} C · To a sixth", "::::{note} C"),
        ("nothing_after_an_exercise_needs_its_answer", "brain.image.get_data()", "n_voxels + 1"),
        ("tags_are_known_and_folded_cells_explain_themselves", "tags: [exercise]", "tags: [starter]"),
        ("cells_are_short", "brain.image.get_data()", "\n".join(["brain"] * 13)),
        ("opens_with_minutes_and_objectives", "Teaching: 5 min", "Teaching takes long"),
    ],
)
def test_each_rule_of_structure_can_be_broken(rule, old, new, tmp_path):
    check = getattr(test_lessons, f"test_{rule}")
    sound = TEMPLATE.read_text(encoding="utf-8")
    assert sound.count(old) >= 1
    path = tmp_path / TEMPLATE.name
    path.write_text(sound, encoding="utf-8")
    check(path)
    path.write_text(sound.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(AssertionError):
        check(path)


def test_a_lesson_that_saving_would_change_is_found(tmp_path):
    path = tmp_path / TEMPLATE.name
    path.write_text(TEMPLATE.read_text(encoding="utf-8").replace("]\n\nn_voxels = ...", "]\nn_voxels = ..."))
    (tmp_path / "saved").mkdir()
    with pytest.raises(AssertionError):
        test_lessons.test_saving_in_jupyterlab_changes_nothing(path, tmp_path / "saved")
