"""Find words in figures that stand out too little from what lies behind them."""

import sys
from unittest.mock import patch

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

LEAST = 4.5
"""Contrast of text, by WCAG 2.2, criterion 1.4.3."""

SHARE = 0.8
"""Of the pixels behind a text, so many must give that contrast: letters may touch a line."""


def luminance(rgb):
    """Return the relative luminance, by WCAG 2.2, of colours (…, 3) from 0 to 1."""
    rgb = np.asarray(rgb, float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def contrast(one, other):
    """Return the contrast of two luminances, from 1 to 21."""
    return (np.maximum(one, other) + 0.05) / (np.minimum(one, other) + 0.05)


def faint_texts(figure):
    """Return the texts of a matplotlib figure that stand out too little.

    A text with an outline is judged against its outline, any other against the pixels behind it.
    """
    # Clear, not hidden: a layout that fits the words would change without them.
    drawn, draw = [], Text.draw

    def note(text, renderer):
        drawn.append(text)
        draw(text, renderer)

    with patch.object(Text, "draw", note):  # those of axes that are switched off call themselves visible
        figure.canvas.draw()
    texts = [text for text in dict.fromkeys(drawn) if text.get_visible() and text.get_text().strip()]
    alphas = [text.get_alpha() for text in texts]
    for text in texts:
        text.set_alpha(0)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in texts]  # a layout may settle in the second drawing
    behind = luminance(np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3] / 255)
    for text, alpha in zip(texts, alphas, strict=True):
        text.set_alpha(alpha)
    faint = []
    for text, box, alpha in zip(texts, boxes, alphas, strict=True):
        colour = luminance(to_rgb(text.get_color()))
        outlines = [effect for effect in text.get_path_effects() if isinstance(effect, withStroke)]
        if outlines:
            ground = luminance(to_rgb(outlines[0]._gc["foreground"]))[None]
        else:
            left, bottom, right, top = np.round(box.extents).astype(int).clip(0)
            ground = behind[bottom:top, left:right].ravel()
        if not ground.size:  # outside the picture
            continue
        colour = colour if alpha is None else alpha * colour + (1 - alpha) * ground
        if (contrast(colour, ground) >= LEAST).mean() < SHARE:
            faint.append(text.get_text())
    return faint


def watch(shell):
    """Let an IPython shell complain, after each cell, of faint words in the figures that it will show."""

    def look():
        pyplot = sys.modules.get("matplotlib.pyplot")
        for number in pyplot.get_fignums() if pyplot else ():
            for text in faint_texts(pyplot.figure(number)):
                print(f"“{text}” stands out too little in the figure.", file=sys.stderr)

    shell.events.register("post_execute", look)
