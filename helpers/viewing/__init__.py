"""Looking at images: a viewer for the notebook and figures for the page."""

from helpers.viewing.figures import montage, show_plane
from helpers.viewing.viewer import SliceViewer

__all__ = ["SliceViewer", "montage", "show_plane"]
