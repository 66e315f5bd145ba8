"""A widget that is live in JupyterLab and on a web page, and a picture with its text where nothing runs."""

import os
import sys
from base64 import b64encode
from weakref import WeakSet

import anywidget

_shown = {}  # id of a notebook's cell → (its run, the widgets made in that run)


class PortableWidget(anywidget.AnyWidget):
    """What viewers and explorers have in common.

    Where a website is built (`SLICEWISE_PAGE` in the environment) it opens no channel to a browser, as there
    is none, and shows itself as HTML. In a notebook, running the cell that made it again closes the old one.

    Subclasses have ``_words()``, ``_still()``, which returns a PNG file, and ``to_html()``.
    """

    def __init__(self, **traits):
        super().__init__(**traits)
        _close_predecessors(self)

    def open(self):
        """Open the channel to the browser, unless a website is built."""
        if not _for_a_page():
            super().open()

    def close(self):
        """Close the widget, and the layout that it brings along."""
        if "layout" in self._trait_values:  # not in a half-made one
            self.layout.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs):
        """Return the live view, and for readers that run nothing a still picture and its text."""
        if _for_a_page():
            bundle = {"text/html": self.to_html()}
        else:
            bundle = super()._repr_mimebundle_(**kwargs)
            bundle = bundle[0] if isinstance(bundle, tuple) else bundle  # data and metadata
        bundle["text/plain"] = self._words()
        bundle["image/png"] = b64encode(self._still()).decode("ascii")
        return bundle


def _for_a_page():
    """Tell whether a website is built."""
    return bool(os.environ.get("SLICEWISE_PAGE"))


def _close_predecessors(widget):
    """Close the widgets that an earlier run of the same notebook cell has made."""
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    parent = kernel.get_parent() if kernel else {}
    cell = parent.get("metadata", {}).get("cellId")
    if cell is None:
        return
    run = parent["header"]["msg_id"]
    last_run, widgets = _shown.get(cell, (None, ()))
    if last_run != run:
        for old in list(widgets):
            old.close()
        _shown[cell] = run, WeakSet()
    _shown[cell][1].add(widget)
