"""Grade a class with nbgrader, in whose autograding the sandbox takes the place of its own kernel.

``nbgrader_config.py`` calls :func:`settings`, so that nbgrader's own commands, too, run no student's code
outside a sandbox. :func:`grade_class` does all of it: it judges several submissions at a time, then has
nbgrader take the points into its gradebook, write the feedback and the table of grades. What is judged is
kept in the folder ``judged``: whatever ends it, the next call goes on where it was.
"""

import hashlib
import json
import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import nbformat
from nbgrader.apps import NbGraderAPI
from nbgrader.converters import Autograde
from nbgrader.exchange.default import ExchangeCollect
from nbgrader.preprocessors import Execute, NbGraderPreprocessor
from sqlalchemy.exc import SAWarning
from traitlets import Bool
from traitlets.config import PyFileConfigLoader

from classroom import Refusal
from classroom.feedback import Page
from classroom.grade import grade, is_check, questions, restore
from classroom.report import report
from classroom.sandbox import STANDARD, why_not
from helpers import exercises

MOST_BYTES = 20 * 10**6  # of a notebook that is handed in


def settings(c):
    """Set in nbgrader's configuration that students' code runs in a sandbox and nowhere else.

    Parameters
    ----------
    c : traitlets.config.Config
        What ``get_config()`` returns in ``nbgrader_config.py``.
    """
    c.Autograde.sanitize_preprocessors = [PutBack, *Autograde.sanitize_preprocessors.default()]
    steps = Autograde.autograde_preprocessors.default()
    c.Autograde.autograde_preprocessors = [Judge if each is Execute else each for each in steps]
    c.ExchangeFactory.collect = Collect
    c.GenerateFeedback.exporter_class = Page


class Collect(ExchangeCollect):
    """Collect submissions as their owner's, and without the links in them.

    nbgrader believes the name that a folder has in the exchange, which anybody on the machine may give it,
    and fetches what links lead to.
    """

    def _path_to_record(self, path):
        """Return whose submission a folder is, and of when."""
        record = super()._path_to_record(path)
        if self.check_owner:
            record["username"] = _owner(path)
        return record

    def do_copy(self, src, dest, log=None):
        """Copy a submission."""
        super().do_copy(src, dest, log)
        for folder, folders, files in os.walk(src):
            for name in [*folders, *files]:
                link, copied = Path(folder, name), Path(dest, os.path.relpath(folder, src), name)
                if link.is_symlink() and copied.is_dir():
                    shutil.rmtree(copied)
                elif link.is_symlink():
                    copied.unlink(missing_ok=True)


def _owner(path):
    """Return the name of a folder's owner, or the number where there is no such user any more."""
    try:
        return Path(path).owner()
    except KeyError:
        return str(os.stat(path).st_uid)


class PutBack(NbGraderPreprocessor):
    """First step of autograding: put back what was not to be changed."""

    def preprocess(self, nb, resources):
        """Return the notebook with the released cells around the student's answers."""
        facts = resources["nbgrader"]
        return restore(
            nb, _read(Path("release", facts["assignment"], facts["notebook"] + ".ipynb"))
        ), resources


class Judge(NbGraderPreprocessor):
    """In the place of nbgrader's `Execute`: run the notebook in a sandbox and judge the answers outside."""

    trust_students = Bool(False, help="Run students' code as the user who grades.").tag(config=True)

    def preprocess(self, nb, resources):
        """Return the notebook with its outputs; those of a check are feedback and points."""
        facts = resources["nbgrader"]
        whose = [facts[each] for each in ("assignment", "student", "notebook")]
        outputs = judge(Path.cwd(), *whose, nb, self.trust_students)
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs = [nbformat.from_dict(each) for each in outputs.get(cell.id, [])]
        return nb, resources


