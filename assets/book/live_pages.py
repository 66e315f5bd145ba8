"""Sphinx extension: viewers in the book's pages are live without a kernel."""

import os


def setup(app):
    """Ask the viewers, which run in kernels that inherit this environment, for HTML of their own."""
    os.environ["SLICEWISE_PAGE"] = "1"
    return {"parallel_read_safe": True}
