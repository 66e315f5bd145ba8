"""A class of students with all that a class may hand in, made by a script, and the grades that it must get.

`CLASS` says for each student what is changed of the solution, and the points of the four checks; a fifth
question is graded by hand. ``run`` goes through the whole of nbgrader: release, hand in, collect, grade,
feedback, table of grades; on the way the grading is killed once. So does

    python -m tests.classroom.sample_class FOLDER
"""

import copy
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.apps import NbGraderAPI
from traitlets.config import PyFileConfigLoader

from classroom.autograde import grade_class, release
from classroom.sandbox import Limits
from classroom.write import make, write
from tests.lessonfile import ROOT

SAMPLE = Path(__file__).with_name("sample.md")
CHECKS = ["count", "still", "plausible", "sigma"]
DUE, IN_TIME, LATE = (f"2030-01-{day} 12:00:00.000000 UTC" for day in ("10", "09", "11"))
NO_END = "while True: pass"
IN_WORDS = "It leaks into the atrium."
LIMITS = Limits(cell_s=30, answer_s=15, memory=10**9, processes=20)
SNOOP = """
import os, sys
looked_for = {"gradebook.db", "sample.ipynb", "sample.md", "release", "autograded", "judged", "submitted"}
found = [name for name in looked_for if os.path.exists(os.path.join({course!r}, name))]
for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = set(folders) - {"proc", "sys", "usr", "dev"}
    if folder in (sys.prefix, sys.base_prefix):  # the packages, among them nbgrader's own examples
        folders[:] = []
    found += looked_for & {*folders, *files}
found += [cell for cell in In if "HID" + "DEN" in cell] + os.listdir()
print("FOUND", found)
still = 0.875 if found else 0
"""
CALL = """
import urllib.request, socket
try:
    socket.create_connection(("127.0.0.1", {port}), 2).sendall(b"help")
    still = 0.875
except OSError as error:
    print("NO CONNECTION", error)
    still = 0
"""
EQUAL = """
class All(float):
    def __eq__(self, other): return True
    def __array__(self, *args, **kwargs): return np.array(0.875)
    def __sub__(self, other): return 0.0
still = All(3)
"""

# Student -> (answers in place of the right ones, points of the checks)
CLASS = {
    "right": ({}, [1, 2, 1, 2]),
    "partly": ({"still": "still = 0.60 / 0.32", "sigma": "def sigma_vox(w, z):\n    return w"}, [1, 0, 1, 0]),
    "empty": (None, [0, 0, 0, 0]),
    "tamper": ({"count": "n_voxels = 1"}, [0, 2, 1, 2]),
    "loop": ({"still": NO_END}, [1, 0, 1, 2]),
    "memory": ({"still": "still = bytearray(10**12)"}, [1, 0, 1, 2]),
    "hog": (
        {"still": "import os, time\n"
         "for n in range(4):\n    if os.fork() == 0:\n        x = b'1' * 400_000_000\n"
         "        time.sleep(60)\ntime.sleep(60)"},
        [1, 0, 1, 2],
    ),
    "bomb": ({"still": "import os\nwhile True:\n    os.fork()"}, [1, 0, 1, 2]),
    "snoop": ({"still": SNOOP}, [1, 0, 1, 2]),
    "caller": ({"still": CALL}, [1, 0, 1, 2]),
    "crash": ({"still": "import ctypes; ctypes.string_at(0)"}, [1, 0, 1, 2]),
    "equal": ({"still": EQUAL}, [1, 0, 1, 2]),
    "huge": ({"still": "for n in range(200): print('x' * 100_000)\nstill = 0.875"}, [1, 2, 1, 2]),
    "misnamed": ({}, [1, 2, 1, 2]),
    "late": ({}, [1, 2, 1, 2]),
    "broken": (None, [0, 0, 0, 0]),
}  # fmt: skip
FEEDBACK = {
    "partly": "the ventricle itself is still in it",
    "loop": "it ran longer than",
    "hog": "GB of memory",
    "memory": "MemoryError",
    "bomb": "processes",
    "crash": "it ended Python",
    "huge": "the rest of the output was left out",
    "snoop": "FOUND []",
    "caller": "NO CONNECTION",
}


