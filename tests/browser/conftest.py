"""What tests in a real browser share: pages, a notebook in JupyterLab, a folder for pictures."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

from tests.browser.notebook import Notebook
from tests.browser.pages import open_html
from tests.lessonfile import ROOT


@pytest.fixture(scope="session")
def shots():
    """Return the folder of the screenshots, for eyes to look at."""
    folder = ROOT / "_build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(60)
        server.kill()


def wait_until_it_answers(address, seconds=300):
    for _ in range(seconds * 5):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(address, timeout=5)
        time.sleep(0.2)
    raise TimeoutError(f"{address} does not answer")


@pytest.fixture(scope="session")
def opened(lab, chromium):
    """Open a notebook; its kernel serves all tests of widgets."""
    address, folder = lab
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(metadata=kernel), folder / "widgets.ipynb")
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(60_000)
    page.goto(f"{address}/workspaces/widgets/tree/widgets.ipynb?token=learner", timeout=120_000)
    kernel = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
    page.wait_for_function(kernel, timeout=120_000)
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.ready")
    page.failures = []
    page.on("pageerror", lambda error: page.failures.append(str(error)))
    yield Notebook(page)
    page.context.close()


@pytest.fixture
def notebook(opened):
    """Yield the notebook without a cell or a widget; no error may have reached the page afterwards."""
    opened.clear()
    opened.page.failures.clear()
    yield opened
    assert opened.page.failures == []


@pytest.fixture
def show(chromium):
    """Return `open_html`; afterwards its pages are closed, and none of them may have met an error."""
    pages = []

    def opened(viewers, **options):
        viewers = viewers if isinstance(viewers, list) else [viewers]
        page = open_html(chromium, "".join(viewer.to_html() for viewer in viewers), **options)
        pages.append(page)
        return page

    yield opened
    for page in pages:
        failures = page.failures
        page.context.close()
        assert failures == []
