"""The report on a class: what is counted as one mistake, and that no text of a student's can spoil it."""

import csv
import io
import os
import sys
import xml.etree.ElementTree as ET

from nbgrader.api import Gradebook

from classroom import report
from classroom.report import Outcome


def wrong(mistake, exercise="Count"):
    return Outcome("l", exercise, 0.0, 2.0, mistake)


def test_same_mistake_with_other_numbers_is_one_mistake():
    said = [
        "7 is too small.",
        "mind the units.",
        "-1.5e-3 is too small.",
        "7 is too small.",
        "voxel1 is gone.",
    ]
    counted = [row[2:] for row in report.mistakes([wrong(each) for each in said])]
    assert counted == [("… is too small.", 3), ("mind the units.", 1), ("voxel1 is gone.", 1)]
    assert report.mistakes([wrong("7 is too small.")] * 2) == [("l", "Count", "7 is too small.", 2)]


def test_right_answers_are_no_mistakes():
    outcomes = [Outcome("l", "Count", 2.0, 2.0, ""), wrong("no."), wrong("no.", "Other")]
    assert [row[1:] for row in report.mistakes(outcomes)] == [("Count", "no.", 1), ("Other", "no.", 1)]
    assert report.points(outcomes) == [
        ("l", "Count", "0", "2", 1), ("l", "Count", "2", "2", 1), ("l", "Other", "0", "2", 1),
    ]  # fmt: skip


def test_text_that_a_student_chose_does_no_harm():
    evil = ["$\\frac{$", "<script>alert(1)</script>", "=cmd()", "a\x00b\x1b", "x" * 999, "]]>&amp;"]
    outcomes = [wrong(report._line(each), f"E{number}") for number, each in enumerate(evil)]
    picture = ET.fromstring(report.figure(outcomes))
    assert "$\\frac{$" in "".join(picture.itertext())
    assert not [each for each in picture.iter() if "script" in each.tag]
    table = report._table(["mistake"], report._no_formulae([(each.mistake,) for each in outcomes]))
    cells = [row[0] for row in csv.reader(io.StringIO(table))]
    assert cells[3] == "'=cmd()"
    assert max(map(len, cells)) == report.LONGEST


def test_table_of_grades_has_a_line_for_each_whatever_their_names(monkeypatch):
    tools = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    monkeypatch.setenv("PATH", tools)  # for nbgrader's alembic
    with Gradebook("sqlite://") as gradebook:
        gradebook.add_assignment("a, b", duedate="2030-01-10 12:00:00 UTC")
        gradebook.add_student("anna", last_name='Meyer, "Dr."', first_name="Anna\nMaria")
        gradebook.add_student("bert", email="bert@example.org")
        gradebook.add_submission("a, b", "anna", timestamp="2030-01-09 12:00:00 UTC")
        table = report._table(report.GRADES, report.grades(gradebook))
    second, first = csv.DictReader(io.StringIO(table))  # whoever has no name comes first
    assert (first["last_name"], first["first_name"]) == ('Meyer, "Dr."', "Anna\nMaria")
    assert (first["assignment"], first["timestamp"]) == ("a, b", "2030-01-09 12:00:00")
    assert (second["student_id"], second["email"]) == ("bert", "bert@example.org")
    assert [second[name] for name in ("timestamp", "score", "max_score")] == ["", "0.0", "0.0"]


def test_same_class_gives_the_same_picture():
    outcomes = [wrong("no."), Outcome("l", "Count", 1.0, 2.0, "")]
    assert report.figure(outcomes) == report.figure(outcomes)
    assert "No mistakes" in report.figure([Outcome("l", "Count", 2.0, 2.0, "")])
