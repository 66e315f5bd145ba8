"""The teacher's guide: its commands run as they stand, its minutes are the lessons', its figures hold."""

import csv
import math
import os
import re
import subprocess
import sys
from collections import Counter

import pytest
import yaml

from tests import lessonfile
from tests.classroom.sample_class import SAMPLE
from tests.lessonfile import ROOT

GUIDE = (ROOT / "classroom" / "guide.md").read_text(encoding="utf-8")
HUB = ROOT / "classroom" / "hub"
# Runs course.py as it stands, but for the set-up, which other tests try: here the environment is there.
COURSE = "import sys, course; course.set_up = lambda extras=(): None; sys.exit(course.main(sys.argv[2:]))"


def section(title):
    """Return the text under a heading of any level."""
    return re.split(r"^##", GUIDE.split(f"# {title}\n", 1)[1], flags=re.M)[0]


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE, flags=re.M | re.S)


def rows(title):
    """Return the cells of the table under a heading, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def minutes():
    """Return for each lesson the minutes of teaching and exercises together."""
    found = {}
    for path in lessonfile.LESSONS:
        text = path.read_text(encoding="utf-8")
        parts = re.search(r"^Teaching: (\d+) min · Exercises: (\d+) min", text, flags=re.M).groups()
        found[f"Lesson {int(path.stem[:2])}"] = sum(map(int, parts))
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory, sandbox_works):
    """The folder of a teacher who has typed all commands of the guide, with a small lesson for the first."""
    home = tmp_path_factory.mktemp("home")
    (home / "bin").mkdir()
    (home / "bin" / "python3").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{COURSE}' \"$@\"\n")
    (home / "bin" / "python3").chmod(0o755)
    commands = "\n".join(blocks("bash")[:-1])  # the last one takes away what the others made
    commands = commands.replace("nbgrader 1 ", f"nbgrader {SAMPLE} ").replace("01_image_intro", "sample")
    own = {"HOME": str(home), "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    own |= {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))}
    run = subprocess.run(
        ["bash", "-e"], input=commands, cwd=ROOT, env=os.environ | own, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return home, run.stdout


def test_commands_end_with_a_table_of_grades(home):
    folder, said = home
    with open(folder / "my-class" / "grades.csv", newline="", encoding="utf-8") as file:
        grades = {row["student_id"]: (row["score"], row["max_score"]) for row in csv.DictReader(file)}
    assert grades == {"nobody": ("0.0", "8.0"), "somebody": ("6.0", "8.0")}
    assert "nobody: graded" in said and "assignment,duedate" in said


def test_everything_the_guide_promises_is_there(home):
    folder, _ = home
    made = folder / "my-class"
    promised = [name for row in rows("From a clone to grades") for name in re.findall(r"`([^`]+)`", row[0])]
    assert len(promised) >= 6
    for name in promised:
        assert (made / name.replace("STUDENT", "nobody").replace("LESSON", "sample")).exists(), name
    assert list((made / "feedback/somebody/sample").glob("*.html"))


def test_table_for_platforms_has_a_line_for_each_student(home):
    folder, _ = home
    (code,) = blocks("python")
    subprocess.run([sys.executable, "-c", code], cwd=folder / "my-class", check=True)
    lines = (folder / "my-class" / "for_platform.csv").read_text(encoding="utf-8").split()
    assert lines == ["student_id,sample", "nobody,0.0", "somebody,6.0"]


def test_rehearsal_is_removed(home):
    folder, _ = home
    subprocess.run(["bash", "-e"], input=blocks("bash")[-1], env={"HOME": str(folder)}, text=True, check=True)
    assert not list((folder / "my-class" / "submitted").iterdir())


@pytest.mark.parametrize("day", ["One day", "Two days"])
def test_days_add_up_and_have_the_minutes_of_the_lessons(day):
    clock, wanted, spent = None, minutes(), Counter()
    for begins, what, needed in rows(day):
        hour, minute = map(int, begins.split(":"))
        assert clock in (None, 60 * hour + minute), begins
        spent[what.split(",")[0]] += int(needed)  # a lesson may be in two halves
        clock = 60 * hour + minute + int(needed)
    assert clock <= 17 * 60
    assert all(spent[lesson] in (0, needed) for lesson, needed in wanted.items())


def test_term_has_time_for_every_lesson():
    wanted, week = minutes(), 1
    for weeks, what, needed, in_class in rows("One term"):
        first, last = map(int, weeks.split("–"))
        assert first == week and int(needed) == wanted.pop(what)
        assert last - first + 1 == math.ceil(int(needed) / 90) and int(in_class) == 90 * (last - first + 1)
        week = last + 1
    assert not wanted


def test_limits_of_the_sandbox_are_those_that_are_told():
    from classroom.grade import SUBMISSION_S
    from classroom.sandbox import STANDARD

    told = f"{STANDARD.memory / 1e9:g} GB, {STANDARD.disk / 1e6:g} MB, {STANDARD.processes} processes"
    assert told in section("What the sandbox does")
    assert (STANDARD.cell_s, SUBMISSION_S) == (60, 900)  # a minute, a quarter of an hour


def test_hub_allows_the_memory_that_lessons_need():
    settings = yaml.safe_load((HUB / "values.yaml").read_text(encoding="utf-8"))
    limit = int(settings["singleuser"]["memory"]["limit"].removesuffix("G"))
    assert f"memory_gb={limit} " in (HUB / "tljh.sh").read_text(encoding="utf-8")
    assert f"The settings here allow {limit} GB" in GUIDE
    needed = {row[0]: float(row[1].removesuffix(" GB")) for row in rows("JupyterHub")}
    assert list(needed) == [str(int(path.stem[:2])) for path in lessonfile.LESSONS]
    assert 2 * max(needed.values()) + 0.2 < limit  # two lessons open, and JupyterLab


def test_work_in_a_container_is_kept():
    settings = yaml.safe_load((HUB / "values.yaml").read_text(encoding="utf-8"))["singleuser"]
    kept = settings["storage"]["homeMountPath"]
    assert (HUB / "Dockerfile").read_text(encoding="utf-8").count(f"WORKDIR {kept}\n") == 1
    assert f"cd {kept} &&" in settings["lifecycleHooks"]["postStart"]["exec"]["command"][-1]


def test_hub_installs_what_is_there():
    script = HUB / "tljh.sh"
    subprocess.run(["bash", "-n", script], check=True)
    named = re.search(r"^cp -r -- (.+) \"\$course\"$", script.read_text(encoding="utf-8"), flags=re.M)[
        1
    ].split()
    copied = re.findall(r"^COPY (.+) \S+$", (HUB / "Dockerfile").read_text(encoding="utf-8"), flags=re.M)
    assert sorted(name for line in copied for name in line.split()) == sorted(named)
    assert all((ROOT / name).exists() for name in named)
