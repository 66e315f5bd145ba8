"""Watch a registration while it runs, then browse what it found."""

from dataclasses import replace
from numbers import Real
from time import perf_counter, sleep

import numpy as np
from IPython import get_ipython
from traitlets import List, TraitError, TraitType, Unicode, observe, validate

from helpers.viewing.comparison import PairWidget, difference_colours, difference_limit
from helpers.viewing.picture import plane_colours
from helpers.viewing.slices import (
    auto_window,
    flips,
    map_colours,
    plane_axes,
    plane_slice,
    thinned,
    to_levels,
)
from helpers.viewing.volume import as_overlay, as_volume
from helpers.viewing.widget import at_the_end_of_the_cell

IMAGES = ("fixed", "moving", "warped", "difference", "Jacobian")
DRAWINGS = ("grid", "arrows", "update × 10", "nothing")
FOLDED = (255, 221, 0)
"""Colour of voxels in which a displacement folds; as in viewer.js."""

# A registration must neither wait for its pictures nor share the processor with them for long. So this much
# of the time is for them, and to what one takes here is added what it takes a browser on the same machine.
_SHARE = 0.06
_SHOWN = 0.022
"""Seconds of a processor that JupyterLab and Chromium were measured to take to show a picture."""
_WATCHED = 0.25
"""Seconds before the first picture: a shorter run is over before anyone has looked."""

_GRID_LINES = 32


