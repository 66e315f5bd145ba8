"""Pictures that follow sliders: a pure function of a few values, drawn anew for each."""

import itertools
import math
from base64 import b64encode
from io import BytesIO
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from traitlets import Any, Bytes, Dict, List, TraitError, Unicode, validate

from helpers.viewing.page import to_html
from helpers.viewing.portable import PortableWidget

_HERE = Path(__file__).parent
_PAGE_PICTURES = 100  # made beforehand, of 20 to 60 kB each
_ENOUGH = 12  # positions of a slider that are worth pictures of all combinations
_DPI = 84
_LARGEST = float(np.finfo(float).max)
_MOST_STEPS = 1_000_000
_CLOSED = "This explorer is closed: make a new one."


def explore(draw, *, title=None, kept=(), **controls):
    """Let the reader turn the values of a function that draws.

    Parameters
    ----------
    draw : callable
        ``draw(**values)`` returns a new matplotlib Figure and one or two sentences of what it shows. It must
        do so for all values that the controls allow.
    title : str, optional
    kept : sequence of str
        Controls that keep their value when another one moves, also on a web page that cannot hold pictures of
        all combinations: those without which the others show too little.
    **controls
        What can be turned, by the argument's name, in the order shown: ``(lowest, highest, step, start)``
        for a slider, which gives whole numbers if all four are; a list of choices, the first at the start;
        or True or False for a box to tick.

    Returns
    -------
    Explorer

    Raises
    ------
    TypeError, ValueError
        If a control is none of these, not finite, of more than a million steps, or its start lies outside its
        range; if `kept` is no list, tuple or set, or a name in it no control's.
    """
    return Explorer(draw, title=title, kept=kept, **controls)


class Explorer(PortableWidget):
    """What `explore` returns.

    Attributes
    ----------
    values : dict
        The present value of each control. Setting some leaves the others. A slider of whole numbers takes
        whole numbers only.
    text : str
        What the picture shows.

    Raises
    ------
    traitlets.TraitError
        If a value is set to what its control cannot have, or the explorer is closed.
    """

    _esm = _HERE / "explore.js"
    _css = _HERE / "viewer.css"

    values = Dict().tag(sync=True)
    text = Unicode("").tag(sync=True)
    _controls = List().tag(sync=True)
    _title = Any(None).tag(sync=True)
    _picture = Bytes(b"").tag(sync=True)

    def __init__(self, draw, *, title=None, kept=(), **controls):
        self.draw = draw
        described = [_described(name, control) for name, control in controls.items()]
        if not isinstance(kept, list | tuple | set):
            raise TypeError(f"kept must be a list of names of controls, not {kept!r}.")
        for name in kept:
            if name not in controls:
                raise ValueError(f"kept names no control {name!r}: there are {', '.join(controls)}.")
        self._kept = [name for name in controls if name in kept]
        super().__init__(
            _controls=described, _title=title, values={each["name"]: each["start"] for each in described}
        )
        self._redraw()
        self.observe(self._redraw, "values")

    def __repr__(self):
        if self.draw is None:
            return "Explorer(closed)"
        return f"Explorer({', '.join(f'{name}={value}' for name, value in self.values.items())}: {self.text})"

    def _words(self):
        return self.text

    def _still(self):
        return self._picture

    def figure(self, **values):
        """Return the figure of some values; the others are the present ones. Raises TraitError as they do."""
        return self.draw(**self._checked({**self.values, **values}))[0]

    def settings(self, n=None):
        """Yield the values of each control through its range, the others at their start, then all extremes.

        Parameters
        ----------
        n : int, optional
            At most so many positions of each slider; by default all.
        """
        start = {each["name"]: each["start"] for each in self._controls}
        yield from _around(start, {each["name"]: _positions(each, n) for each in self._controls}, ())
        ends = [(_positions(each, 2)) for each in self._controls]
        for corner in itertools.islice(itertools.product(*ends), 64):
            yield dict(zip(start, corner, strict=True))

    def close(self):
        """Close the explorer, and let go of what its function holds."""
        self._picture = b""
        super().close()
        self.draw = None

    def to_html(self):
        """Return HTML that is live without a kernel, for any web page: its pictures are made beforehand.

        If there are few enough, of all combinations of values; else of each control by itself, with the kept
        ones at any value and the others at their start, and a note says so.

        Raises
        ------
        ValueError
            If the explorer is closed, or would need too many pictures.
        """
        if self.draw is None:
            raise ValueError(_CLOSED)
        start = {each["name"]: each["start"] for each in self._controls}
        figure, first = self.draw(**start)
        still = _to_png(figure)
        kept, axes = self._page_axes()
        pictures = {}
        for values in _around(start, axes, kept):
            key = " ".join(str(axis.index(values[name])) for name, axis in axes.items())
            if key not in pictures:
                figure, text = self.draw(**values)
                pictures[key] = [b64encode(_small(_to_png(figure))).decode("ascii"), text]
        state = {
            "_controls": [each | {"positions": axes[each["name"]]} for each in self._controls],
            "_title": self._title,
            "values": start,
            "text": first,
            "pictures": pictures,
            "kept": kept,
        }
        return to_html("explore.js", state, still, first, self._title)

    def _page_axes(self):
        """Return which controls are kept on a web page, and the positions of each, as many as can be."""
        for kept, fewest in (([each["name"] for each in self._controls], _ENOUGH), (self._kept, 2)):
            for n in range(_PAGE_PICTURES, fewest - 1, -1):
                axes = {each["name"]: _with_start(each, n) for each in self._controls}
                others = sum(len(axis) - 1 for name, axis in axes.items() if name not in kept)
                count = math.prod(len(axes[name]) for name in kept) * (1 + others)
                if count <= _PAGE_PICTURES:
                    return kept, axes
        raise ValueError(
            f"A web page holds {_PAGE_PICTURES} pictures of an explorer, and these controls need {count}: "
            "offer fewer choices" + (", or keep fewer controls." if self._kept else ".")
        )

    @validate("values")
    def _check_values(self, proposal):
        return self._checked({**self.values, **proposal.value})

    def _checked(self, values):
        """Return values of the controls' own kinds, or say which cannot be."""
        if self.draw is None:
            raise TraitError(_CLOSED)
        kinds = {each["name"]: each for each in self._controls}
        checked = {}
        for name, value in values.items():
            if name not in kinds:
                raise TraitError(f"There is no control {name!r}: there are {', '.join(kinds)}.")
            checked[name] = _value(kinds[name], value)
        return checked

    def _redraw(self, _=None):
        figure, text = self.draw(**self.values)
        with self.hold_sync():
            self._picture, self.text = _to_png(figure), text


