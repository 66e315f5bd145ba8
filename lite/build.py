"""Build JupyterLite: the lessons run in the reader's browser, and nothing is asked of another host.

``python -m lite.build FOLDER`` puts together Pyodide (a Python for browsers), the packages, the course, its
simulated data and the students' notebooks. Compiled packages come from Pyodide's release alone. It is read at
the address that the kernel names, or in the folder that ``SLICEWISE_PYODIDE`` names: the unpacked release.
Where that cannot be had, one sentence says so, the exit code is 1, and there is no folder.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
import zipfile
from importlib import metadata
from pathlib import Path
from unittest import mock

import nbformat
from nbformat.v4 import new_markdown_cell
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from classroom import convert
from classroom.plain import read_glossary
from data_fetchers import cache
from data_fetchers.dataset import catalogue, record

REPO = Path(__file__).resolve().parents[1]
LESSONS = sorted((REPO / "lessons").glob("[0-9][0-9]_*.md"))
GLOSSARY = REPO / "lessons" / "glossary.md"
CORE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
OF_THE_KERNEL = ("comm", "ipython", "jedi", "micropip", "packaging")
# No lesson needs them where it runs in a browser; what that costs a lesson is said in lessons.toml.
LEFT_OUT = {
    "distributed", "jupyterlab", "jupyterlab-myst", "jupyterlab-widgets", "jupytext", "numba", "python-gdcm",
    "widgetsnbextension",
}  # fmt: skip
TIMEOUT_S = 60
KERNEL = "@jupyterlite/pyodide-kernel-extension:kernel"
SETTINGS = {
    # What Jupyter on this machine has besides would ask for a server.
    "disabledExtensions": ["@jupyter/nbgrader", "jupyterlab-jupytext", "jupyterlab-myst"],
    "litePluginSettings": {
        KERNEL: {
            "disablePyPIFallback": True,
            "loadPyodideOptions": {"env": {"SLICEWISE_DATA": "/drive/data", "SLICEWISE_SOURCE": "bundled"}},
        }
    },
}


class Unavailable(Exception):
    """What JupyterLite is made of cannot be had; the message says why and what to do."""


# Pyodide


def release():
    """Return the address of Pyodide's release, ending in a slash."""
    folder = os.environ.get("SLICEWISE_PYODIDE")
    if folder:
        return Path(folder).resolve().as_uri() + "/"
    from jupyterlite_pyodide_kernel.constants import PYODIDE_CDN_URL

    return PYODIDE_CDN_URL + "/"


def read(base, name, sha256=None):
    """Return a file of the release.

    Parameters
    ----------
    base : str
        Address of the release, ending in a slash.
    name : str
        The file.
    sha256 : str, optional
        What its bytes must hash to.

    Returns
    -------
    bytes

    Raises
    ------
    Unavailable
        If it is not there, cannot be reached or is another.
    """
    remedy = "connect to the network, or name a folder with Pyodide's unpacked release in SLICEWISE_PYODIDE"
    try:
        with urllib.request.urlopen(base + name, timeout=TIMEOUT_S) as answer:
            content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        raise Unavailable(f"{base}{name} cannot be read ({cause}); {remedy}.") from error
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise Unavailable(f"{base}{name} is not the published file (its SHA-256 differs); {remedy}.")
    return content


def choose(lock, wanted):
    """Choose where each package comes from: what is compiled from Pyodide, pure Python as installed here.

    Parameters
    ----------
    lock : dict
        Pyodide's lock file.
    wanted : iterable of str
        Names of packages; what they need is found.

    Returns
    -------
    compiled : list of str
        Names of packages of the release, sorted.
    pure : dict of str to list of str
        Name of each package of pure Python -> names of the packages that it needs.

    Raises
    ------
    Unavailable
        If a package is neither in the release nor installed here.
    """
    compiled, pure, waiting = set(), {}, list(wanted)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in LEFT_OUT or name in compiled or name in pure:
            continue
        there = lock["packages"].get(name)
        if there and not there["file_name"].endswith("-none-any.whl"):
            compiled.add(name)
            waiting += there["depends"]
            continue
        try:
            pure[name] = [each for each in needs(name, lock["info"]["python"]) if each not in LEFT_OUT]
            waiting += pure[name]
        except metadata.PackageNotFoundError:
            if not there:
                raise Unavailable(f"{name} is neither in Pyodide's release nor installed here.") from None
            compiled.add(name)
            waiting += there["depends"]
    return sorted(compiled), dict(sorted(pure.items()))


