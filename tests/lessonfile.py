"""Read a lesson file: its prose, its cells and what their tags say.

Tags of a code cell: ``exercise`` (the starter), ``check-N`` (a check worth N points), ``solution``,
``test`` (asserts the numbers that the prose states), ``raises-NameOfError`` (the cell must end in that
error). An exercise is a starter, its check and its solution, in this order.
"""

import ast
import re
import tomllib
from pathlib import Path

import jupytext

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "lessons").glob("[0-9][0-9]_*.md"))
# Other pages that are notebooks too: they run, but need no objectives, exercises and questions.
PAGES = sorted(
    path
    for path in (ROOT / "lessons").glob("[!0-9]*.md")
    if path.read_text(encoding="utf-8").startswith("---\njupytext:")
)
TEMPLATE = ROOT / "tests" / "lessons" / "template.md"


def read(path):
    """Return the notebook of a lesson file."""
    return jupytext.read(path, fmt="md:myst")


def tags(cell):
    """Return the set of tags of a cell."""
    return set(cell.metadata.get("tags", ()))


def points(cell):
    """Return the points of a check cell, None of any other cell."""
    found = [tag for tag in tags(cell) if tag.startswith("check-")]
    return int(found[0].removeprefix("check-")) if found else None


def expected_error(cell):
    """Return the name of the error that the cell must end in, or None."""
    found = [tag for tag in tags(cell) if tag.startswith("raises-") and tag != "raises-exception"]
    return found[0].removeprefix("raises-") if found else None


def exercise_name(check_cell):
    """Return the name of the exercise that a check cell checks, as in ``check("image_intro.spacing", …)``."""
    return re.search(r"\bcheck\(\s*[\"']([\w.]+)[\"']", check_cell.source)[1]


def wrong_answers(path):
    """Return the typical wrong answers of a lesson: exercise name -> list of {code, says}."""
    toml = ROOT / "tests" / "wrong_answers" / f"{Path(path).stem}.toml"
    return tomllib.loads(toml.read_text(encoding="utf-8")) if toml.exists() else {}


def prose(notebook):
    """Return the text of the markdown cells without code, formulae, targets of links and options."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for pattern in (r"```.*?```", r"`[^`]*`", r"\$\$.*?\$\$", r"\$[^$\n]*\$", r"^:\w+:.*$", r"\]\([^)]*\)"):
        text = re.sub(pattern, " ", text, flags=re.S if "?" in pattern else re.M)
    return text


def names_assigned(source):
    """Return the names that a cell binds at its top level."""
    tree = ast.parse(strip_magics(source))
    return {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    } | {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def names_used(source):
    """Return the names that a cell reads."""
    tree = ast.parse(strip_magics(source))
    return {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def strip_magics(source):
    """Return the source with IPython's magic lines blanked, so that it parses as Python."""
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
