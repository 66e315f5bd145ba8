"""The files of a product: all or none, the same each time, and never over anything else."""

import csv
import io
import os
import subprocess
import sys

import nbformat
import pytest

from classroom import Refusal, write
from classroom.__main__ import main
from tests.lessonfile import ROOT, TEMPLATE

FILES = {"a.ipynb": b"one", "source/b/b.ipynb": b"two"}


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(capsys, *words):
    assert main([str(word) for word in words]) == 1
    sentence = capsys.readouterr().err.strip()
    assert sentence.endswith(".") and "\n" not in sentence and "Traceback" not in sentence
    return sentence


@pytest.mark.parametrize("product", ["student", "instructor", "nbgrader"])
def test_making_it_again_changes_no_byte(product, tmp_path, capsys):
    for _ in range(2):
        assert main([product, str(TEMPLATE), str(tmp_path / "out")]) == 0
        assert main([product, str(TEMPLATE), str(tmp_path / "other")]) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "other")
    assert len(list(tmp_path.iterdir())) == 2
    assert "1 lesson in" in capsys.readouterr().out
    for path in (tmp_path / "out").rglob("*.ipynb"):
        nbformat.validate(nbformat.read(path, as_version=4))


def test_another_process_writes_the_same_bytes(tmp_path):
    command = [sys.executable, "-m", "classroom", "nbgrader", str(TEMPLATE), str(tmp_path / "out")]
    for seed in "12":
        subprocess.run(command, cwd=ROOT, check=True, env={"PYTHONHASHSEED": seed}, capture_output=True)
        (tmp_path / "out").rename(tmp_path / seed)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_graded_course_has_settings_and_a_syllabus_that_adds_up(tmp_path):
    assert main(["nbgrader", str(TEMPLATE), str(tmp_path / "out")]) == 0
    made = {"nbgrader_config.py", "source/template/template.ipynb", "syllabus.csv", *write.BUTTONS}
    assert set(contents(tmp_path / "out")) == made | {".slicewise.json"}
    compile((tmp_path / "out" / "nbgrader_config.py").read_text(), "config", "exec")
    rows = [
        ("l", "e.a", "A", "1", 2, "check"),
        ("l", "e.b", "B", "2", 3, "by hand"),
        ("m", "f", "C", "1", 1, "check"),
    ]
    totals = [row for row in csv.DictReader(io.StringIO(write.table(rows))) if row["title"] == "in all"]
    assert [(row["lesson"], row["points"]) for row in totals] == [("l", "5"), ("m", "1")]


@pytest.mark.parametrize("spoil", ["add", "change", "foreign", "link", "file"])
def test_anything_else_in_the_folder_is_left_alone(spoil, tmp_path):
    out = tmp_path / "out"
    if spoil == "file":
        out.write_text("a letter")
    elif spoil == "foreign":
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
    elif spoil == "link":
        (tmp_path / "real").mkdir()
        out.symlink_to(tmp_path / "real")
    else:
        write.write(FILES, out)
        (out / ("gradebook.db" if spoil == "add" else "a.ipynb")).write_text("grades")
    before = contents(tmp_path)
    with pytest.raises(Refusal, match="name a new"):
        write.write(FILES, out)
    assert contents(tmp_path) == before


def test_an_earlier_product_is_replaced_as_a_whole(tmp_path):
    write.write({**FILES, "old.ipynb": b"gone"}, tmp_path / "out")
    write.write(FILES, tmp_path / "out")
    assert set(contents(tmp_path / "out")) == {*FILES, ".slicewise.json"}
    (tmp_path / "empty").mkdir()
    write.write(FILES, tmp_path / "empty")
    assert contents(tmp_path / "empty") == contents(tmp_path / "out")


@pytest.mark.parametrize("first", [True, False], ids=["new", "again"])
def test_half_written_output_never_stays(first, tmp_path, monkeypatch):
    out = tmp_path / "out"
    if not first:
        write.write(FILES, out)
    before = contents(tmp_path)
    real = write.Path.write_bytes

    def full(path, data):
        if path.name == "b.ipynb":
            raise OSError(28, "No space left on device", str(path))
        return real(path, data)

    monkeypatch.setattr(write.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write.write({**FILES, "a.ipynb": b"new"}, out)
    assert contents(tmp_path) == before and len(list(tmp_path.iterdir())) == (0 if first else 1)


def test_earlier_product_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    write.write(FILES, tmp_path / "out")
    before = contents(tmp_path)
    real = write.os.rename

    def stuck(source, target):
        if str(source).endswith("new"):
            raise OSError(13, "Permission denied", str(target))
        real(source, target)

    monkeypatch.setattr(write.os, "rename", stuck)
    with pytest.raises(OSError, match="Permission denied"):
        write.write({"c": b""}, tmp_path / "out")
    assert contents(tmp_path) == before


def test_solutions_are_for_nobody_else_on_the_machine(tmp_path):
    for product, closed in {"nbgrader": True, "instructor": True, "student": False}.items():
        assert main([product, str(TEMPLATE), str(tmp_path / product)]) == 0
        assert ((tmp_path / product).stat().st_mode & 0o077 == 0) == closed


def test_refusals_are_one_sentence(tmp_path, capsys):
    assert "history holds the solutions" in refused(capsys, "student", TEMPLATE, ROOT / "out")
    assert "make that folder first" in refused(capsys, "student", TEMPLATE, tmp_path / "a" / "b")
    assert "no lesson 99" in refused(capsys, "student", "99", tmp_path / "out")
    assert "01_image_intro" in refused(capsys, "student", "pottery", tmp_path / "out")
    assert "--help" in refused(capsys, "parents", tmp_path / "out")
    faulty = tmp_path / "07_faulty.md"
    faulty.write_text(TEMPLATE.read_text(encoding="utf-8").replace("## Key", "{ref}`x`\n\n## Key"))
    assert "07_faulty.md: Plain Jupyter cannot show the role" in refused(
        capsys, "student", faulty, tmp_path / "o"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["07_faulty.md"]
    twin = tmp_path / TEMPLATE.name
    twin.write_bytes(TEMPLATE.read_bytes())
    assert "Two lesson files are called template.md" in refused(
        capsys, "student", twin, TEMPLATE, tmp_path / "o"
    )


def test_lessons_are_named_by_number_name_or_file():
    first, second = write.find_lessons([])[:2]
    assert write.find_lessons(["2", first.stem, "02", str(second)]) == [first, second]


def test_only_the_course_folder_switches_nbgraders_buttons_on(tmp_path):
    assert main(["nbgrader", str(TEMPLATE), str(tmp_path / "out")]) == 0
    ask = (
        "from jupyterlab_server.config import get_page_config\n"
        "from jupyterlab.labapp import LabApp\n"
        "page = get_page_config(LabApp().labextensions_path)\n"
        "print('nbgrader' in str(page.get('disabledExtensions')))"
    )

    def disabled(**variables):
        run = subprocess.run(
            [sys.executable, "-c", ask], capture_output=True, text=True, env=os.environ | variables
        )
        return run.stdout.split()[-1:]

    assert disabled() == ["True"]
    assert disabled(JUPYTER_CONFIG_PATH=str(tmp_path / "out" / ".jupyter")) == ["False"]
