"""A notebook in JupyterLab, driven as a learner would, but that cells are not typed."""

import ast
import re

import numpy as np
from playwright.sync_api import expect

from helpers.viewing.slices import pixel_of, plane_axes, plane_slice, to_rgb
from tests.browser.pages import pixels_of

PLANES = ("axial", "coronal", "sagittal")

# Adds a cell at the end, or takes one that is there, and runs it as the menu does.
RUN = """async ([source, number]) => {
  const { content } = jupyterapp.shell.currentWidget;
  const shared = content.model.sharedModel;
  if (number === null) {
    number = shared.cells.length;
    shared.insertCell(number, { cell_type: "code", source });
  }
  content.activeCellIndex = number;
  await jupyterapp.commands.execute("notebook:run-cell");
  const outputs = content.model.cells.get(number).outputs.toJSON();
  const text = (type, part) => outputs.filter((output) => output.output_type === type).map(part).join("");
  const error = text("error", (output) => output.traceback.join("\\n"));
  return { number, printed: text("stream", (output) => output.text), error };
}"""
CLEAR = """() => {
  const { sharedModel } = jupyterapp.shell.currentWidget.content.model;
  sharedModel.deleteCellRange(0, sharedModel.cells.length);
}"""


class Notebook:
    """A notebook open in JupyterLab, with at most one viewer.

    Attributes
    ----------
    page : playwright's Page
    viewer : Locator
        The viewer, comparison, monitor or explorer.
    last : int
        Number of the cell that ran last.
    """

    def __init__(self, page):
        self.page = page
        self.viewer = page.locator(".slicewise-viewer")

    def run(self, source="", again=None):
        """Run a new cell, or cell number `again` once more; return what it prints."""
        said = self.page.evaluate(RUN, [source, again])
        self.last = said["number"]
        assert not said["error"], re.sub(r"\x1b\[[0-9;]*m", "", said["error"])
        return said["printed"].strip()

    def value(self, expression):
        """Return a value of the kernel that Python's literals can tell."""
        return ast.literal_eval(self.run(f"print(repr(({expression})))"))

    def becomes(self, expression, value):
        """Tell whether a value of the kernel is as wanted, sooner or later.

        Widgets send one message at a time, so that a cell run within milliseconds of a key may overtake it.
        """
        return self.wait_for(lambda: self.value(expression) == value)

    def canvas(self, plane, n=0):
        """Return a plane; `n` is 1 for the second of two images side by side."""
        return self.viewer.locator(f"canvas[data-plane={plane}][data-layer='{n}']")

    def wait(self):
        """Wait until a viewer is drawn."""
        expect(self.viewer.locator(".slicewise-readout")).to_contain_text(";")

    def pixels(self, plane, n=0):
        return pixels_of(self.canvas(plane, n))

    def draws(self, plane, expected, n=0):
        """Tell whether a plane has these pixels, sooner or later."""
        return self.wait_for(lambda: np.array_equal(self.pixels(plane, n), expected))

    def wait_for(self, what, seconds=60):
        """Wait until a function returns true: for what comes over the kernel."""
        for _ in range(20 * seconds):
            if what():
                return True
            self.page.wait_for_timeout(50)
        return False

    def shows(self, volume, index, time, window):
        """Tell whether all planes show one voxel's slices, sooner or later."""

        def shown():
            for plane in PLANES:
                cut = plane_slice(volume, plane, index[plane_axes(volume, plane)[0]], time)
                if not np.array_equal(self.pixels(plane), to_rgb(cut, window)):
                    return False
            return True

        return self.wait_for(shown)

    def point(self, volume, plane, index):
        """Return where on the page a voxel's middle lies."""
        box = self.canvas(plane).bounding_box()
        row, column = pixel_of(volume, plane, index)
        rows, columns = plane_slice(volume, plane, 0).shape
        return box["x"] + (column + 0.5) / columns * box["width"], box["y"] + (row + 0.5) / rows * box[
            "height"
        ]

    def clear(self):
        """Delete all cells, and close all widgets."""
        self.page.evaluate(CLEAR)
        self.run("import ipywidgets; ipywidgets.Widget.close_all()")
        self.page.evaluate(CLEAR)

    def in_theme(self, name):
        """Turn JupyterLab to its theme "Light" or "Dark"."""
        self.page.evaluate(
            "theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", f"JupyterLab {name}"
        )
        self.page.wait_for_function(
            "dark => (document.body.dataset.jpThemeLight === 'false') === dark", arg=name == "Dark"
        )
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)
