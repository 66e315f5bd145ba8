"""Explorers of the lessons: pictures that follow sliders, one module for each lesson."""


def margins(left, bottom, between, right=0.99):
    """Return where axes stand, for `gridspec_kw`: fixed, as finding a layout for each picture takes long.

    Parameters
    ----------
    left, bottom, right : float
        Edges of all axes together, as parts of the figure's width or height.
    between : float
        Room between two axes, as a part of their mean width.
    """
    return {"left": left, "right": right, "bottom": bottom, "top": 0.92, "wspace": between}