def _around(start, axes, kept):
    """Yield settings, some more than once: the kept axes at all values, of the others one at a time."""
    for values in itertools.product(*(axes[name] for name in kept)):
        setting = start | dict(zip(kept, values, strict=True))
        yield setting
        for name in axes:
            if name not in kept:
                yield from (setting | {name: value} for value in axes[name])


def _value(control, value):
    """Return a value as the control's own kind, or raise TraitError."""
    name = control["name"]
    if control["kind"] != "slider":
        try:
            return control["choices"][control["choices"].index(value)]
        except ValueError:  # also of an array, which equals nothing as a whole
            raise TraitError(f"{name} must be one of {control['choices']}, not {value!r}.") from None
    if not isinstance(value, Real):
        raise TraitError(f"{name} must be a number, not {value!r}.")
    if not control["low"] <= value <= control["high"]:  # nor does NaN
        raise TraitError(f"{name} must lie between {control['low']} and {control['high']}, not {value}.")
    whole = isinstance(control["start"], int)
    if whole and value != int(value):
        raise TraitError(f"{name} must be a whole number, not {value}.")
    return int(value) if whole else float(value)


def _described(name, control):
    """Return a control as plain values."""
    if isinstance(control, bool):
        return {"name": name, "kind": "box", "choices": [False, True], "start": control}
    if isinstance(control, list) and control:
        choices = [each.item() if isinstance(each, np.generic) else each for each in control]
        return {"name": name, "kind": "list", "choices": choices, "start": choices[0]}
    if isinstance(control, tuple) and len(control) == 4 and all(isinstance(each, Real) for each in control):
        low, high, step, start = control
        # Whole numbers have no largest one, and the two ends may lie further apart than any number goes.
        finite = all(-_LARGEST <= each <= _LARGEST for each in (*control, high - low))
        if not (finite and low < high and step > 0 and low <= start <= high):
            raise ValueError(
                f"{name}={control} must be (lowest, highest, step, start): finite numbers, the lowest below "
                "the highest, the step above 0 and the start in the range."
            )
        if high - low > _MOST_STEPS * step:
            raise ValueError(f"{name}={control} has more than {_MOST_STEPS:,} steps: take longer ones.")
        whole = all(isinstance(each, Integral) for each in control)
        low, high, step, start = (int(each) if whole else float(each) for each in control)
        return {"name": name, "kind": "slider", "low": low, "high": high, "step": step, "start": start}
    raise TypeError(
        f"{name} must be (lowest, highest, step, start), a list of choices, True or False, not {control!r}."
    )


def _positions(control, n):
    """Return the values that a control can have; of a slider at most `n`, its ends among them."""
    if control["kind"] != "slider":
        return list(control["choices"])
    low, step = control["low"], control["step"]
    count = int((control["high"] - low) / step + 1e-9) + 1
    steps = range(count)
    if n is not None and n < count:
        steps = sorted({round(x) for x in np.linspace(0, count - 1, n)})
    if isinstance(low, int):
        return [low + place * step for place in steps]
    digits = 10 - math.floor(math.log10(step))  # so that three tenths are 0.3
    return [min(max(round(low + place * step, digits), low), control["high"]) for place in steps]


def _with_start(control, n):
    """Return at most `n` positions of a control, and its start, in order."""
    some = _positions(control, n)
    if control["start"] in some or control["kind"] != "slider":
        return some
    return sorted([*some, control["start"]])


def _to_png(figure):
    """Return a figure as the bytes of a PNG file."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(_DPI)
    canvas.draw()
    buffer = BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def _small(png):
    """Return a PNG file in 256 colours, the rare ones too, for pages that hold many."""
    buffer = BytesIO()
    Image.open(BytesIO(png)).quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=0).save(
        buffer, "png", optimize=True
    )
    return buffer.getvalue()
