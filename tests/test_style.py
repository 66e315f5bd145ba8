"""The packages are clean, the words are spelled right, and nothing names another machine's places."""

import re
import subprocess
import sys

import pytest

from tests import lessonfile
from tests.lessonfile import ROOT

AMERICAN = re.compile(
    r"\b(?:colors?|colored|gray(?:s|scale)?|behaviors?|neighbors?|neighborhoods?|centers?|centered|fibers?"
    r"|(?:milli|centi|)(?:meter|liter)s?|\w*analyz(?:e|es|ed|ing)|labeled|labeling|modeling|artifacts?)\b",
    re.I,
)
COMMANDS = {
    "lint": ["ruff", "check", "--output-format=concise", "."],
    "format": ["ruff", "format", "--check", "."],
    "spelling": ["codespell_lib", "."],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_tool_has_no_complaint(command):
    run = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("path", [*lessonfile.LESSONS, *lessonfile.PAGES], ids=lambda path: path.stem)
def test_prose_is_in_british_english(path):
    """Names in code are as their libraries have them."""
    notebook = lessonfile.read(path)
    alts = [cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "") for cell in notebook.cells]
    assert AMERICAN.findall(" ".join([lessonfile.prose(notebook), *alts])) == []


def test_who_may_import_whom():
    """Neither package imports the other; registration and cohort know nothing of viewing."""
    forbidden = [
        ("helpers", r"data_fetchers"),
        ("data_fetchers", r"helpers"),
        ("helpers/registration", r"helpers\.viewing"),
    ]
    for folder, name in forbidden:
        for path in (ROOT / folder).rglob("*.py"):
            found = re.search(rf"^\s*(from|import) {name}", path.read_text(encoding="utf-8"), flags=re.M)
            assert not found, f"{path}: {found[0]}"
