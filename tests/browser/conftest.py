"""What the tests in a real browser share: Chromium, JupyterLab, and a folder for what they see."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from playwright.sync_api import sync_playwright

from tests.lessonfile import ROOT

CHROMIUM_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def shots():
    """Return the folder of the screenshots, for eyes to look at."""
    folder = ROOT / "_build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
def lab(tmp_path_factory):
    """Serve a copy of the lessons with JupyterLab; yield its address and the folder."""
    folder = tmp_path_factory.mktemp("lab")
    for path in [*(ROOT / "lessons").glob("*.md"), ROOT / "jupytext.toml"]:
        shutil.copy(path, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Exposed, the application lets a test add cells and run them without typing.
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}",
        "--ip=127.0.0.1", "--IdentityProvider.token=learner", f"--ServerApp.root_dir={folder}",
        "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    # The browser's workspace and the learner's own settings must not decide what the test sees.
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(home), "JUPYTERLAB_WORKSPACES_DIR": str(home / "w")}
    with open(folder.parent / "lab.log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/api")
        yield f"http://127.0.0.1:{port}/lab", folder
    finally:
        server.terminate()
        server.wait(20)


def wait_until_it_answers(address, seconds=60):
    for _ in range(seconds * 5):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(address, timeout=5)
        time.sleep(0.2)
    raise TimeoutError(f"{address} does not answer")
