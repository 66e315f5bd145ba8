"""What grading costs: seconds and memory for a submission, in the sandbox, without it, and by plain nbgrader.

Run it as ``python benchmarks/classroom.py --students 200``; a dozen are enough to see the ratios. The class
hands in the sample lesson of the tests, right and wrong answers in turn. ``--lessons`` measures instead how
much memory each lesson's kernel comes to, which decides how many learners fit on a hub.
"""

import argparse
import copy
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from classroom import convert, sandbox  # noqa: E402
from classroom.autograde import release  # noqa: E402
from classroom.plain import read_glossary  # noqa: E402
from classroom.write import LESSONS, find_lessons, make, write  # noqa: E402

SAMPLE = ROOT / "tests" / "classroom" / "sample.md"
GRADE = "import sys; from classroom.autograde import grade_class; "
SAFE = GRADE + "grade_class(sys.argv[1])"
TRUSTING = GRADE + "grade_class(sys.argv[1], trust=True)"
WRONG = {"template-count-starter": "n_voxels = 1", "measurement-still-starter": "still = 0.60 / 0.32"}


def hand_in(course, students):
    """Fill `submitted`, every other student with two wrong answers."""
    source = nbformat.read(course / "source/sample/sample.ipynb", as_version=4)
    for number in range(students):
        notebook = copy.deepcopy(source)
        for cell in notebook.cells if number % 2 else ():
            cell.source = WRONG.get(cell.id, cell.source)
        folder = course / "submitted" / f"student{number:03d}" / "sample"
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / "sample.ipynb")


class Peak(threading.Thread):
    """Watch the memory of a process and its children together, what they share counted once."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.process, self.bytes, self.done = psutil.Process(pid), 0, threading.Event()
        self.start()

    def run(self):
        """Look twice a second."""
        while not self.done.wait(0.5):
            self.bytes = max(self.bytes, sandbox._memory(sandbox._family(self.process.pid), "pss"))


def measure(words, course):
    """Run a program in a course folder; return its seconds and its peak memory in GB."""
    begin = time.perf_counter()
    program = subprocess.Popen(
        words, cwd=course, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    peak = Peak(program.pid)
    complaint = program.communicate()[1].decode(errors="replace")
    peak.done.set()
    if program.returncode:
        sys.exit(f"{' '.join(map(str, words))} failed:\n{complaint[-2000:]}")
    return time.perf_counter() - begin, peak.bytes / 1e9


def environment():
    """Return the variables for programs that must find the course and nbgrader's own tools."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}


def scores(course):
    """Return the points of each student."""
    with open(course / "grades.csv", newline="", encoding="utf-8") as file:
        return {row["student_id"]: row["score"] for row in csv.DictReader(file)}


def killed_and_resumed(course, students):
    """Kill the grading after a third of the class and start it again; return the seconds of both."""
    begin = time.perf_counter()
    program = subprocess.Popen(
        [sys.executable, "-c", SAFE, course], env=environment(), stdout=subprocess.DEVNULL
    )
    while len(list(course.glob("judged/sample/*/taken"))) < max(1, students // 3):
        time.sleep(0.01)
        if program.poll() is not None:
            sys.exit("grading ended before it could be killed")
    program.kill()
    program.wait()
    return time.perf_counter() - begin + measure([sys.executable, "-c", SAFE, course], course)[0]


def grading(students):
    """Print the table of grading."""
    if problem := sandbox.why_not():
        sys.exit(problem)
    os.environ["PATH"] = environment()["PATH"]
    with tempfile.TemporaryDirectory() as folder:
        course = Path(folder, "course")
        write(make("nbgrader", [SAMPLE]), course)
        release(course)
        hand_in(course, students)
        ways = {}
        for name, words in [
            (
                "plain nbgrader autograde, no sandbox",
                [sys.executable, "-m", "nbgrader", "autograde", "sample"],
            ),
            ("course.py, no sandbox, 2 workers", [sys.executable, "-c", TRUSTING]),
            ("course.py, sandbox, 2 workers", [sys.executable, "-c", SAFE]),
        ]:
            place = Path(folder, f"way{len(ways)}")
            shutil.copytree(course, place)
            if "nbgrader" in words:
                config = (place / "nbgrader_config.py").read_text(encoding="utf-8")
                (place / "nbgrader_config.py").write_text(config.replace("settings(c)", ""), encoding="utf-8")
            else:
                words = [*words, place]
            ways[name] = measure(words, place)
        killed = Path(folder, "killed")
        shutil.copytree(course, killed)
        resumed_s = killed_and_resumed(killed, students)
        same = scores(killed) == scores(place)
        (plain_s, _), (trusting_s, _), (safe_s, safe_gb) = ways.values()
        print(f"{students} submissions\n{'':40}{'s each':>8}{'ratio':>8}{'peak GB':>9}")
        for name, (seconds, gigabytes) in ways.items():
            print(f"{name:40}{seconds / students:8.2f}{seconds / plain_s:8.2f}{gigabytes:9.2f}")
        name, each_s = "… killed after a third, started again", resumed_s / students
        print(f"{name:40}{each_s:8.2f}{resumed_s / plain_s:8.2f}")
        print("the same grades after the kill:", verdict(same))
        print(
            f"the sandbox costs {safe_s / trusting_s - 1:+.0%}, goal < 25 %:",
            verdict(safe_s < 1.25 * trusting_s),
        )
        print(f"peak memory {safe_gb:.2f} GB, goal < 4 GB:", verdict(safe_gb < 4))


def memory_of_lessons():
    """Print the table of lessons."""
    glossary = read_glossary((LESSONS / "glossary.md").read_text(encoding="utf-8"))
    peak = "import resource; print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    for path in find_lessons([]):
        notebook = convert.instructor(path.read_text(encoding="utf-8"), glossary)
        notebook.cells.append(nbformat.v4.new_code_cell(peak))
        begin = time.perf_counter()
        NotebookClient(notebook, timeout=600).execute()
        kilobytes = int(notebook.cells[-1].outputs[0].text.split("PEAK")[1])
        print(f"{path.stem:24}{kilobytes * 1024 / 1e9:6.1f} GB{time.perf_counter() - begin:8.0f} s")


def verdict(met):
    """Return how a goal was met, as a word."""
    return "met" if met else "MISSED"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--students", type=int, default=12, metavar="N", help="how many hand in (default: 12)"
    )
    parser.add_argument("--lessons", action="store_true", help="measure the memory of each lesson")
    options = parser.parse_args()
    memory_of_lessons() if options.lessons else grading(options.students)
