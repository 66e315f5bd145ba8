"""The report on a class: what is counted as one mistake, and that no text of a student's can spoil it."""

import csv
import io
import xml.etree.ElementTree as ET

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
    table = report._table(["mistake"], [(each.mistake,) for each in outcomes])
    cells = [row[0] for row in csv.reader(io.StringIO(table))]
    assert cells[3] == "'=cmd()"
    assert max(map(len, cells)) == report.LONGEST


def test_same_class_gives_the_same_picture():
    outcomes = [wrong("no."), Outcome("l", "Count", 1.0, 2.0, "")]
    assert report.figure(outcomes) == report.figure(outcomes)
    assert "No mistakes" in report.figure([Outcome("l", "Count", 2.0, 2.0, "")])
