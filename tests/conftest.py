"""What tests of several folders share: a browser, and the website, built once."""

import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.lessonfile import ROOT

CHROMIUM_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
NOT_COPIED = shutil.ignore_patterns(".*", "_build", "__pycache__", "*.egg-info")


expect.set_options(timeout=60_000)  # what comes, comes at once, but on a busy machine


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
def site(tmp_path_factory):
    """Return the folder of the website, built from nothing; tests that want it are in ``tests/site``.

    ``SLICEWISE_SITE`` names a built site to look at instead, while one works on its tests.
    """
    if os.environ.get("SLICEWISE_SITE"):
        return Path(os.environ["SLICEWISE_SITE"])
    project = tmp_path_factory.mktemp("book")
    build_book(project)
    return project / "_build" / "html"


def build_book(project):
    """Build the book in a copy of the project."""
    shutil.copytree(ROOT, project, ignore=NOT_COPIED, dirs_exist_ok=True)
    builder = shutil.which("jupyter-book", path=Path(sys.executable).parent)
    run = subprocess.run(
        [builder, "build", "-W", "-n", "--keep-going", project],
        capture_output=True,
        text=True,
        env=os.environ | {"SLICEWISE_SOURCE": "bundled", "NO_COLOR": "1"},
    )
    assert run.returncode == 0, f"{run.stdout[-3000:]}\n{run.stderr[-3000:]}"


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
