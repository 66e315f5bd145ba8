"""What holds for every lesson file as it stands: round trip, structure, tags, numbers, style."""

import ast
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from jupytext import TextFileContentsManager

from tests import lessonfile
from tests.lessonfile import ROOT, names_assigned, names_used, points, read, tags

LESSONS = [*lessonfile.LESSONS, lessonfile.TEMPLATE]
TOC = (ROOT / "_toc.yml").read_text(encoding="utf-8")
WEBSITE = [ROOT / f"{name}.md" for name in re.findall(r"(?:root|file): (\S+)", TOC)]
ALLOWED_TAGS = {"exercise", "solution", "test", "hide-cell", "remove-cell", "raises-exception"}
ALLOWED_MAGICS = {"%matplotlib", "%timeit"}
LONGEST_CELL = 12
WIDEST_CODE = 86  # characters: a folded solution shows no more of a line in the website's column
WIDEST_FIGURE = 10.8  # inches: shrunk to the website's column, letters of ten points are ten pixels high
# A number that needs no proof: a part of a name, an ordinal, a reference, a year or a planned duration.
NO_CLAIM = re.compile(
    r"[Ll]essons? [\d, ]+|objectives? [\d, ]+|part \d+|\d+(-bit| bits)|^ *\d+\. |\b(19|20)\d\d\b"
    r"|^Teaching: .+$|\bT[12]\b",
    re.M,
)
NUMBER = re.compile(r"[−-]?\d[\d  .,:×]*\d|[−-]?\d")