def judge(course, assignment, student, name, notebook, trust=False, limits=STANDARD):
    """Judge a submission, unless the very same has been judged before.

    Parameters
    ----------
    course : Path
        nbgrader's folder.
    assignment, student, name : str
        Whose notebook it is.
    notebook : NotebookNode
        The submission, restored.
    trust : bool
        Whether to run it without a sandbox.
    limits : Limits
        For each cell.

    Returns
    -------
    dict of str to list
        Id of a code cell -> its outputs.

    Raises
    ------
    Refusal
        If there is no sandbox and students are not trusted, or the lesson's own solution fails.
    """
    source = course / "source" / assignment / f"{name}.ipynb"
    files = _files(course, assignment, student)
    key = _key(source, files, notebook)
    kept = course / "judged" / assignment / student / f"{name}.json"
    try:
        judged = json.loads(kept.read_text(encoding="utf-8"))
        if judged["key"] == key:
            return judged["outputs"]
    except (OSError, ValueError, KeyError):
        pass
    _require_sandbox(trust)
    graded = grade(notebook, _asked(source), files.values(), limits, not trust)
    outputs = {cell.id: cell.outputs for cell in graded.cells if cell.cell_type == "code"}
    _write(kept, json.dumps({"key": key, "outputs": outputs}))
    return outputs


def _files(course, assignment, student):
    """Return the files that a submission's code finds: the teacher's, and the student's own."""
    given = extra_files(course / "source" / assignment)
    return given | extra_files(course / "submitted" / student / assignment)


