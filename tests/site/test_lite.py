"""JupyterLite: made whole or left out in one sentence, and what goes into it."""

import hashlib
import importlib
import json
import os
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest

import course
from classroom.convert import read_parts
from classroom.plain import read_glossary
from data_fetchers import cache
from lite import build
from tests.lessonfile import LESSONS, ROOT


def entry(name, file, *depends):
    return {name: {"file_name": file, "depends": list(depends), "version": "9.9", "sha256": "0" * 64}}


GLOSSARY = read_glossary(build.GLOSSARY.read_text(encoding="utf-8"))
LOCK = {
    "info": {"python": "3.14.2"},
    "packages": entry("numpy", "numpy-9.9-cp314-cp314-pyemscripten_2026_0_wasm32.whl")
    | entry("scipy", "scipy-9.9-cp314-cp314-pyemscripten_2026_0_wasm32.whl", "numpy")
    | entry("tqdm", "tqdm-9.9-py3-none-any.whl")
    | entry("of-pyodide-alone", "of_pyodide_alone-9.9-py3-none-any.whl", "tqdm"),
}


def test_without_the_release_one_sentence_and_no_folder(tmp_path):
    out = tmp_path / "site" / "lite"
    run = subprocess.run(
        [sys.executable, "-m", "lite.build", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"SLICEWISE_PYODIDE": str(tmp_path / "none")},
    )
    assert run.returncode == 1
    assert run.stderr.startswith("JupyterLite is left out: ") and run.stderr.count("\n") == 1
    assert "pyodide-lock.json" in run.stderr and "SLICEWISE_PYODIDE" in run.stderr
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"another", None])
def test_a_release_that_lacks_or_changed_a_package_is_refused(tmp_path, monkeypatch, content):
    monkeypatch.setenv("SLICEWISE_PYODIDE", str(tmp_path))
    lock = json.loads(json.dumps(LOCK))
    compiled = dict.fromkeys(
        ["numpy", "scipy", "matplotlib", "pandas", "pillow", "contourpy", "kiwisolver", "fonttools"]
        + ["micropip", "scikit-learn", "statsmodels"]
    )
    for name in compiled:
        lock["packages"] |= entry(name, f"{name}-9.9-cp314-cp314-pyemscripten_2026_0_wasm32.whl")
    (tmp_path / "pyodide-lock.json").write_text(json.dumps(lock))
    for name in build.CORE:
        (tmp_path / name).write_bytes(b"core")
    if content:
        for facts in lock["packages"].values():
            (tmp_path / facts["file_name"]).write_bytes(content)
    (tmp_path / "in").mkdir()
    with pytest.raises(build.Unavailable, match=r"\.whl .*(SHA-256 differs|cannot be read)"):
        build.assemble(tmp_path / "in")


def test_what_is_compiled_comes_from_the_release_the_rest_as_installed():
    compiled, pure = build.choose(LOCK, ["scipy", "tqdm", "of-pyodide-alone", "nibabel", "numba"])
    assert compiled == ["numpy", "of-pyodide-alone", "scipy"]  # the last but one is not installed here
    assert set(pure) >= {"tqdm", "nibabel", "packaging"} and "numba" not in pure
    assert "numpy" in pure["nibabel"]


def test_a_package_that_is_nowhere_is_named():
    with pytest.raises(build.Unavailable, match="no-such-thing is neither"):
        build.choose(LOCK, ["no-such-thing"])


def test_needs_are_those_of_a_browser():
    assert "pexpect" not in build.needs("ipython", "3.14.2")  # nothing can be started from there
    assert "traitlets" in build.needs("ipython", "3.14.2")


def test_the_course_is_a_wheel_that_imports(tmp_path):
    wheel = build.write_wheel(tmp_path)
    facts = build.lock_entry(wheel, ["numpy"])
    assert facts["imports"] == ["data_fetchers", "helpers"]
    assert facts["sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "there")
    code = "import helpers.viewing, data_fetchers as d; print(helpers.__file__, len(d.dataset.catalogue()))"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "there", capture_output=True, text=True)
    assert run.returncode == 0 and run.stdout.startswith(str(tmp_path / "there")), run.stderr


def test_data_are_found_under_the_versions_of_the_browser(tmp_path, monkeypatch):
    there = {"numpy": "9.1", "scipy": "9.2", "nibabel": "9.3", "pydicom": "9.4"}
    monkeypatch.setattr(build, "catalogue", lambda: ["breathing_mr"])
    build.copy_data(tmp_path / "data", there)
    monkeypatch.setenv("SLICEWISE_DATA", str(tmp_path / "data"))
    here = cache.find_made("breathing_mr")
    assert here is None or not here.is_relative_to(tmp_path)
    monkeypatch.setattr(cache, "metadata", SimpleNamespace(version=there.__getitem__))
    assert cache.find_made("breathing_mr").is_relative_to(tmp_path / "data")


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_notebooks_are_the_students_and_say_what_is_missing(lesson):
    missing = build.what_is_missing()[lesson.stem]
    made = build.notebook(lesson, missing, GLOSSARY)
    text = "\n".join(cell.source for cell in made.cells)
    assert all(sentence in made.cells[1].source for sentence in missing)
    solutions = [
        each.source for each in read_parts(lesson.read_text(encoding="utf-8")) if each.kind == "solution"
    ]
    assert solutions and not any(solution in text for solution in solutions)
    assert made.metadata.kernelspec.name == "python"


def test_each_lesson_is_listed_and_no_other():
    assert list(build.what_is_missing()) == [path.stem for path in LESSONS]


@pytest.mark.parametrize("fails", [0, 1])
def test_the_book_is_built_with_or_without_it(tmp_path, monkeypatch, capsys, fails):
    index = tmp_path / "_build" / "html" / "index.html"
    called = []

    def call(words, **_):
        called.append(words)
        index.parent.mkdir(parents=True, exist_ok=True)
        index.touch()
        return fails if "lite.build" in words else 0

    monkeypatch.setattr(course, "REPO", tmp_path)
    monkeypatch.setattr(course, "set_up", lambda extras: called.append(sorted(extras)))
    monkeypatch.setattr(course.subprocess, "call", call)
    assert course.run(["book", "--lite"]) == 0
    assert called[0] == ["book", "lite"] and "lite.build" in called[2] and "build" in called[3]
    assert ("without JupyterLite" in capsys.readouterr().out) == bool(fails)
    called.clear()
    assert course.run(["book"]) == 0
    assert called[0] == ["book"] and not any("lite.build" in words for words in called)


def test_a_site_without_it_says_nothing_of_it(site):
    assert not (site / "lite").exists()
    pages = list(site.rglob("*.html"))
    assert pages and not any("lite/lab" in page.read_text(encoding="utf-8") for page in pages)


def test_where_it_is_there_a_lesson_links_to_its_notebook(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "assets" / "book")
    live_pages = importlib.import_module("live_pages")
    app = SimpleNamespace(srcdir=tmp_path, config=SimpleNamespace(html_theme_options={}))
    link = "../lite/lab/index.html?path=01_image_intro.ipynb"
    pages = ["lessons/01_image_intro", "lessons/cluster"]

    def lines():
        return [live_pages.how_to_run(app, page, lambda path, _: f"../{path}") for page in pages]

    assert not any("lite" in line for line in lines())
    files = tmp_path / "_build" / "lite" / "files"
    files.mkdir(parents=True)
    (files / "01_image_intro.ipynb").touch()
    assert [link in line for line in lines()] == [True, False]