class RegistrationMonitor(PairWidget):
    """Show how a registration goes, as the callback of `helpers.registration.demons`, and then its result.

    Parameters
    ----------
    fixed, moving : array_like, nibabel image, path or Volume
        The images that are registered, on one grid.
    plane, cmap, radiological, title
        As of `SliceViewer`.
    pause : float
        Seconds to wait at each iteration, from 0, so that one can watch a run that would be over too soon.
        All iterations are then drawn. At 0 none waits, and those are drawn for which there is time.

    Attributes
    ----------
    shown : {"warped", "fixed", "moving", "difference", "Jacobian"}
        Image shown (keys 1 to 5).
    drawn : {"grid", "arrows", "update × 10", "nothing"}
        What is drawn over it (keys G, A, U, N). The displacement pulls: a node of the fixed image's grid is
        drawn where it looks in the moving image. The update, ten times enlarged, is there during the run.
    index, cursor_vox, cursor_mm, clicked, window, window_moving
        As of `SliceViewer` and `compare`.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If the images are not usable or lie on different grids, or the pause is not a number from 0.

    Notes
    -----
    Without a pause, at most 6 % of the time is for pictures, for their making and for a browser on the same
    machine: that is two or three in a second, the first after a quarter of a second, the last when the cell
    has ended. Iterations between them are seen in the curve only. Its levels count from 0, the coarsest, as
    in the result's history.

    Examples
    --------
    >>> monitor = RegistrationMonitor(fixed, moving)  # doctest: +SKIP
    >>> display(monitor)  # doctest: +SKIP
    >>> monitor.show(demons(fixed, moving, callback=monitor))  # doctest: +SKIP
    """

    shown = Unicode("warped").tag(sync=True)
    drawn = Unicode("grid").tag(sync=True)
    _frame = TraitType(None, allow_none=True).tag(sync=True)
    _history = List().tag(sync=True)
    _page_traits = ("_cmaps", "_scene", "_history")

    def __init__(self, fixed, moving, *, plane="all", cmap="gray", radiological=False, title=None, pause=0.0):
        if not isinstance(pause, Real) or not 0 <= pause < np.inf:
            raise ValueError(f"pause={pause!r} must be a number of seconds, 0 or more.")
        fixed = as_volume(fixed)
        if fixed.is_colour or fixed.n_times > 1:  # a moving image on its grid then has neither
            raise ValueError("A registration is of two images of numbers, without time.")
        moving = as_overlay(fixed, moving, "moving image")
        self._pause = pause
        self._last = None
        self._rows = []  # of the history, of this run
        self._waits = False  # for the end of a cell, to draw what was seen last
        super().__init__(
            fixed,
            moving,
            plane=plane,
            window=None,
            cmap=cmap,
            radiological=radiological,
            title=title,
            extra={"images": list(IMAGES), "drawings": list(DRAWINGS), "limitJacobian": 1.0},
        )
        self._z_window = z_window(fixed.data)

    def __call__(self, state):
        """Take the state of an iteration, and draw it if there is time.

        Parameters
        ----------
        state : helpers.registration.demons.State

        Raises
        ------
        ValueError
            If the registration is of 2D images and the monitor's are of 3D, or the other way round.
        """
        if self._volume is None:  # closed while the registration runs, which need not end for that
            return
        shape = _space(self._volume)
        if state.warped.ndim != len(shape):
            raise ValueError(
                f"The registration is of {state.warped.ndim}D images, but the monitor's have the shape "
                f"{shape}: make a monitor of the very images that are registered."
            )
        now = perf_counter()
        if not self._rows or (state.level == 0 and state.iteration == 0):
            self._due, self._rows = now + _WATCHED, []
            if get_ipython() is not None and not self._waits:
                self._waits = True
                at_the_end_of_the_cell(self._draw_the_end)
        self._rows.append(_row(state.level, state.iteration, state.msd))
        self._last = state
        if now < self._due and not self._pause:
            return
        self._draw()
        done = perf_counter()
        self._due = done + (done - now + _SHOWN) / _SHARE
        sleep(self._pause)

    def show(self, result):
        """Show what a registration found: warped image, difference, Jacobian and displacement.

        The colours of the difference are for what is left of it, which may be little.

        Parameters
        ----------
        result : helpers.registration.demons.Demons
            Or anything with ``warped``, ``displacement`` and ``history``.

        Returns
        -------
        RegistrationMonitor
            This very one, so that a cell may end in it.

        Raises
        ------
        TypeError
            If the result lacks one of the three, or holds other voxels than real numbers.
        ValueError
            If the warped image or the displacement does not fit the images, a row of the history lacks level,
            iteration or msd, or the monitor is closed.
        """
        if self._volume is None:
            raise ValueError("This monitor is closed: make a new one to show the result.")
        warped, displacement, history = _found(result, _space(self._volume))
        from helpers.registration import jacobian  # only here: those who look need not load the algorithms

        def placed(data):
            return replace(self._volume, data=np.reshape(data, self._volume.shape))

        layers = [*self._layers()[:2], ("moving", "warped", placed(warped))]
        layers.append(("jacobian", "Jacobian", placed(jacobian(displacement))))
        axes = ("down", "right") if self._volume.is_picture else "ijk"
        for axis, component in zip(axes, displacement, strict=False):
            layers.append(("field", f"displacement {axis}", placed(component)))
        self._roles, self._names, self._volumes = zip(*layers, strict=True)
        self._described["limit"] = residual_limit(*(volume.data for volume in self._volumes[:3]))
        self._last = None
        with self.hold_sync():
            self._frame = None
            self._history = history
            self._scene, self._first, self._voxels = self._build_scene(), {}, self._pack()
        return self

    def close(self):
        """Close the monitor, and let go of the state seen last."""
        self._last = None
        super().close()

    @observe("index", "window_moving")
    def _redraw(self, _):
        """Draw the state seen last where the crosshair is now: until `show` it is all there is."""
        self._draw()

    def _draw_the_end(self):
        """Draw the state in which a run has ended, unless its result is shown already."""
        self._waits = False
        self._draw()

    @validate("shown", "drawn")
    def _check_choice(self, proposal):
        choices = {"shown": IMAGES, "drawn": DRAWINGS}[proposal.trait.name]
        if proposal.value not in choices:
            raise TraitError(f"{proposal.trait.name} must be one of {choices}, not {proposal.value!r}.")
        return proposal.value

    def _draw(self):
        """Send the state seen last, if any, and the curve up to it."""
        if self._last is None:
            return
        with self.hold_sync():
            self._history = list(self._rows)
            self._frame = self._picture_of(self._last)

    def _picture_of(self, state):
        """Return the planes through the crosshair as they are now, small enough to send often."""
        warped = state.warped.reshape(state.warped.shape + (1,) * (3 - state.warped.ndim))
        window = self._levels()
        planes = []
        for plane in self._planes:
            across = plane_axes(self._volume, plane)[0]
            level_volume = replace(self._volume, data=warped)
            index = self._nearest(across, warped.shape[across])
            cut = plane_slice(level_volume, plane, index, 0, self._radiological)
            grey = np.maximum(to_levels(cut.astype(float), *window), 1)
            grey[np.isnan(cut)] = 0  # no value, so that black begins at 1
            planes.append(
                {
                    "rows": cut.shape[0],
                    "columns": cut.shape[1],
                    "grey": np.ascontiguousarray(grey).tobytes(),
                    "displacement": self._nodes(plane, state.lattice_displacement),
                    "update": self._nodes(plane, 10 * state.lattice_update),
                }
            )
        place = {"level": state.level, "iteration": state.iteration, "index": list(self.index)}
        return place | {"planes": planes}

    def _levels(self):
        """Return the window of the z-scored images that `demons` works on.

        What it has warped is as bright as the fixed image, in whose z-scores this is: its automatic window
        where `window_moving` is the automatic one, and as much beside it otherwise. So the greys are those
        that `show` has.
        """
        _, low, high = self._extra["windowsMoving"][0]
        share = (np.array(self.window_moving) - low) / (high - low)
        z_low, z_high = self._z_window
        return tuple(z_low + share * (z_high - z_low))

    def _nearest(self, axis, size):
        """Return which of `size` slices over the whole image lies nearest to the crosshair's voxel."""
        return (2 * self.index[axis] + 1) * size // (2 * self._volume.shape[axis])

    def _nodes(self, plane, field):
        """Return the displaced nodes of a plane as shares of its width and height.

        Parameters
        ----------
        plane : str
        field : ndarray, (ndim, *nodes)
            Displacement of the nodes of a lattice over the whole image, in steps of the lattice.
        """
        nodes = field.shape[1:] + (1,) * (3 - len(field))
        across, up, along = plane_axes(self._volume, plane)
        index = self._nearest(across, nodes[across])
        turned = flips(self._volume, plane, self._radiological)
        parts = []
        for axis, turn in zip((along, up), turned[::-1], strict=True):
            component = replace(self._volume, data=field[axis].reshape(nodes))
            cut = plane_slice(component, plane, index, 0, self._radiological)
            parts.append(-cut if turn else cut)
        rows, columns = parts[0].shape
        step = max(1, -(-max(rows, columns) // _GRID_LINES))
        thin = np.arange(0, rows, step), np.arange(0, columns, step)
        x = (thin[1] + 0.5 + parts[0][np.ix_(*thin)]) / columns
        y = (thin[0][:, np.newaxis] + 0.5 + parts[1][np.ix_(*thin)]) / rows
        return {
            "x": ((thin[1] + 0.5) / columns).tolist(),
            "y": ((thin[0] + 0.5) / rows).tolist(),
            "at": np.stack([x, y], axis=-1).astype("<f4").tobytes(),
        }

    def _image_shown(self):
        """Return which image is seen, also before there is a result."""
        return self.shown if self.shown == "fixed" or len(self._volumes) > 2 else "moving"

    def _windows_seen(self):
        windows = {"fixed": [self.window], "difference": [], "Jacobian": []}
        return windows.get(self._image_shown(), [self.window_moving])

    def _colours(self, plane):
        place = self.index, self.time
        shown = self._image_shown()
        where = plane, self.index[plane_axes(self._volume, plane)[0]], 0, self._radiological
        cuts = dict(zip(self._names, self._volumes, strict=True))
        if shown == "difference":
            values = [plane_slice(cuts[name], *where).astype(float) for name in ("fixed", "warped")]
            return difference_colours(*values, self._described["limit"])
        if shown == "Jacobian":
            return jacobian_colours(plane_slice(cuts["Jacobian"], *where), self._extra["limitJacobian"])
        window = self.window if shown == "fixed" else self.window_moving
        return plane_colours(cuts[shown], plane, *place, window, self.cmap, radiological=self._radiological)


def _space(volume):
    """Return the shape of an image as registrations have it: of one slice that of a picture."""
    return volume.shape if volume.shape[2] > 1 else volume.shape[:2]


def _row(level, iteration, msd):
    """Return a row of the history for the browser, whose JSON has no NaN: None where there is no number."""
    msd = float(msd)
    return [int(level), int(iteration), msd if np.isfinite(msd) else None]


def _found(result, shape):
    """Return what is shown of a result, or say in one sentence why images of a shape have no such result.

    Returns
    -------
    warped : ndarray, (*shape)
    displacement : ndarray, (ndim, *shape)
    history : list
        Rows as of `_row`.
    """
    for name in ("warped", "displacement", "history"):
        if getattr(result, name, None) is None:
            raise TypeError(f"show needs what demons returns: this {type(result).__name__} has no {name}.")
    arrays = []
    parts = (
        ("warped image", result.warped, shape),
        ("displacement", result.displacement, (len(shape), *shape)),
    )
    for name, array, whole in parts:
        array = np.asarray(array)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"The result's {name} must hold real numbers, not values of dtype {array.dtype}.")
        if array.shape != whole:
            raise ValueError(
                f"The {name}'s shape {array.shape} does not fit the images, it must be {whole}: "
                "show the result on a monitor of the very images that were registered."
            )
        arrays.append(array)
    try:
        history = [_row(row["level"], row["iteration"], row["msd"]) for row in result.history]
    except (IndexError, KeyError, OverflowError, TypeError, ValueError):
        raise ValueError(
            "Each row of the result's history needs numbers: level, iteration and msd."
        ) from None
    return *arrays, history


def z_window(data):
    """Return the automatic window of an image in its z-scores, in which `demons` works."""
    sample = thinned(data)
    sample = sample[np.isfinite(sample)].astype(float)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, sd = (sample.mean(), sample.std()) if sample.size else (0.0, 1.0)
        return tuple((end - mean) / (sd or 1.0) for end in auto_window(data))


def residual_limit(fixed, moving, warped):
    """Return the difference of a result's strongest colours: what is left, unless that is next to nothing."""
    return max(difference_limit(fixed, warped), difference_limit(fixed, moving) / 20)


def jacobian_colours(jacobian, limit):
    """Return the colours of a Jacobian determinant: white is 1, red expands, blue shrinks, yellow folds."""
    rgb = map_colours(jacobian.astype(float) - 1, limit)
    rgb[jacobian <= 0] = FOLDED
    return rgb
