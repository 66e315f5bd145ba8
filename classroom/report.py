"""Report on a graded class: the table of grades, how points are distributed, which mistakes are common.

``grades.csv`` has a line for each student and lesson. Nobody is named in the rest: ``report_points.csv`` and
``report_mistakes.csv``, and for each lesson a figure, ``report_LESSON.svg``, whose alternative text says the
same in words.
"""

import csv
import io
import os
import re
import textwrap
from collections import Counter, defaultdict
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
import nbformat
from matplotlib.figure import Figure

from classroom.grade import is_check

UNANSWERED = "(not answered)"
MOST_MISTAKES = 8  # in the figure; the table has all
LONGEST = 160  # characters of a mistake
# The columns of nbgrader's own export, in its order.
GRADES = [
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
    "late_submission_penalty", "score", "max_score",
]  # fmt: skip
# What a student gave or got, in our feedback: those who differ in nothing else made the same mistake.
NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(\.\d+)?(e[-+]?\d+)?(?!\w)", re.I)


@dataclass(frozen=True)
class Outcome:
    """What one student earned in one exercise.

    Attributes
    ----------
    lesson, exercise : str
        Which exercise, by its title.
    points, worth : float
        Earned, and to be earned.
    mistake : str
        What the check said of a wrong answer; `UNANSWERED` where there was none, else empty.
    """

    lesson: str
    exercise: str
    points: float
    worth: float
    mistake: str


def report(course, gradebook):
    """Write grades and report of a course folder in which a class has been graded; the grades come last.

    Parameters
    ----------
    course : Path
        nbgrader's folder.
    gradebook : nbgrader.api.Gradebook
        Of that folder.
    """
    outcomes = read_outcomes(course, gradebook)
    columns = ["lesson", "exercise", "points", "of", "students"]
    texts = {"report_points.csv": _table(columns, _no_formulae(points(outcomes)))}
    columns = ["lesson", "exercise", "mistake", "students"]
    texts["report_mistakes.csv"] = _table(columns, _no_formulae(mistakes(outcomes)))
    for lesson in dict.fromkeys(each.lesson for each in outcomes):
        texts[f"report_{lesson}.svg"] = figure([each for each in outcomes if each.lesson == lesson])
    texts["grades.csv"] = _table(GRADES, grades(gradebook))
    for name, text in texts.items():
        unfinished = course / f"{name}.new"
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, course / name)


def grades(gradebook):
    """Return the rows of the table of grades: all students for each assignment, whoever handed in."""
    rows = []
    for assignment in gradebook.assignments:
        handed_in = {submission.student.id: submission for submission in assignment.submissions}
        for student in gradebook.students:
            row = [assignment.name, assignment.duedate, "", student.id]
            row += [student.last_name, student.first_name, student.email]
            earned, penalty = 0.0, 0.0
            if submission := handed_in.get(student.id):
                row[2] = submission.timestamp
                earned, penalty = submission.score, submission.late_submission_penalty or 0.0
            rows.append([*row, earned, penalty, max(0.0, earned - penalty), assignment.max_score])
    return rows


