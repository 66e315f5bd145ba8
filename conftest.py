"""Run every code cell of every lesson as a test of its own, through nbval, on each source of data.

nbval alone lets three things pass: a misspelt magic, an expected error that does not come, and an
expected error of another kind. ``LessonCell`` closes these holes. It also fails a cell that prints a
warning, shows a picture without alternative text or writes faint words into one, and it tries every
exercise as a learner would: the starter must not pass its check, each typical wrong answer must be told
its mistake, the solution must pass.
"""

import os
import re
from collections import Counter, defaultdict

import pytest
from nbformat.v4 import new_code_cell
from nbval.plugin import IPyNbCell, IPyNbFile
from xdist.scheduler import LoadFileScheduling

from tests import lessonfile

# A warning of a library is an error of the lesson: what is deprecated today breaks tomorrow.
PREPARE_KERNEL = """
import os, sys, warnings
sys.path.insert(0, {root!r})
import tests.legible
tests.legible.watch(get_ipython())
sys.path.pop(0)
os.environ["SLICEWISE_SOURCE"] = {source!r}
for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
    warnings.simplefilter("always", category)
del os, sys, tests, warnings, category
"""


class Scheduling(LoadFileScheduling):
    """A file's tests run in one process; so do all of the website, whose building takes minutes."""

    def _split_scope(self, nodeid):
        return "tests/site" if nodeid.startswith("tests/site/") else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)


def pytest_collect_file(file_path, parent):
    if file_path in (*lessonfile.LESSONS, *lessonfile.PAGES, lessonfile.TEMPLATE):
        return LessonFile.from_parent(parent, path=file_path)
    return None


def sources():
    """Return the sources of data to run the lessons on: the originals too where a folder of them is given."""
    return ("bundled", "original") if os.environ.get("SLICEWISE_DATA") else ("bundled",)


class LessonFile(pytest.File):
    """A lesson; it collects one run per source of data. Pages name theirs themselves, and run once."""

    def collect(self):
        for source in ("bundled",) if self.path in lessonfile.PAGES else sources():
            yield LessonRun.from_parent(self, path=self.path, name=source, nodeid=f"{self.nodeid}::{source}")


class LessonRun(IPyNbFile):
    """A lesson run from top to bottom in one kernel on one source of data."""

    def setup(self):
        super().setup()
        message = self.kernel.execute_cell_input(
            PREPARE_KERNEL.format(source=self.name, root=str(lessonfile.ROOT))
        )
        reply = self.kernel.get_message("shell", timeout=300)
        self.kernel.await_idle(message, timeout=300)
        if reply["content"]["status"] != "ok":
            raise RuntimeError("\n".join(reply["content"]["traceback"]))

    def collect(self):
        for number, (label, cell, must_say) in enumerate(cells_to_run(self.path)):
            yield LessonCell.from_parent(
                self, name=f"{number:03d} {label}", cell_num=number, cell=cell,
                options=defaultdict(bool, check_exception=lessonfile.expected_error(cell) is not None),
                must_say=must_say,
            )  # fmt: skip


def cells_to_run(path):
    """Yield (label, code cell, text that its check must say or None) of a lesson, exercises tried in full.

    A check stands before its solution in the lesson, so that there it judges the starter; it runs again after
    each wrong answer and after the solution.
    """
    wrongs = lessonfile.wrong_answers(path)
    check = None
    for cell in lessonfile.read(path).cells:
        if cell.cell_type != "code":
            continue
        first_line = cell.source.strip().splitlines()[0][:50] if cell.source.strip() else "(empty)"
        if lessonfile.points(cell) is not None:
            check = cell
            name = lessonfile.exercise_name(cell)
            yield f"{name}: the starter is not accepted", cell, "Not yet"
            for wrong in wrongs.get(name, ()):
                yield f"{name}: wrong answer", new_code_cell(wrong["code"]), None
                yield f"{name}: is told “{wrong['says']}”", cell, ("Not yet", wrong["says"])
        elif "solution" in lessonfile.tags(cell):
            yield f"{name}: solution", cell, None
            yield f"{name}: the solution is accepted", check, "Correct"
        else:
            yield first_line, cell, None


class LessonCell(IPyNbCell):
    """One code cell of a lesson."""

    def __init__(self, *, must_say=None, **kwargs):
        super().__init__(**kwargs)
        self.must_say = (must_say,) if isinstance(must_say, str) else must_say or ()

    def reportinfo(self):
        return self.path, None, f"{self.path.stem}[{self.parent.name}] {self.name}"

    def setup(self):
        # After a cell that timed out nothing is known of the kernel: fail, where nbval expects a failure.
        if self.parent.timed_out:
            pytest.fail("an earlier cell of this lesson timed out")

    def runtest(self):
        super().runtest()
        self.require_expected_error()
        self.require_no_complaint()
        self.require_alternative_text()
        self.require_check_says()

    def require_expected_error(self):
        expected = lessonfile.expected_error(self.cell)
        raised = [out.ename for out in self.test_outputs if out.output_type == "error"]
        if expected and raised != [expected]:
            self.raise_cell_error(f"must raise {expected}, but raised {raised[0] if raised else 'nothing'}")

    def require_no_complaint(self):
        # Warnings, log messages of libraries and IPython's word on a misspelt magic all go to stderr.
        text = "".join(out.text for out in self.test_outputs if out.get("name") == "stderr")
        if text:
            self.raise_cell_error(f"complains: {text[-600:]}")

    def require_alternative_text(self):
        has_picture = any("image/png" in out.get("data", {}) for out in self.test_outputs)
        alt = self.cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if has_picture and len(alt) < 20:
            self.raise_cell_error("shows a picture without alternative text (mystnb: image: alt)")
        if alt and not has_picture:
            self.raise_cell_error("has alternative text but shows no picture")

    def require_check_says(self):
        said = " ".join(out.get("data", {}).get("text/plain", "") for out in self.test_outputs)
        for text in self.must_say:
            if text not in said:
                self.raise_cell_error(f"must say “{text}”, but says “{said}”")


def pytest_terminal_summary(terminalreporter):
    """Tell how long each lesson took, and its slowest cells: a learner waits for them too."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call" and re.match(r"lessons/.*\.md::", report.nodeid)
    ]
    if not reports:
        return
    seconds = Counter()
    for report in reports:
        seconds["::".join(report.nodeid.split("::")[:2])] += report.duration
    terminalreporter.section("lessons: time")
    for run, total in sorted(seconds.items()):
        terminalreporter.line(f"{total / 60:6.2f} min  {run}")
    terminalreporter.line("the ten slowest cells:")
    for report in sorted(reports, key=lambda report: -report.duration)[:10]:
        terminalreporter.line(f"{report.duration:6.2f} s    {report.nodeid}")