def needs(name, python):
    """Return the names of the packages that an installed one needs in a browser with this Python."""
    there = default_environment() | {
        "sys_platform": "emscripten",
        "platform_system": "Emscripten",
        "platform_machine": "wasm32",
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "extra": "",
    }
    requirements = map(Requirement, metadata.requires(name) or [])
    return [canonicalize_name(r.name) for r in requirements if not r.marker or r.marker.evaluate(there)]


# What goes with it


def fetch_pure(names, folder, python):
    """Fetch wheels of the versions installed here into a folder; only pure Python will do."""
    pins = [f"{name}=={metadata.version(name)}" for name in names]
    options = ["--no-deps", "--only-binary=:all:", "--platform=any", f"--python-version={python}"]
    words = [sys.executable, "-m", "pip", "download", "-q", *options, "-d", str(folder), *pins]
    run = subprocess.run(words, capture_output=True, text=True)
    if run.returncode != 0:
        errors = [line for line in run.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise Unavailable(f"pip cannot fetch the packages of pure Python ({errors[-1]}); set that right.")


def write_wheel(folder):
    """Write the course's own wheel, and return its path."""
    name = f"slicewise-{metadata.version('slicewise')}"
    path = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for package in ("data_fetchers", "helpers"):
            for file in sorted((REPO / package).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    wheel.write(file, file.relative_to(REPO).as_posix())
        info = f"{name}.dist-info"
        facts = f"Metadata-Version: 2.1\nName: slicewise\nVersion: {metadata.version('slicewise')}\n"
        wheel.writestr(f"{info}/METADATA", facts)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
        wheel.write(REPO / "LICENSE", f"{info}/licenses/LICENSE")
    return path


def lock_entry(wheel, depends):
    """Return what Pyodide's lock file says about a wheel of pure Python."""
    name, version = wheel.name.split("-")[:2]
    with zipfile.ZipFile(wheel) as packed:
        tops = {path.split("/")[0] for path in packed.namelist()}
    imports = {top.removesuffix(".py") for top in tops if not top.endswith((".dist-info", ".data"))}
    return {
        "name": canonicalize_name(name),
        "version": version,
        "file_name": wheel.name,
        "install_dir": "site",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "package_type": "package",
        "imports": sorted(imports),
        "depends": sorted(depends),
        "unvendored_tests": False,
    }


def notebook(lesson, missing, glossary):
    """Return the student's notebook of a lesson, with a word on what is different in a browser.

    Parameters
    ----------
    lesson : Path
        The lesson file.
    missing : list of str
        What does not work there, a sentence each.
    glossary : mapping of str to (str, str)
        The course's terms.

    Returns
    -------
    NotebookNode
    """
    made = convert.student(lesson.read_text(encoding="utf-8"), glossary)
    text = (
        "*This runs in your browser, and your work is kept in it alone: download what you want to keep. The "
        "first cell takes a minute or more, while Python comes; everything is slower than installed.*"
    )
    text += "".join(f"\n\n- {sentence}" for sentence in missing)
    made.cells.insert(1, new_markdown_cell(text, id="in-a-browser"))
    made.metadata.kernelspec = {"name": "python", "display_name": "Python (Pyodide)", "language": "python"}
    return made


def copy_data(folder, versions):
    """Copy the simulated data that the lessons fetch, named so that the fetchers find them in the browser.

    Parameters
    ----------
    folder : Path
        Where ``made`` goes.
    versions : mapping of str to str
        Versions in the browser of the packages that a data set's name depends on.
    """
    text = "".join(path.read_text(encoding="utf-8") for path in LESSONS)
    sizes = sorted({int(n) for n in re.findall(r"n_subjects=(\d+)", text)})
    for name in catalogue():
        if "simulator" not in record(name, "bundled"):
            continue
        for arguments in [(n,) for n in sizes] if name == "oasis_subjects" else [()]:
            source = cache.made(name, *arguments)
            # A data set's name says which versions made it; those in the browser are others, and make none.
            with mock.patch.object(cache.metadata, "version", versions.__getitem__):
                there = cache._made_name(name, *arguments)
            shutil.copytree(source, folder / "made" / there)


# All of it


def assemble(folder):
    """Lay out in a folder what `jupyter lite build` makes a site of.

    Raises
    ------
    Unavailable
        If Pyodide's release or a package cannot be had.
    """
    base = release()
    lock = json.loads(read(base, "pyodide-lock.json"))
    python = lock["info"]["python"]
    wanted = [canonicalize_name(each) for each in needs("slicewise", python)]
    compiled, pure = choose(lock, [*wanted, *OF_THE_KERNEL])
    pyodide = folder / "static" / "pyodide"
    pyodide.mkdir(parents=True)
    for name in CORE:
        (pyodide / name).write_bytes(read(base, name))
    for name in compiled:
        entry = lock["packages"][name]
        (pyodide / entry["file_name"]).write_bytes(read(base, entry["file_name"], entry["sha256"]))
    fetch_pure(pure, pyodide, python)
    packages = {name: lock["packages"][name] for name in compiled}
    for wheel in sorted(pyodide.glob("*-none-any.whl")):
        name = canonicalize_name(wheel.name.split("-")[0])
        if name not in packages:
            packages[name] = lock_entry(wheel, pure[name])
    packages["slicewise"] = lock_entry(write_wheel(pyodide), [each for each in wanted if each in packages])
    text = json.dumps({"info": lock["info"], "packages": packages})
    (pyodide / "pyodide-lock.json").write_text(text, encoding="utf-8")

    files = folder / "files"
    copy_data(files / "data", {name: packages[name]["version"] for name in packages})
    missing, glossary = what_is_missing(), read_glossary(GLOSSARY.read_text(encoding="utf-8"))
    for lesson in LESSONS:
        made = notebook(lesson, missing[lesson.stem], glossary)
        nbformat.write(made, files / f"{lesson.stem}.ipynb")
    settings = {"jupyter-lite-schema-version": 0, "jupyter-config-data": {"appName": "Slicewise", **SETTINGS}}
    (folder / "jupyter-lite.json").write_text(json.dumps(settings), encoding="utf-8")


def what_is_missing():
    """Return what does not work in a browser: lesson -> list of sentences."""
    table = tomllib.loads(Path(__file__).with_name("lessons.toml").read_text(encoding="utf-8"))
    return {name: facts["missing"] for name, facts in table.items()}


def build(out):
    """Build JupyterLite into a new folder, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".lite-") as scratch:
        folder, site = Path(scratch) / "in", Path(scratch) / "out"
        assemble(folder)
        words = [sys.executable, "-m", "jupyterlite_core", "build", "--apps=lab", "--no-sourcemaps"]
        words += ["--no-unused-shared-packages", f"--lite-dir={folder}", f"--output-dir={site}"]
        words += [f"--contents={folder / 'files'}"]
        run = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        if run.returncode != 0:
            said = (run.stdout + run.stderr).splitlines()[-1:] or ["it gives no reason"]
            raise Unavailable(f"`jupyter lite build` fails ({said[0]}); set that right.")
        os.replace(site, out)


def main(arguments):
    """Build into the folder that the command line names, and return the exit code."""
    out = Path(arguments[0]).resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        build(out)
    except Unavailable as cause:
        print(f"JupyterLite is left out: {cause}", file=sys.stderr)
        return 1
    print(f"JupyterLite: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