def read_outcomes(course, gradebook):
    """Return the outcomes of all exercises of all graded submissions, in the order of the syllabus."""
    with open(course / "syllabus.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["exercise"]]
    titles = {(row["lesson"], row["exercise"].split(".")[-1]): row["title"] for row in rows}
    order, found = list(titles), []
    for assignment in gradebook.assignments:
        for submission in assignment.submissions:
            for notebook in submission.notebooks:
                place = course / "autograded" / submission.student.id / assignment.name
                said = _said(place / f"{notebook.name}.ipynb")
                for grade in notebook.grades if said is not None else ():
                    key = (assignment.name, grade.name)
                    mistake = said.get(grade.name, "")
                    found.append((key, Outcome(*key, grade.score, grade.max_score, mistake)))
    known = [(key, outcome) for key, outcome in found if key in titles]
    known.sort(key=lambda pair: order.index(pair[0]))
    return [Outcome(each.lesson, titles[key], each.points, each.worth, each.mistake) for key, each in known]


def _said(path):
    """Return what the checks of a graded notebook said of wrong answers, or None if it was not graded."""
    if not path.is_file():
        return None
    said = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if is_check(cell) and cell.outputs:
            mark, _, message = cell.outputs[0].get("data", {}).get("text/plain", "").partition(": ")
            if not mark.startswith("✓"):
                said[is_check(cell)] = UNANSWERED if mark.startswith("○") else _line(message)
    return said


def _line(text):
    """Return a text, parts of which a student may have chosen, as one short line for tables and pictures."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def points(outcomes):
    """Return how many students earned how much: list of (lesson, exercise, points, worth, students)."""
    rows = []
    for (lesson, exercise), mine in _by_exercise(outcomes):
        counts = Counter(each.points for each in mine)
        rows += [(lesson, exercise, f"{n:g}", f"{mine[0].worth:g}", counts[n]) for n in sorted(counts)]
    return rows


def mistakes(outcomes):
    """Return how many made each mistake: list of (lesson, exercise, mistake, students), common ones first.

    Where the same is said of different numbers, it is counted once, with “…” for the numbers.
    """
    rows = []
    for (lesson, exercise), mine in _by_exercise(outcomes):
        alike = defaultdict(list)
        for each in mine:
            if each.mistake:
                alike[NUMBER.sub("…", each.mistake)].append(each.mistake)
        shown = {kind: said[0] if len(set(said)) == 1 else kind for kind, said in alike.items()}
        ranked = sorted(alike, key=lambda kind: (-len(alike[kind]), kind))
        rows += [(lesson, exercise, shown[kind], len(alike[kind])) for kind in ranked]
    return rows


def _by_exercise(outcomes):
    groups = defaultdict(list)
    for each in outcomes:
        groups[each.lesson, each.exercise].append(each)
    return groups.items()


def figure(outcomes):
    """Draw the points of each exercise of a lesson and its most common mistakes.

    Parameters
    ----------
    outcomes : list of Outcome
        Of one lesson, at least one.

    Returns
    -------
    str
        A picture in SVG, with a title and an alternative text; the same outcomes give the same text.
    """
    lesson, rows = outcomes[0].lesson, points(outcomes)
    common = sorted(mistakes(outcomes), key=lambda row: -row[3])[:MOST_MISTAKES]
    exercises = list(dict.fromkeys(row[1] for row in rows))
    heights = [0.4 * len(exercises) + 0.6, 0.5 * max(1, len(common)) + 0.6]
    picture = Figure(figsize=(10, sum(heights) + 1), layout="constrained")
    above, below = picture.subplots(2, 1, height_ratios=heights)
    _draw_points(above, rows, exercises)
    _draw_mistakes(below, common)
    above.set_title(f"{lesson}: points earned")
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "slicewise"}):
        picture.savefig(buffer, format="svg", metadata={"Date": None})
    head, svg, body = buffer.getvalue().partition("<svg ")
    words = (
        f"<title>Points and mistakes, {escape(lesson)}</title>\n<desc>{escape(describe(outcomes))}</desc>\n"
    )
    opening, end, rest = body.partition(">\n")
    return f'{head}{svg}role="img" {opening}{end}{words}{rest}'


def describe(outcomes):
    """Return the alternative text of the figure of a lesson."""
    sentences = []
    for (_, exercise), mine in _by_exercise(outcomes):
        full = sum(each.points == each.worth for each in mine)
        sentences.append(f"{exercise}: {full} of {len(mine)} students have all {mine[0].worth:g} points.")
    common = sorted(mistakes(outcomes), key=lambda row: -row[3])[:MOST_MISTAKES]
    sentences += [
        f"{students} student{'s' * (students > 1)}, {exercise}: {said}"
        for _, exercise, said, students in common
    ]
    return "\n".join(sentences)


def _draw_points(axes, rows, exercises):
    """Draw a bar of students for each exercise: the darker the part, the smaller the share of its points."""
    for place, exercise in enumerate(exercises):
        left = 0
        for earned, worth, students in [row[2:] for row in rows if row[1] == exercise]:
            share = float(earned) / float(worth)
            axes.barh(place, students, left=left, color=mpl.colormaps["cividis"](share), edgecolor="white")
            text = {"color": "white" if share < 0.6 else "black", "ha": "center", "va": "center"}
            axes.text(left + students / 2, place, f"{students} × {earned}", **text, fontsize=8)
            left += students
    names = [f"{name} (of {next(row[3] for row in rows if row[1] == name)})" for name in exercises]
    _name(axes, names)
    axes.set_xlabel("number of students × points that each earned; dark: none, light: all")


def _draw_mistakes(axes, common):
    """Draw a bar for each mistake, with its words."""
    axes.barh(range(len(common)), [row[3] for row in common], color="#4477aa", height=0.6)
    _name(axes, [textwrap.fill(f"{exercise}: {said}", 70) for _, exercise, said, _ in common])
    axes.set_title("Most common mistakes" if common else "No mistakes")
    axes.set_xlabel("number of students")


def _name(axes, names):
    """Write names at the bars, from above down; what a student wrote in one is no formula."""
    axes.set_yticks(range(len(names)), names, fontsize=8)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.invert_yaxis()
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)


def _table(columns, rows):
    """Return rows as CSV, in which texts with commas are quoted."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([columns, *rows])
    return lines.getvalue()


def _no_formulae(rows):
    """Return rows, parts of which students may have chosen, with no text that begins as a formula would."""
    return [[f"'{each}" if str(each)[:1] in ("=", "+", "-", "@") else each for each in row] for row in rows]
