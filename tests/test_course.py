"""``course.py``: what it refuses, how it sets up and repairs, and that it leaves nothing half-made.

Set-ups are real (venv and pip) but of a tiny project that depends on nothing, so they need no network.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A build backend in a dozen lines: what pip needs to install a project without fetching anything.
BACKEND = """
import zipfile
INFO = "tiny-1.dist-info/"
def build_editable(folder, settings=None, metadata=None):
    with zipfile.ZipFile(f"{folder}/tiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("helpers.py", "")
        wheel.writestr(INFO + "METADATA", METADATA)
        wheel.writestr(INFO + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(INFO + "RECORD", "")
    return "tiny-1-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\nProvides-Extra: book\\n"
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny"
version = "1"
"""


def load(folder):
    """Import the ``course.py`` in a folder, which then takes that folder for the repository."""
    spec = importlib.util.spec_from_file_location("course", folder / "course.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A tiny project with its own ``course.py``; pip cannot reach any index."""
    project = tmp_path / "project"
    (project / "lessons" / "images").mkdir(parents=True)
    shutil.copy(ROOT / "course.py", project)
    shutil.copy(ROOT / "jupytext.toml", project)
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "constraints.txt").write_text("absent==1.0\n")
    (project / "backend.py").write_text(BACKEND)
    for name in ("01_image_intro.md", "references.bib", "instructor_01.md", ".hidden", "images/brain.png"):
        (project / "lessons" / name).write_text(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(sys, "argv", ["course.py"])
    module = load(project)
    monkeypatch.setattr(module, "hand_over", lambda words, folder, **variables: (words, folder, variables))
    return module


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which ``course.py`` has set up the tiny project once, for the tests that only look."""
    with pytest.MonkeyPatch.context() as patch:
        module = course.__wrapped__(tmp_path_factory.mktemp("finished"), patch)
        assert module.main(["lab", "--port", str(free())]) != 1
        yield module


def free():
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def refused(capsys, code):
    """Return the one sentence of a refusal."""
    assert code == 1
    sentence = capsys.readouterr().err.strip()
    assert sentence and "\n" not in sentence and sentence.endswith(".") and "Traceback" not in sentence
    return sentence


def no_programs(course, monkeypatch):
    """Let every attempt to run a program fail."""

    def forbidden(*words, **options):
        raise AssertionError(f"ran {words}")

    for name in ("Popen", "run", "call"):
        monkeypatch.setattr(course.subprocess, name, forbidden)


# Before anything is touched


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 13), (3, 15, 0)])
def test_wrong_python_is_refused(course, capsys, version):
    sentence = refused(capsys, course.main(["lab"], version=version))
    assert "Python 3.11 to 3.14" in sentence and f"3.{version[1]}" in sentence
    assert not course.VENV.exists()


def test_version_bounds_are_those_of_the_package(course):
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    declared = [(3, int(minor)) for minor in re.fullmatch(r">=3\.(\d+),<3\.(\d+)", text).groups()]
    bounds = [course.OLDEST_PYTHON, course.TOO_NEW_PYTHON]
    assert bounds == declared


def test_old_pythons_can_read_it():
    import ast

    ast.parse((ROOT / "course.py").read_text(encoding="utf-8"), feature_version=(3, 7))


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_missing_venv_names_the_package(course, capsys, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(course.shutil, "which", lambda name, **options: f"/usr/bin/{name}")
    sentence = refused(capsys, course.main(["lab", "--port", str(free())]))
    assert f"sudo apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv" in sentence
    assert not course.VENV.exists()


def test_full_disk_is_refused_before_the_start(course, capsys, monkeypatch):
    monkeypatch.setattr(course.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**8))
    sentence = refused(capsys, course.main(["lab", "--port", str(free())]))
    assert "needs 2 GB" in sentence and "0.1 GB left" in sentence
    assert not course.VENV.exists()


def test_read_only_folder_is_refused(course, capsys, monkeypatch):
    monkeypatch.setattr(course.os, "access", lambda path, mode: False)
    assert "cannot be written" in refused(capsys, course.main(["lab", "--port", str(free())]))
    assert not course.VENV.exists()


@pytest.mark.parametrize("words", [["sing"], ["lab", "--loud"], ["lab", "--port", "x"], ["start"]])
def test_unknown_words_are_refused(course, capsys, words):
    assert "course.py --help" in refused(capsys, course.main(words))


def test_busy_port_is_refused_with_a_free_one(course, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sentence = refused(capsys, course.main(["lab", "--port", str(port)]))
        other = int(re.search(r"lab --port (\d+)", sentence).group(1))
        assert f"Port {port} is in use" in sentence and other != port
        assert course.is_free(other) and not course.is_free(port)
    assert course.is_free(port)


def test_port_busy_on_ipv6_only_is_seen(course):
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        address = server.getsockname()
        if address[0] in {found[4][0] for found in socket.getaddrinfo("localhost", None)}:
            assert not course.is_free(address[1])


def test_impossible_port_is_refused(course, capsys):
    assert "lab --port" in refused(capsys, course.main(["lab", "--port", "80"]))


# Setting up


def test_second_start_runs_nothing_but_jupyter(finished, monkeypatch):
    no_programs(finished, monkeypatch)
    words, folder, _ = finished.main(["lab", "--no-browser", "--port", str(free())])
    assert words[:3] == [str(finished.PYTHON), "-m", "jupyterlab"] and "--no-browser" in words
    assert "--LabApp.default_url=/lab/tree/lessons/01_image_intro.md" in words and folder == finished.REPO


def test_a_folder_of_ones_own_is_the_root(finished, tmp_path):
    (tmp_path / "01_image_intro.md").write_text("")
    words, folder, _ = finished.main(["lab", str(tmp_path), "--port", str(free())])
    assert f"--ServerApp.root_dir={tmp_path}" in words and folder == tmp_path
    assert "--LabApp.default_url=/lab/tree/01_image_intro.md" in words


def test_absent_folder_is_refused(course, capsys, tmp_path):
    assert "start " in refused(capsys, course.main(["lab", str(tmp_path / "absent")]))


def test_children_are_shielded_from_the_users_settings(finished, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    environment = finished.child_environment()
    assert not {"PYTHONPATH", "PYTHONHOME"} & set(environment)
    assert environment["PYTHONNOUSERSITE"] == "1"
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        assert environment[name].startswith(str(finished.VENV))


def test_half_made_environment_is_made_anew(course, capsys):
    (course.VENV / "lib").mkdir(parents=True)
    (course.VENV / "lib" / "remains").write_text("of a killed set-up")
    course.set_up()
    assert "Repairing .venv: an earlier set-up did not finish" in capsys.readouterr().out
    assert course.read_stamp() and not (course.VENV / "lib" / "remains").exists()
    probe = [str(course.PYTHON), "-c", "import helpers, sys; print(sys.prefix)"]
    assert subprocess.check_output(probe, text=True).strip() == str(course.VENV)
    assert "Successfully installed tiny" in course.LOG.read_text()


def test_killed_set_up_is_repaired(course):
    child = subprocess.Popen([sys.executable, "course.py", "lab", "--port", str(free())], cwd=course.REPO)
    while not course.PYTHON.exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert course.needed_work(())[0] == "build"
    course.set_up()  # waits for what the killed one has left running
    assert course.needed_work(()) == ("none", "complete and up to date")


def test_changes_are_noticed(finished, tmp_path):
    stamp = finished.read_stamp()

    def after(**changes):
        finished.write_stamp(dict(stamp, **changes))
        return finished.needed_work(())[0]

    try:
        assert after() == "none"
        assert after(location=str(tmp_path)) == "build"
        assert after(packages="others") == "update"
        assert after(python=["of a security update", 1, 1]) == "none"
        finished.set_up()
        assert finished.read_stamp()["python"] == stamp["python"]
        finished.STAMP.write_text("{")
        assert finished.needed_work(())[0] == "build"
    finally:
        finished.write_stamp(stamp)


def test_extras_are_added_and_kept(course, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(course, "pip_install", lambda extras, progress, lock: asked.append(set(extras)))
    monkeypatch.setattr(course, "run_logged", lambda words, progress, lock: None)
    monkeypatch.setattr(course, "interpreter", lambda: ["python", 1, 1])
    course.set_up()
    course.set_up({"book"})
    course.set_up()
    (course.REPO / "constraints.txt").write_text("absent==2.0\n")
    course.set_up()
    assert asked == [set(), {"book"}, {"book"}]
    assert "the list of packages has changed" in capsys.readouterr().out


def test_failed_set_up_leaves_only_its_log(course, capsys):
    (course.REPO / "pyproject.toml").write_text(PYPROJECT.replace("requires = []", 'requires = ["absent"]'))
    sentence = refused(capsys, course.main(["lab", "--port", str(free())]))
    assert "No ready-made absent" in sentence and "another Python" in sentence
    assert [left.name for left in course.VENV.iterdir()] == ["slicewise-install.log"]


def test_failed_update_leaves_the_environment_as_it_was(finished, capsys):
    stamp = finished.STAMP.read_text()
    project = finished.REPO / "pyproject.toml"
    project.write_text(PYPROJECT.replace("requires = []", 'requires = ["absent"]'))
    refused(capsys, finished.main(["lab", "--port", str(free())]))
    assert finished.STAMP.read_text() == stamp
    project.write_text(PYPROJECT)
    assert finished.needed_work(())[0] == "none"


def test_second_course_waits_for_the_first(course, capsys, monkeypatch):
    finish = iter([False, True])
    monkeypatch.setattr(course, "try_lock", lambda file: next(finish))
    with course.only_one_set_up():
        assert "Another course.py" in capsys.readouterr().out


def test_lock_ends_with_its_holder(course):
    hold = "import course\nwith course.only_one_set_up():\n    print(flush=True)\n    input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold], cwd=course.REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    with open(course.REPO / "course.py", "rb") as file:
        assert not course.try_lock(file)
        holder.kill()
        holder.communicate()
        assert course.try_lock(file)


ABSENT = "ERROR: No matching distribution found for numba==0.68.1"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("NewConnectionError(...): Name or service not known\n" + ABSENT, "network does not answer"),
        (ABSENT, "No ready-made numba==0.68.1 exists"),
        ("Max retries exceeded: SSLError(SSLCertVerificationError(1, '...'))", "certificate"),
        ("ERROR: something new\nmore words", "ERROR: something new"),
        ("", "no reason was given"),
    ],
)
def test_failures_are_translated(course, said, sentence):
    explained = course.explain_failure(said)
    assert sentence in explained and explained.endswith("then start again.") and "{" not in explained


def test_progress_counts_packages(course, capsys):
    progress = course.Progress("preparing")
    for line in ("Collecting numpy==2", "Collecting Numpy", "Processing /cache/scipy-1.0-py3-none-any.whl\n"):
        progress.read(line)
    assert progress.describe() == "fetching packages: 2 so far"
    progress.read("Installing collected packages: numpy, scipy\n")
    assert progress.describe() == "installing packages: 0 of 2"
    progress.show()
    progress.show()
    assert capsys.readouterr().out.count("installing") == 1  # not a terminal: no line is repeated


# Working copies, cleaning, health


def test_start_gives_a_clean_copy(course, capsys, tmp_path):
    folder = tmp_path / "my lessons"
    folder.mkdir()
    assert course.main(["start", str(folder)]) == 0
    copied = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert copied == ["01_image_intro.md", "images/brain.png", "jupytext.toml", "references.bib"]
    assert f"course.py lab '{folder}'" in capsys.readouterr().out or os.name == "nt"


def test_start_overwrites_nothing(course, capsys, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "01_image_intro.md").write_text("my answers")
    sentence = refused(capsys, course.main(["start", str(mine)]))
    assert "not empty" in sentence and f"start {mine}-2" in sentence
    assert [path.read_text() for path in mine.iterdir()] == ["my answers"]
    assert "within the lessons" in refused(capsys, course.main(["start", str(course.LESSONS / "mine")]))
    assert "make that folder first" in refused(capsys, course.main(["start", str(tmp_path / "a" / "b")]))


def test_failed_start_leaves_nothing(course, capsys, monkeypatch, tmp_path):
    def full(source, target, **options):
        Path(target, "half").write_text("")
        raise OSError(28, "No space left on device", target)

    monkeypatch.setattr(course.shutil, "copy", full)
    before = set(tmp_path.iterdir())
    assert "No space left" in refused(capsys, course.main(["start", str(tmp_path / "mine")]))
    assert set(tmp_path.iterdir()) == before


def test_clean_keeps_lessons(course, capsys):
    for folder in (".venv/lib", "_build/html", "helpers/__pycache__", ".pytest_cache", "x.egg-info"):
        (course.REPO / folder).mkdir(parents=True)
    lessons = {path: path.read_bytes() for path in course.LESSONS.rglob("*") if path.is_file()}
    assert course.main(["clean"]) == 0
    kept = {
        "course.py",
        "jupytext.toml",
        "pyproject.toml",
        "constraints.txt",
        "backend.py",
        "helpers",
        "lessons",
    }
    assert {path.name for path in course.REPO.iterdir()} == kept
    assert not list((course.REPO / "helpers").iterdir())
    assert {path: path.read_bytes() for path in course.LESSONS.rglob("*") if path.is_file()} == lessons
    assert "Downloaded data stay" in capsys.readouterr().out


def test_clean_says_what_it_cannot_remove(course, capsys, monkeypatch):
    def busy(path):
        raise PermissionError(13, "Permission denied", path)

    (course.REPO / "_build").mkdir()
    monkeypatch.setattr(course.shutil, "rmtree", busy)
    assert "_build cannot be removed (Permission denied)" in refused(capsys, course.main(["clean"]))


def test_check_names_a_remedy_for_what_is_wrong(course, capsys, monkeypatch):
    assert course.main(["check"]) == 1
    rows = capsys.readouterr().out
    assert "environment  there is none yet" in rows and "course.py lab" in rows
    monkeypatch.setattr(sys.stdout, "reconfigure", lambda **options: None, raising=False)
    monkeypatch.setattr(course, "can_print", lambda text: False)
    course.main(["check"])
    assert capsys.readouterr().out.isascii()


def test_check_finds_a_package_that_is_not_as_pinned(finished, capsys):
    pins = finished.REPO / "constraints.txt"
    before = pins.read_text()
    try:
        pins.write_text("tiny==2\n")
        code, said = finished.ask(
            [str(finished.PYTHON), "-c", finished.COMPARE_WITH_PINS, "constraints.txt"], 60
        )
        assert (code, said) == (1, "tiny is 1, not 2")
    finally:
        pins.write_text(before)


# Tests and their browser


def test_data_commands_go_to_data_fetchers(finished):
    words, _, _ = finished.main(["data", "get", "--all"])
    assert words[1:] == ["-m", "data_fetchers", "get", "--all"]
    words, _, _ = finished.main(["data"])
    assert words[-1] == "list"


def test_classroom_commands_run_where_the_teacher_is(course, capsys, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(course, "set_up", asked.append)
    monkeypatch.chdir(tmp_path)
    words, folder, _ = course.main(["classroom", "student", "1", "out"])
    assert words[1:] == ["-P", "-m", "classroom", "student", "1", "out"] and folder == tmp_path
    course.main(["classroom", "nbgrader", "out"])
    course.main(["classroom", "release", "out"])
    course.main(["classroom", "grade", "out", "--trust-students"])
    assert asked == [(), *[{"classroom"}] * 3]  # a learner needs no nbgrader
    assert "classroom student ../my-class" in refused(capsys, course.main(["classroom"]))


def test_arguments_go_to_pytest(course, monkeypatch, tmp_path):
    browser = tmp_path / "chromium"
    browser.write_text("")
    monkeypatch.setenv("SLICEWISE_CHROMIUM", str(browser))
    monkeypatch.setattr(course, "set_up", lambda extras: None)
    words, folder, variables = course.main(["test", "-k", "warp", "-x", "tests/test_demons.py"])
    assert words[1:] == ["-m", "pytest", "-k", "warp", "-x", "tests/test_demons.py"]
    assert variables == {"SLICEWISE_CHROMIUM": str(browser), "OPENBLAS_NUM_THREADS": "1"}
    assert folder == course.REPO
    words, _, _ = course.main(["test"])
    assert words[3:] == ["-n", str(os.cpu_count()), "--dist", "loadfile"]


def test_missing_browser_is_refused(course, capsys, monkeypatch):
    monkeypatch.delenv("SLICEWISE_CHROMIUM", raising=False)
    monkeypatch.setattr(course, "installed_chromium", lambda: None)
    monkeypatch.setattr(course.sys, "platform", "darwin")
    monkeypatch.setattr(course.shutil, "which", lambda name, **options: None)
    assert "brew install --cask chromium" in refused(capsys, course.main(["test"]))
    monkeypatch.setenv("SLICEWISE_CHROMIUM", "/absent")
    assert "SLICEWISE_CHROMIUM names /absent" in refused(capsys, course.main(["test"]))
