"""Looking at images: viewers for the notebook and the website, and figures for the page."""

from helpers.viewing.comparison import compare
from helpers.viewing.explore import explore
from helpers.viewing.figures import montage, show_field, show_plane
from helpers.viewing.monitor import RegistrationMonitor
from helpers.viewing.viewer import SliceViewer

__all__ = ["RegistrationMonitor", "SliceViewer", "compare", "explore", "montage", "show_field", "show_plane"]
