"""A learner's first minutes in a real browser: open lesson 1 by a double-click, run it, move a slider."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.lessonfile import ROOT

LESSON = "01_image_intro.md"
CHROMIUM_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SHOTS = ROOT / "_build" / "screenshots"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Serve a copy of the lessons with JupyterLab; yield its address and the folder."""
    folder = tmp_path_factory.mktemp("lab")
    for path in [*(ROOT / "lessons").glob("*.md"), ROOT / "jupytext.toml"]:
        shutil.copy(path, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}",
        "--ip=127.0.0.1", "--IdentityProvider.token=learner", f"--ServerApp.root_dir={folder}",
    ]  # fmt: skip
    # The browser's workspace and the learner's own settings must not decide what the test sees.
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(home), "JUPYTERLAB_WORKSPACES_DIR": str(home / "w")}
    with open(folder.parent / "lab.log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/api")
        yield f"http://127.0.0.1:{port}/lab?token=learner", folder
    finally:
        server.terminate()
        server.wait(20)


def wait_until_it_answers(address, seconds=60):
    for _ in range(seconds * 5):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(address, timeout=5)
        time.sleep(0.2)
    raise TimeoutError(f"{address} does not answer")


@pytest.fixture(scope="module")
def page(lab):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("SLICEWISE_CHROMIUM") or shutil.which("chromium"),
            args=CHROMIUM_OPTIONS,
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        SHOTS.mkdir(parents=True, exist_ok=True)
        yield page
        page.screenshot(path=SHOTS / "lab_at_the_end.png")
        browser.close()


def test_first_minutes(lab, page):
    address, folder = lab
    page.goto(address)

    page.locator(".jp-DirListing-itemText", has_text=LESSON).dblclick()
    expect(page.locator(".jp-NotebookPanel")).to_be_visible()
    expect(page.get_by_role("heading", name="Image intro")).to_be_visible()
    # MyST is rendered, not shown as source; no news pop-up asks a learner for consent.
    expect(page.locator("details", has_text="What you will be able to do").first).to_be_visible()
    assert page.get_by_text("Would you like to get notified about official Jupyter news?").count() == 0
    page.screenshot(path=SHOTS / "lab_lesson_opened.png")

    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    # It is idle before the first cell too: wait until it has begun, then until it has ended.
    busy = page.locator(".jp-Notebook-ExecutionIndicator[data-status=busy]")
    expect(busy).to_be_visible(timeout=60_000)
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible(timeout=240_000)
    # The notebook keeps in the page only what is near the part that is seen.
    panel = page.locator(".jp-NotebookPanel .jp-WindowedPanel-outer")
    panel.evaluate("panel => panel.scrollTop = panel.scrollHeight")
    expect(page.get_by_text("# The numbers in the text")).to_be_visible()
    assert page.get_by_text("published = {").count() == 0, "a folded cell shows its code"
    panel.evaluate("panel => panel.scrollTop = 0")
    viewer = page.locator(".slicewise-viewer").first
    expect(viewer).to_be_visible()
    page.screenshot(path=SHOTS / "lab_lesson_run.png")

    before = viewer.screenshot(path=SHOTS / "viewer_before.png")
    handle = viewer.locator(".noUi-handle, input[type=range]").first
    handle.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(1500)
    after = viewer.screenshot(path=SHOTS / "viewer_after.png")
    assert before != after

    # Saving after a run must leave the lesson as it was, byte for byte.
    page.keyboard.press("Control+s")
    page.wait_for_timeout(2000)
    assert (folder / LESSON).read_bytes() == (ROOT / "lessons" / LESSON).read_bytes()
