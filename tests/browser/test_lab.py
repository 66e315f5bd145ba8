"""A learner's first minutes in a real browser: open lesson 1 by a double-click, run it, turn a slice."""

import pytest
from playwright.sync_api import expect

from tests.lessonfile import ROOT

LESSON = "01_image_intro.md"
PIXELS = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.join()"

# The notebook keeps in the page only what is near the part that is seen, and its length as it guesses: go to
# its end or its top (0, as it has no border) until a text is there.
SCROLLED = """([place, text]) => {
  const panel = document.querySelector(".jp-NotebookPanel .jp-WindowedPanel-outer");
  panel.scrollTop = panel[place];
  return panel.textContent.includes(text);
}"""


@pytest.fixture
def page(chromium, shots):
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(60_000)
    yield page
    page.screenshot(path=shots / "lab_at_the_end.png")
    page.context.close()


def test_first_minutes(lab, page, shots):
    address, folder = lab
    page.goto(f"{address}?token=learner")
    # Opened before Lab has heard which kernels there are, the lesson would ask for one.
    expect(page.locator(".jp-LauncherCard", has_text="Python 3").first).to_be_visible(timeout=60_000)

    page.locator(".jp-DirListing-itemText", has_text=LESSON).dblclick()
    expect(page.locator(".jp-NotebookPanel")).to_be_visible()
    expect(page.get_by_role("heading", name="Image intro")).to_be_visible()
    # MyST is rendered, not shown as source; no news pop-up asks a learner for consent.
    expect(page.locator("details", has_text="What you will be able to do").first).to_be_visible()
    assert page.get_by_text("Would you like to get notified about official Jupyter news?").count() == 0
    page.screenshot(path=shots / "lab_lesson_opened.png")

    # What is run before the kernel has answered, Lab drops without a word.
    kernel = "jupyterapp.shell.currentWidget.sessionContext.session?.kernel"
    page.wait_for_function(f"() => {kernel}?.status === 'idle'", timeout=180_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    # It is idle before the first cell too: wait until it has begun, then until it has ended.
    busy = page.locator(".jp-Notebook-ExecutionIndicator[data-status=busy]")
    expect(busy).to_be_visible(timeout=60_000)
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible(timeout=240_000)
    page.wait_for_function(SCROLLED, arg=["scrollHeight", "# The numbers in the text"], polling=500)
    expect(page.get_by_text("# The numbers in the text")).to_be_visible()
    assert page.get_by_text("published = {").count() == 0, "a folded cell shows its code"
    page.wait_for_function(SCROLLED, arg=["clientTop", "Image intro"], polling=500)
    viewer = page.locator(".slicewise-viewer").first
    expect(viewer).to_be_visible()
    expect(viewer.locator(".slicewise-readout")).not_to_be_empty()
    page.screenshot(path=shots / "lab_lesson_run.png")

    canvas = viewer.locator("canvas.slicewise-plane").first
    canvas.focus()
    before = canvas.evaluate(PIXELS)
    viewer.screenshot(path=shots / "viewer_before.png")
    for _ in range(10):
        page.keyboard.press("PageUp")
    page.wait_for_function(f"before => ({PIXELS})(document.activeElement) !== before", arg=before)
    viewer.screenshot(path=shots / "viewer_after.png")

    # Saving after a run must leave the lesson as it was, byte for byte.
    page.keyboard.press("Control+s")
    page.wait_for_function("() => !jupyterapp.shell.currentWidget.context.model.dirty")
    assert (folder / LESSON).read_bytes() == (ROOT / "lessons" / LESSON).read_bytes()
