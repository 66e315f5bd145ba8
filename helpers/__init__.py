"""Slicewise's teaching helpers: look at images, register them, measure cohorts, check answers.

The public names load on first use, so that ``import helpers`` costs next to nothing.
"""

from importlib import import_module

_HOMES = {
    "RegistrationMonitor": "helpers.viewing",
    "SliceViewer": "helpers.viewing",
    "check": "helpers.exercises",
    "compare": "helpers.viewing",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'helpers' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
