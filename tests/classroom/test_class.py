"""A sample class graded by nbgrader in the sandbox: gradebook, feedback, report, what attackers got."""

import csv
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from nbgrader.api import Gradebook

from classroom import Refusal, autograde
from classroom.__main__ import main
from tests.classroom import sample_class
from tests.classroom.sample_class import CHECKS, CLASS, FEEDBACK, IN_WORDS, SAMPLE
from tests.lessonfile import read, tags

pytestmark = pytest.mark.usefixtures("sandbox_works")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The course folder of the graded class, whether anybody called the server, and what was said of each."""
    said = []
    course, called = sample_class.run(tmp_path_factory.mktemp("class"), say=said.append)
    return course, called, said


def outputs(course, student):
    """Return all that stands below the cells of a graded notebook."""
    path = course / "autograded" / student / "sample" / "sample.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return json.dumps([cell.get("outputs") for cell in cells], ensure_ascii=False)


def test_table_of_grades_is_as_expected_line_by_line(graded):
    course, _, _ = graded
    with open(course / "grades.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["student_id"]: float(row["score"]) for row in rows} == sample_class.expected_scores()
    assert {row["max_score"] for row in rows} == {"8.0"}
    assert [row["student_id"] for row in rows if row["timestamp"] > row["duedate"]] == ["late"]


@pytest.mark.parametrize("student", CLASS)
def test_gradebook_holds_the_points_of_each_check(graded, student):
    course, _, _ = graded
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        submission = gradebook.find_submission("sample", student)
        grades = {grade.name: grade.score for notebook in submission.notebooks for grade in notebook.grades}
        assert [grades.get(name, 0) for name in CHECKS] == CLASS[student][1]
        # What was written in words waits for a teacher, and what is no notebook.
        assert submission.needs_manual_grade == (student in ("right", "broken"))


@pytest.mark.parametrize("student", FEEDBACK)
def test_feedback_says_why(graded, student):
    course, _, _ = graded
    page = (course / "feedback" / student / "sample" / "sample.html").read_text(encoding="utf-8")
    assert FEEDBACK[student] in page
    assert "<script>alert" not in page
    assert ("My thanks" in page) == (student == "partly")


def test_snooper_finds_nothing_even_through_a_link(graded):
    course, _, _ = graded
    assert "FOUND []" in outputs(course, "snoop")
    assert not list((course / "submitted" / "snoop").rglob("data.csv"))


def test_nobody_gets_out(graded):
    _, called, _ = graded
    assert not called


def test_teacher_is_told_what_was_odd(graded):
    _, _, said = graded
    (broken,) = [line for line in said if "not graded" in line]
    assert "broken: not graded: sample.ipynb is no notebook" in broken


def test_wrong_name_is_put_right(graded):
    course, _, _ = graded
    assert [path.name for path in (course / "submitted/misnamed/sample").glob("*.ipynb")] == ["sample.ipynb"]


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def test_report_counts_points_and_mistakes(graded):
    course, _, _ = graded
    graded_ones = [points for student, (_, points) in CLASS.items() if student != "broken"]
    rows = rows_of(course / "report_points.csv")
    for number, title in enumerate(["Count", "Leak", "Plausible", "Sigma"]):
        earned = [points[number] for points in graded_ones]
        counted = [[f"{n}", f"{earned.count(n)}"] for n in sorted(set(earned))]
        assert [[row[2], row[4]] for row in rows if row[:2] == ["sample", title]] == counted
    assert rows[-1] == ["sample", "In your own words", "0", "2", str(len(graded_ones))]
    mistakes = rows_of(course / "report_mistakes.csv")
    assert ["sample", "Leak", "that is 1 + L/EDV: the ventricle itself is still in it.", "1"] in mistakes
    assert ["sample", "Leak", "0 is too small.", "2"] in mistakes
    assert ["sample", "Sigma", "(not answered)", "1"] in mistakes


def test_picture_of_the_report_says_the_same_in_words_and_names_nobody(graded):
    course, _, _ = graded
    picture = ET.parse(course / "report_sample.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert picture.get("role") == "img" and picture[0].tag == f"{space}title"
    assert "Leak: 5 of 15 students have all 2 points." in picture[1].text
    assert "2 students, Leak: 0 is too small." in picture[1].text
    drawn = " ".join("".join(text.itertext()) for text in picture.iter(f"{space}text"))
    assert "10 × 0" in drawn and "Leak: 0 is too small." in drawn
    everything = "".join(path.read_text(encoding="utf-8") for path in course.glob("report*"))
    assert not [student for student in ("misnamed", "snoop", "tamper", "partly") if student in everything]


def test_release_has_no_solution(graded):
    course, _, _ = graded
    released = (course / "release" / "sample" / "sample.ipynb").read_text(encoding="utf-8")
    for cell in read(SAMPLE).cells:
        if "solution" in tags(cell):
            assert json.dumps(cell.source.splitlines()[-1])[1:-1] not in released
    for secret in ("SOLUTION", "HIDDEN", "sys.modules", "leak*"):
        assert secret not in released


def nbgrader(course, *words):
    command = [sys.executable, "-m", "nbgrader", *words]
    run = subprocess.run(command, cwd=course, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def test_nbgrader_validates_the_solutions(graded):
    course, _, _ = graded
    said = nbgrader(course, "validate", "source/sample/sample.ipynb")
    assert "Success! Your notebook passes all the tests." in said


def test_nbgraders_own_command_grades_in_the_sandbox_too(graded):
    course, _, _ = graded
    os.remove(course / "judged" / "sample" / "snoop" / "sample.json")
    (course / "autograded" / "snoop" / "sample" / "sample.ipynb").unlink()
    nbgrader(course, "autograde", "sample", "--student=snoop", "--force")
    assert "FOUND []" in outputs(course, "snoop")


def test_feedback_fetches_nothing(graded):
    course, _, _ = graded
    page = (course / "feedback" / "right" / "sample" / "sample.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=.?(http|//)|@import|url\(.?http", page)


def test_submission_is_its_owners_whatever_it_is_called(tmp_path):
    folder = tmp_path / "victim+sample+2030-01-09 12:00:00 UTC+x"
    folder.mkdir()
    assert autograde.Collect()._path_to_record(str(folder))["username"] == folder.owner()
    assert autograde.Collect(check_owner=False)._path_to_record(str(folder))["username"] == "victim"


def test_grading_again_does_nothing_again(graded, monkeypatch):
    course, _, _ = graded
    before = products(course)
    monkeypatch.setattr(autograde, "grade", lambda *_: pytest.fail("judged again"))
    monkeypatch.setattr(autograde.NbGraderAPI, "generate_feedback", lambda *_: pytest.fail("told again"))
    assert main(["grade", str(course)]) == 0
    assert products(course) == before


def products(course):
    names = [course / "grades.csv", *sorted(course.glob("report*"))]
    return [path.read_bytes() for path in names]


def test_what_was_lost_and_what_was_mended_is_judged_again(graded, monkeypatch):
    course, _, _ = graded
    before = products(course)
    os.remove(course / "judged" / "sample" / "right" / "sample.json")
    (course / "judged" / "sample" / "late" / "sample.json").write_text('{"key": "ab')
    notebook = course / "submitted" / "huge" / "sample" / "sample.ipynb"
    text = notebook.read_text(encoding="utf-8")
    notebook.write_text(text.replace("still = 0.875", "still = 0.60 / 0.32"), encoding="utf-8")
    judged = []
    real = autograde.grade
    monkeypatch.setattr(autograde, "grade", lambda *words: judged.append(1) or real(*words))
    autograde.grade_class(course, say=lambda line: None)
    assert len(judged) == 3
    assert scores(course) == sample_class.expected_scores() | {"huge": 4.0}
    notebook.write_text(text, encoding="utf-8")
    autograde.grade_class(course, say=lambda line: None)
    assert products(course) == before


def scores(course):
    with open(course / "grades.csv", newline="", encoding="utf-8") as file:
        return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}


def test_points_given_by_hand_stay_and_reach_table_and_feedback(graded):
    course, _, _ = graded

    def give(points, comment):
        with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
            gradebook.find_grade("open-1", "sample", "sample", "right").manual_score = points
            gradebook.find_comment("open-1", "sample", "sample", "right").manual_comment = comment
            gradebook.db.commit()
        autograde.grade_class(course, say=lambda line: None)
        return scores(course)["right"], (course / "feedback/right/sample/sample.html").read_text("utf-8")

    points, page = give(1.5, "Which chamber?")
    assert points == 7.5
    assert "Which chamber?" in page and IN_WORDS in page
    assert ["sample", "In your own words", "1.5", "2", "1"] in rows_of(course / "report_points.csv")
    points, page = give(None, None)
    assert points == 6
    assert "Which chamber?" not in page


def test_without_a_sandbox_nothing_is_graded(graded, monkeypatch, tmp_path):
    course, _, _ = graded
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refusal, match="--trust-students"):
        autograde.grade_class(course)
    with pytest.raises(Refusal, match="--trust-students"):
        autograde.judge(
            course, "sample", "nobody", "sample", autograde._read(course / "release/sample/sample.ipynb")
        )


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ([], "is no course folder"),
        (["nbgrader_config.py"], "Nothing is released"),
        (["nbgrader_config.py", "release/sample/sample.ipynb"], "Nothing is handed in"),
    ],
)
def test_folder_with_nothing_to_grade_is_refused(made, says, tmp_path, capsys):
    for name in made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert main(["grade", str(tmp_path)]) == 1
    sentence = capsys.readouterr().err.strip()
    assert says in sentence and sentence.endswith(".") and "\n" not in sentence