def _key(source, files, notebook):
    """Return a text that changes with all on which the judgement of a notebook depends."""
    code = [
        [cell.id, cell.source] for cell in notebook.cells if cell.cell_type == "code" and not is_check(cell)
    ]
    hashes = sorted((name, _hash(path)) for name, path in files.items())
    facts = [code, source.read_text(encoding="utf-8"), hashes, _hash(Path(exercises.__file__).parent)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _write(path, text):
    """Write a file in one step: whatever ends this program, it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def _require_sandbox(trust):
    problem = None if trust else why_not()
    if problem:
        raise Refusal(problem)


def _require_course(course):
    if not (course / "nbgrader_config.py").is_file():
        raise Refusal(f"{course} is no course folder: make one with `course.py classroom nbgrader`.")


def _require_work(course):
    released = {path.name for path in course.glob("release/*") if path.is_dir()}
    if not released:
        raise Refusal(f"Nothing is released: run `course.py classroom release {course}` first.")
    if not released & {path.name for path in course.glob("submitted/*/*")}:
        raise Refusal(
            f"Nothing is handed in: lay each notebook at {course / 'submitted'}/STUDENT/LESSON/LESSON.ipynb."
        )


def _nbgrader(course, trust=False):
    """Return nbgrader's interface to a course folder, with the sandbox whatever became of its settings."""
    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    settings(config)
    config.CourseDirectory.root = str(course)
    config.Judge.trust_students = trust
    return NbGraderAPI(config=config)


def _asked(source):
    """Return the questions of an instructor's notebook, which runs once as long as it does not change."""
    return _questions(source, source.stat().st_mtime_ns)


@lru_cache
def _questions(source, _changed):
    return questions(nbformat.read(source, as_version=4))


def release(course):
    """Make the students' version of each lesson of a course folder that has none yet.

    Parameters
    ----------
    course : Path
        nbgrader's folder, with `source`.

    Returns
    -------
    list of Path
        The folders to hand out, also those that were there.

    Raises
    ------
    Refusal
        If it is no such folder, or nbgrader refuses a lesson.
    """
    course = Path(course).absolute()
    _require_course(course)
    api, folders = _nbgrader(course), []
    for source in sorted(path for path in (course / "source").iterdir() if path.is_dir()):
        folders.append(course / "release" / source.name)
        if not folders[-1].exists():
            result = api.generate_assignment(source.name)
            if not result["success"]:
                raise Refusal(f"nbgrader could not release {source.name}: {result.get('error')}.")
    return folders


def grade_class(course, trust=False, workers=2, limits=STANDARD, say=print):
    """Grade all submissions of a course folder, and go on where an earlier call was ended.

    Parameters
    ----------
    course : Path
        nbgrader's folder, with `source`, `release` and `submitted`.
    trust : bool
        Whether to run students' code without a sandbox.
    workers : int
        How many submissions are judged at a time.
    limits : Limits
        For each cell.
    say : callable
        Takes a line on each submission.

    Returns
    -------
    Path
        The table of grades, ``grades.csv``.

    Raises
    ------
    Refusal
        If there is no sandbox and students are not trusted, the folder holds nothing to grade, or a
        lesson's own solution fails.
    """
    _require_sandbox(trust)
    course = Path(course).absolute()
    _require_course(course)
    _require_work(course)
    api = _nbgrader(course, trust)
    warnings.simplefilter("ignore", SAWarning)  # nbgrader's own, on each submission
    for assignment in sorted(path.name for path in (course / "release").iterdir() if path.is_dir()):
        students = sorted(
            path.parent.name for path in course.glob(f"submitted/*/{assignment}") if path.is_dir()
        )
        for source in (course / "source" / assignment).glob("*.ipynb") if students else ():
            _asked(source)  # once and here, as what it prints is caught for all threads alike
        with ThreadPoolExecutor(workers) as pool:
            ahead = {
                each: pool.submit(_prepare, course, assignment, each, trust, limits) for each in students
            }
            for number, student in enumerate(students, 1):
                key, named, problem = ahead[student].result()
                if _take(api, course, assignment, student, key):
                    outcome = f"graded; its notebook was named {named}" if named else "graded"
                else:
                    outcome = f"not graded: {problem or f'`nbgrader autograde {assignment}` says why'}"
                say(f"{assignment} {number}/{len(students)} {student}: {outcome}")
    with api.gradebook as gradebook:
        report(course, gradebook)
    return course / "grades.csv"


def _take(api, course, assignment, student, key):
    """Have nbgrader take over what was judged, and write the feedback; return whether it could.

    What nbgrader was doing when it was killed it would leave half done. So it is told to do again all of
    which `judged` does not say that it is complete; it keeps the points that a teacher gave by hand.
    """
    marks = course / "judged" / assignment / student
    taken, told = marks / "taken", marks / "told"
    if not _says(taken, key):
        if not api.autograde(assignment, student, force=True)["success"]:
            return False
        _write(taken, key)
    with api.gradebook as gradebook:
        notebooks = gradebook.find_submission(assignment, student).notebooks
        grades = [(each.name, each.score) for notebook in notebooks for each in notebook.grades]
        comments = [(each.name, each.comment) for notebook in notebooks for each in notebook.comments]
    feedback = f"{key} {sorted(grades)} {sorted(comments)}"
    if not _says(told, feedback):
        if not api.generate_feedback(assignment, student, force=True)["success"]:
            return False
        _write(told, feedback)
    return True


def _says(path, text):
    """Tell whether a file says this."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _prepare(course, assignment, student, trust, limits):
    """Judge the notebooks of a submission ahead of nbgrader.

    Returns
    -------
    key : str
        Changes with the submission, and with all on which its judgement depends.
    named : str
        How its notebook was named, if wrongly.
    problem : str
        Why it could not be judged, if so.
    """
    named, problem, facts, folder = "", "", [], course / "submitted" / student / assignment
    files = _files(course, assignment, student)
    for released in sorted((course / "release" / assignment).glob("*.ipynb")):
        submitted = folder / released.name
        others = [path for path in folder.glob("*.ipynb") if not path.is_symlink()]
        if not submitted.exists() and len(others) == 1:
            os.rename(others[0], submitted)
            named = others[0].name
        try:
            notebook = restore(_read(submitted), _read(released))
            judge(course, assignment, student, released.stem, notebook, trust, limits)
            judged = _key(course / "source" / assignment / released.name, files, notebook)
            facts += [judged, [cell.source for cell in notebook.cells]]
        except (Refusal, FileNotFoundError) as error:
            problem = str(error)
    stamp = folder / "timestamp.txt"
    facts += [problem, _hash(stamp) if stamp.is_file() and not stamp.is_symlink() else ""]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest(), named, problem


def extra_files(folder):
    """Return the files and folders beside the notebooks, by name, without links, which lead anywhere."""
    if not folder.is_dir():
        return {}
    skip = {"timestamp.txt", ".ipynb_checkpoints"}
    paths = [path for path in sorted(folder.iterdir()) if not path.is_symlink()]
    return {path.name: path for path in paths if path.suffix != ".ipynb" and path.name not in skip}


def _read(path):
    """Return a notebook from a file of which nothing is known."""
    if path.is_symlink():
        raise Refusal(f"{path.name} is a link, no notebook.")
    if path.stat().st_size > MOST_BYTES:
        raise Refusal(f"{path.name} has more than {MOST_BYTES / 1e6:g} MB.")
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:
        raise Refusal(f"{path.name} is no notebook ({type(error).__name__}).") from None


def _hash(path):
    """Return a hash of a file, or of all files in a folder but what Python has compiled."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    kept = [each for each in files if each.suffix != ".pyc"]
    return hashlib.sha256(b"".join(each.read_bytes() for each in kept)).hexdigest()
