"""What tests of several folders share: a browser, and the website, built once."""

import os
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.lessonfile import ROOT

CHROMIUM_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
NOT_COPIED = shutil.ignore_patterns(".*", "_build", "__pycache__", "*.egg-info")
LONGEST_BUILD = 1800  # seconds


@pytest.fixture(scope="session")
def chromium():
    """Yield one browser for all tests; each opens pages in a context of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("SLICEWISE_CHROMIUM") or shutil.which("chromium"),
            args=CHROMIUM_OPTIONS,
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id):
    """Return the folder of the website: built from nothing, once for all workers of a run of the tests.

    ``SLICEWISE_SITE`` names a built site to look at instead, while one works on its tests.
    """
    if os.environ.get("SLICEWISE_SITE"):
        return Path(os.environ["SLICEWISE_SITE"])
    run = tmp_path_factory.getbasetemp()
    run = run if worker_id == "master" else run.parent  # the folder that the workers of one run share
    project, built, report = run / "book", run / "book.built", run / "book.txt"
    try:
        project.mkdir()  # only one worker can
    except FileExistsError:
        deadline = time.monotonic() + LONGEST_BUILD
        while not built.exists():
            assert time.monotonic() < deadline, "the worker that builds the book does not come to an end"
            time.sleep(0.5)
    else:
        try:
            report.write_text(build_book(project), encoding="utf-8")
        finally:
            built.touch()
    said = report.read_text(encoding="utf-8")
    assert said == "", said
    return project / "_build" / "html"


def build_book(project):
    """Build the book in a copy of the project; return what went wrong, or nothing."""
    shutil.copytree(ROOT, project, ignore=NOT_COPIED, dirs_exist_ok=True)
    builder = shutil.which("jupyter-book", path=Path(sys.executable).parent)
    run = subprocess.run(
        [builder, "build", "-W", "-n", "--keep-going", project],
        capture_output=True,
        text=True,
        env=os.environ | {"SLICEWISE_SOURCE": "bundled", "NO_COLOR": "1"},
    )
    return f"{run.stdout[-3000:]}\n{run.stderr[-3000:]}" if run.returncode else ""


class Quiet(SimpleHTTPRequestHandler):
    """A server that keeps its thoughts to itself."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def address(site):
    """Yield the address at which the website is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