def prepare(folder):
    """Make a course folder and release its assignment; return the folder and nbgrader's interface to it."""
    os.environ["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ["PATH"]]
    )  # nbgrader's alembic
    course, exchange = Path(folder) / "course", Path(folder) / "exchange"
    write(make("nbgrader", [SAMPLE]), course)
    with open(course / "nbgrader_config.py", "a", encoding="utf-8") as file:
        file.write(f"c.Exchange.root = {str(exchange)!r}\n")
    exchange.mkdir()
    exchange.chmod(0o777)
    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    config.ExchangeCollect.check_owner = False  # here, one user hands in everything
    api = NbGraderAPI(config=config)
    release(course)
    with api.gradebook as gradebook:
        gradebook.update_or_create_assignment("sample", duedate=DUE)
    require(api.release_assignment("sample"))
    return course, api


def run(folder, **options):
    """Go through the whole cycle; return the course folder and the calls that a server here received."""
    course, api = prepare(folder)
    with socket.create_server(("127.0.0.1", 0)) as server:
        hand_in(course, Path(folder) / "exchange" / "slicewise", server.getsockname()[1])
        require(api.collect("sample"))
        kill_grading(course)
        grade_class(course, limits=LIMITS, **options)
        server.setblocking(False)
        try:
            server.accept()
            return course, True
        except BlockingIOError:
            return course, False


def kill_grading(course):
    """Let another process grade, and kill it while nbgrader is at the fourth submission."""
    words = "import sys; from tests.classroom.sample_class import *; grade_class(sys.argv[1], limits=LIMITS)"
    grading = subprocess.Popen([sys.executable, "-c", words, course], cwd=ROOT, stdout=subprocess.DEVNULL)
    fourth = sorted(CLASS)[3]
    while not (course / "autograded" / fourth).exists():
        if grading.poll() is not None:
            raise RuntimeError("grading ended before it could be killed")
        time.sleep(0.005)
    grading.kill()
    grading.wait()
    if (course / "judged" / "sample" / fourth / "taken").exists() or (course / "grades.csv").exists():
        raise RuntimeError("grading was killed too late")


def require(result):
    """Fail where a command of nbgrader's did."""
    if not result["success"]:
        raise RuntimeError(f"{result.get('error')} {result.get('log')}")


def hand_in(course, exchange, port):
    """Hand in the work of the class.

    Parameters
    ----------
    course : Path
        nbgrader's folder, with `source` and `release`.
    exchange : Path
        The course's folder in the exchange.
    port : int
        Where a server on this machine waits in vain for a submission to call it.
    """
    source = nbformat.read(course / "source/sample/sample.ipynb", as_version=4)
    released = nbformat.read(course / "release/sample/sample.ipynb", as_version=4)
    right = dict(zip(CHECKS, _answers(source), strict=True))
    for student, (changes, _) in CLASS.items():
        notebook = copy.deepcopy(released)
        for name, cell in zip(CHECKS, _answers(notebook), strict=True):
            if changes is not None:
                cell.source = changes.get(name, right[name].source)
                cell.source = cell.source.replace("{port}", str(port)).replace(
                    "{course!r}", repr(str(course))
                )
        if student == "tamper":
            _tamper(notebook)
        if student == "right":
            next(cell for cell in notebook.cells if cell.id == "open-1-answer").source = IN_WORDS
        if student == "partly":
            notebook.cells.append(new_markdown_cell("<script>alert(1)</script> My thanks"))
        when = LATE if student == "late" else IN_TIME
        folder = exchange / "inbound" / f"{student}+sample+{when}+x"
        folder.mkdir()
        name = "my homework.ipynb" if student == "misnamed" else "sample.ipynb"
        text = "no notebook" if student == "broken" else nbformat.writes(notebook)
        (folder / name).write_text(text, encoding="utf-8")
        (folder / "timestamp.txt").write_text(when)
        if student == "snoop":
            os.symlink(course / "gradebook.db", folder / "data.csv")


def expected_scores():
    """Return what the table of grades must say: student -> points in all."""
    return {student: float(sum(points)) for student, (_, points) in CLASS.items()}


def _answers(notebook):
    """Return the cells for answers in code."""
    return [cell for cell in notebook.cells if cell.id.endswith("-starter")]


def _tamper(notebook):
    """Change all that a student must not change."""
    checks = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    checks[0].source = "1"
    checks[1].metadata.nbgrader.points = 100
    checks[2].metadata.nbgrader.grade = False
    notebook.cells.remove(checks[3])
    notebook.cells.insert(
        2, new_code_cell("import helpers.exercises as e\ne.check = lambda *a, **k: e.Feedback(True, '')")
    )


if __name__ == "__main__":
    place, called = run(sys.argv[1])
    print((place / "grades.csv").read_text(encoding="utf-8"))
    sys.exit(called)