each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
each_notebook = pytest.mark.parametrize("path", [*LESSONS, *lessonfile.PAGES], ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def section(path, title):
    """Return the text under a heading of the second level."""
    text = "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    return re.split(r"^## ", text.split(f"\n## {title}\n")[1], flags=re.M)[0]


def objectives(path):
    text = next(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    return re.findall(r"^\d+\. \*\*(\w+)\*\*", text, flags=re.M)


def exercises(path):
    """Return the statements of the exercises."""
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    return re.findall(r"^:::+\{exercise\} (.+)\n:label: ([\w-]+)", text, flags=re.M)


@each_notebook
def test_saving_in_jupyterlab_changes_nothing(path, tmp_path):
    shutil.copy(path, tmp_path)
    shutil.copy(ROOT / "jupytext.toml", tmp_path)
    manager = TextFileContentsManager(root_dir=str(tmp_path))
    model = manager.get(path.name)
    for cell in model["content"]["cells"]:
        if cell["cell_type"] == "code":  # as after a run
            cell["execution_count"] = 1
            cell["metadata"]["execution"] = {"iopub.status.busy": "now"}
            cell["outputs"] = [nbformat.v4.new_output("stream", name="stdout", text="1\n")]
    manager.save(model, path.name)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@each_lesson
def test_opens_with_minutes_and_objectives(path):
    first = read(path).cells[0].source
    assert re.search(
        r"^# .+\n\n\*\*.+\?\*\*\n\nTeaching: \d+ min · Exercises: \d+ min · You need: .+$", first, re.M
    )
    assert objectives(path)


@each_lesson
def test_every_objective_is_exercised_and_has_its_key_point(path):
    numbers = set(range(1, len(objectives(path)) + 1))
    named = [re.search(r" · objectives? ([\d, ]+)$", title) for title, _ in exercises(path)]
    assert all(named), "an exercise's title ends in · objective N"
    assert {int(number) for found in named for number in found[1].split(",")} == numbers
    key_points = re.findall(r"^(\d+)\. ", section(path, "Key points"), flags=re.M)
    assert [int(number) for number in key_points] == sorted(numbers)


@each_lesson
def test_exercises_are_complete(path):
    """Hint, starter, check and solution, each once and in this order, and typical wrong answers."""
    kinds, names = [], []
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            kinds += re.findall(r"^:::+\{(exercise)\}", cell.source, flags=re.M)
            kinds += re.findall(r"^:::+\{dropdown\} (Hint)$", cell.source, flags=re.M)
        elif points(cell) is not None:
            kinds.append("check")
            names.append(lessonfile.exercise_name(cell))
        else:
            kinds += [{"exercise": "starter"}.get(tag, tag) for tag in tags(cell) & {"exercise", "solution"}]
    assert kinds == ["exercise", "Hint", "starter", "check", "solution"] * len(names)
    assert len(set(names)) == len(names)
    wrongs = lessonfile.wrong_answers(path)
    assert wrongs.keys() == set(names)
    assert all(2 <= len(wrongs[name]) <= 4 for name in names)
    labels = [label for _, label in exercises(path)]
    assert len(set(labels)) == len(labels)


@each_lesson
def test_nothing_after_an_exercise_needs_its_answer(path):
    """A learner who leaves an exercise out can still run the rest."""
    answers, taught = set(), set()
    for cell in code_cells(path):
        if tags(cell) & {"exercise", "solution"}:
            answers |= names_assigned(cell.source) - taught
        elif points(cell) is None and "test" not in tags(cell):
            needed = answers & names_used(cell.source)
            assert not needed, f"{needed} come from an exercise, but are used in:\n{cell.source}"
            taught |= names_assigned(cell.source)


@each_lesson
def test_predict_first_questions_answer_every_choice(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    questions = re.findall(
        r"^:::::\{admonition\} Predict first\n:class: predict\n(.*?)^:::::$", text, flags=re.M | re.S
    )
    assert questions
    for question in questions:
        choices = re.findall(r"^::::\{dropdown\} (\w) · [^\n]+\n(.+?)^::::$", question, flags=re.M | re.S)
        assert [letter for letter, _ in choices] == list("ABCDEF"[: len(choices)])
        assert len(choices) >= 3
        assert sum(feedback.startswith("**Yes") for _, feedback in choices) == 1
        assert all(len(feedback.split()) >= 5 for _, feedback in choices)


@each_notebook
def test_tags_are_known_and_folded_cells_explain_themselves(path):
    for cell in code_cells(path):
        for tag in tags(cell):
            assert tag in ALLOWED_TAGS or re.fullmatch(r"check-[1-9]|raises-\w+(Error|Exception)", tag), tag
        # JupyterLab and the book go on after an error only where the general tag stands too.
        assert ("raises-exception" in tags(cell)) == (lessonfile.expected_error(cell) is not None)
        folded = points(cell) is not None or tags(cell) & {"solution", "test"}
        assert bool(cell.metadata.get("jupyter", {}).get("source_hidden")) == bool(folded)
        assert bool(tags(cell) & {"hide-cell", "remove-cell"}) == bool(folded)
        if folded:
            assert cell.source.startswith("# "), "Lab shows the first line of a folded cell"


@each_notebook
def test_magics_are_allowed(path):
    for cell in code_cells(path):
        for line in cell.source.splitlines():
            word = line.strip().split(" ")[0]
            assert not word.startswith("!"), f"shell command in a lesson: {line}"
            assert not word.startswith("%") or word in ALLOWED_MAGICS, f"magic is not allowed: {line}"


@each_notebook
def test_cells_are_short(path):
    for cell in code_cells(path):
        if points(cell) is None and not tags(cell) & {"test", "solution", "exercise"}:
            assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.source


@pytest.mark.parametrize(
    "path", [*WEBSITE, lessonfile.TEMPLATE], ids=lambda path: str(path.relative_to(ROOT))
)
def test_code_is_not_cut_on_the_website(path):
    cells = [cell for cell in read(path).cells if "remove-cell" not in tags(cell)]
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    fenced = re.findall(r"^( *)(`{3,})(.*)\n((?:.*\n)*?)\1\2$", prose, flags=re.M)
    code += [block for *_, kind, block in fenced if not kind.startswith("{")]
    cut = [line for block in code for line in block.splitlines() if len(line) > WIDEST_CODE]
    assert not cut, f"longer than {WIDEST_CODE} characters:\n" + "\n".join(cut)


@each_notebook
def test_figures_keep_their_letters_legible_on_the_website(path):
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(lessonfile.strip_magics(cell.source))):
            if isinstance(node, ast.keyword) and node.arg == "figsize":
                assert ast.literal_eval(node.value)[0] <= WIDEST_FIGURE, ast.unparse(node.value)


@each_notebook
def test_pictures_are_computed_not_pasted(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"!\[|\{figure\}|\{image\}|<img", text), "a stored picture grows stale; compute it"


def test_no_picture_lies_among_the_lessons():
    pictures = [
        file for ending in ("png", "jpg", "gif", "svg") for file in (ROOT / "lessons").rglob(f"*.{ending}")
    ]
    assert not pictures


@each_notebook
def test_every_number_in_the_prose_is_proved(path):
    """A hidden cell compares each number with a computed one, or names its source."""
    proved, published = [], []
    for cell in code_cells(path):
        if "test" not in tags(cell):
            continue
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.Assert):
                proved.append(proved_text(node))
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "published":
                published += ast.literal_eval(node.value).items()
    assert all(len(source.split()) >= 2 for _, source in published), "name the source of a published number"
    alts = [cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "") for cell in code_cells(path)]
    said = "\n".join([lessonfile.prose(read(path)), *alts])
    text = " ".join(NO_CLAIM.sub(" ", said).split())
    for claim in (*proved, *(claim for claim, _ in published)):
        claim = " ".join(NO_CLAIM.sub(" ", claim).split())
        assert claim in text, f"a hidden cell proves {claim!r}, but the text does not say it"
        text = text.replace(claim, " ")
    unproved = [text[max(0, found.start() - 40) : found.end() + 20] for found in NUMBER.finditer(text)]
    assert not unproved, "numbers that no hidden cell proves:\n" + "\n".join(unproved)


def proved_text(node):
    """Return the text of ``assert computed == "text"``, which must depend on something computed."""
    assert isinstance(node.test, ast.Compare), ast.unparse(node)
    assert isinstance(node.test.ops[0], ast.Eq), ast.unparse(node)
    assert any(isinstance(part, ast.Name) for part in ast.walk(node.test.left)), ast.unparse(node)
    assert isinstance(node.test.comparators[0], ast.Constant), ast.unparse(node)
    return node.test.comparators[0].value


@each_notebook
@pytest.mark.parametrize(
    "command",
    [["check"], ["format", "--check", "--diff", f"--line-length={WIDEST_CODE}"]],
    ids=["lint", "format"],
)
def test_code_is_clean(path, command, tmp_path):
    notebook = read(path)
    for cell in notebook.cells:
        cell.metadata.pop("jupyter", None)
    nbformat.write(notebook, tmp_path / f"{path.stem}.ipynb")
    # The usual style, but for the rules on docstrings and on expressions shown as results.
    options = ["--config", str(ROOT / "pyproject.toml")]
    options += ["--ignore", "D,E402,B018"] if command == ["check"] else []
    run = subprocess.run(
        [sys.executable, "-m", "ruff", *command, *options, str(tmp_path)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
