"""Write the files of a product into a folder: all or none, and never over anything else."""

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import nbformat

from classroom import Refusal, convert
from classroom.plain import Unreadable, read_glossary

COURSE = Path(__file__).resolve().parent.parent
LESSONS = COURSE / "lessons"
MANIFEST = ".slicewise.json"
# Cells of the lesson itself may be changed by students: autograde puts them back before it runs them.
CONFIG = '''"""The settings of nbgrader for this course; a link to this file from elsewhere serves as well."""

from pathlib import Path

from classroom.autograde import settings

c = get_config()  # noqa: F821
settings(c)  # students' code runs in a sandbox

c.CourseDirectory.course_id = "slicewise"
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.ClearSolutions.code_stub = {"python": ""}  # the starter stands above it
c.ClearSolutions.text_stub = "*Double-click here and write your answer.*"
c.LockCells.lock_readonly_cells = False
c.OverwriteCells.add_missing_cells = True
c.Execute.timeout = 120  # of `nbgrader validate`, which runs the solutions
'''

# No JupyterLab has nbgrader's buttons but one that is told of these by JUPYTER_CONFIG_PATH.
BUTTONS = {
    ".jupyter/labconfig/page_config.json": {
        "disabledExtensions": {"@jupyter/nbgrader": False, "@jupyter/nbgrader:formgrader": False}
    },
    ".jupyter/jupyter_server_config.json": {
        "ServerApp": {
            "jpserver_extensions": {"nbgrader.server_extensions.formgrader": True},
            # The formgrader is a page within JupyterLab's, which a hub forbids unless told otherwise.
            "tornado_settings": {"headers": {"Content-Security-Policy": "frame-ancestors 'self'"}},
        }
    },
}


def find_lessons(names):
    """Return the lesson files that are meant.

    Parameters
    ----------
    names : list of str
        Each a lesson's number, its name, or the path of a lesson file; none means all lessons.

    Returns
    -------
    list of Path
        In the order of the course, without repetitions.

    Raises
    ------
    Refusal
        If there is no such lesson.
    """
    known = sorted(LESSONS.glob("[0-9][0-9]_*.md"))
    if not names:
        return known
    found = set()
    for name in names:
        number = f"{int(name):02d}" if name.isascii() and name.isdigit() else None
        path = next((p for p in known if p.stem == name or p.stem.split("_")[0] == number), Path(name))
        if path.suffix != ".md" or not path.is_file():
            have = ", ".join(path.stem for path in known)
            raise Refusal(f"There is no lesson {name}: name its number or one of {have}.")
        found.add(path.resolve())
    return sorted(found, key=lambda path: path.name)


def make(product, paths):
    """Convert lessons into the files of a product.

    Parameters
    ----------
    product : {"student", "instructor", "nbgrader"}
        Which notebooks.
    paths : list of Path
        Lesson files.

    Returns
    -------
    dict of str to bytes
        Relative path -> contents; the same lessons give the same bytes.

    Raises
    ------
    Refusal
        If a lesson cannot be converted; the message names it.
    """
    glossary = read_glossary((LESSONS / "glossary.md").read_text(encoding="utf-8"))
    files, rows = {}, []
    for path in paths:
        text, name = path.read_text(encoding="utf-8"), path.stem
        try:
            if product == "instructor":
                page = path.parent / "instructor" / path.name
                notes = page.read_text(encoding="utf-8") if page.is_file() else ""
                notebook = convert.instructor(text, glossary, notes)
            elif product == "student":
                notebook = convert.student(text, glossary)
            else:
                notebook = convert.nbgrader(text, glossary)
            points = convert.syllabus(text)
        except Unreadable as error:
            raise Refusal(f"{path.name}: {error}") from error
        nbformat.validate(notebook)
        if any(name == row[0] for row in rows):
            raise Refusal(f"Two lesson files are called {path.name}: give them different names.")
        rows += [(name, *row) for row in points]
        place = f"source/{name}/{name}.ipynb" if product == "nbgrader" else f"{name}.ipynb"
        files[place] = (nbformat.writes(notebook) + "\n").encode()
    if product == "nbgrader":
        files["nbgrader_config.py"] = CONFIG.encode()
        files["syllabus.csv"] = table(rows).encode()
        files |= {name: (json.dumps(settings) + "\n").encode() for name, settings in BUTTONS.items()}
    return files


def table(rows):
    """Return the syllabus as CSV: what each exercise is worth, and each lesson in all."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["lesson", "exercise", "title", "objectives", "points", "graded"])
    for lesson in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == lesson]
        writer.writerows([*mine, (lesson, "", "in all", "", sum(row[4] for row in mine), "")])
    return lines.getvalue()


def write(files, out, private=True):
    """Write files into a folder, which is new, empty, or holds what an earlier call wrote and nobody changed.

    Parameters
    ----------
    files : dict of str to bytes
        Relative path -> contents.
    out : Path
        The folder; what an earlier call left there is replaced as a whole.
    private : bool
        Whether other users of the machine are kept out, as solutions and grades are not for them.

    Raises
    ------
    Refusal
        If the folder holds anything else, or lies in the course itself.
    """
    out = Path(os.path.abspath(out.expanduser()))
    if out.resolve() == COURSE or COURSE in out.resolve().parents:
        raise Refusal(
            f"{out} lies in the course's own folder, whose history holds the solutions: name one elsewhere."
        )
    if not out.parent.is_dir():
        raise Refusal(f"There is no folder {out.parent}: make that folder first.")
    refuse_what_is_not_ours(out)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {"about": "Written by course.py classroom, which replaces only these files.", "files": sums}
    files = {**files, MANIFEST: (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()}
    with tempfile.TemporaryDirectory(prefix=".slicewise-", dir=out.parent) as folder:
        new, old = Path(folder, "new"), Path(folder, "old")
        new.mkdir(mode=0o700 if private else 0o777)
        for name, data in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(data)
        if out.exists():
            os.rename(out, old)
        try:
            os.rename(new, out)
        except OSError:
            if old.exists():
                shutil.move(old, out)
            raise


def refuse_what_is_not_ours(out):
    """Refuse a folder in which there is anything but the unchanged files of an earlier product."""
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise Refusal(f"{out} exists and is no folder: name a new one.")
    try:
        ours = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        ours = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() and not path.is_symlink() or name == MANIFEST and ours:
            continue
        if name not in ours or hashlib.sha256(path.read_bytes()).hexdigest() != ours[name]:
            deed = "was changed" if name in ours else "is not of our making"
            raise Refusal(f"{out} is left as it is, for {name} in it {deed}: name a new folder.")
