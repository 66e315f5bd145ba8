"""The viewer: sliders and traits around a picture of the planes through one voxel."""

from base64 import b64encode
from dataclasses import replace
from html import escape
from operator import index as as_integer

import ipywidgets
import numpy as np
from traitlets import Any, TraitError, observe, validate

from helpers.viewing.picture import picture, to_png
from helpers.viewing.slices import (
    CT_WINDOWS,
    PLANES,
    auto_window,
    check_convention,
    check_window,
    colour_table,
    ct_window,
    data_range,
    overlay_style,
    plane_axes,
    widened,
)
from helpers.viewing.volume import AXIS_NAMES, as_overlay, as_volume

_CMAPS = ("gray", "gray_r", "viridis", "cividis", "magma")
_DIRECTIONS = {"R": "right", "L": "left", "A": "anterior", "P": "posterior", "S": "superior", "I": "inferior"}
_AIR_HU = -500  # only CT goes this far below zero, so only then are its windows offered
_BY_HAND = "by hand"

# ipywidgets' Image takes no alt text (and a tooltip breaks it), so screen readers find the text beside it.
_READOUT = """<div style='line-height: 1.5'><span style='position: absolute; width: 1px; height: 1px;
overflow: hidden; clip-path: inset(50%); white-space: nowrap'>Picture: {alt}.</span>{lines}</div>"""


class SliceViewer(ipywidgets.VBox):
    """Look at an image slice by slice, in linked anatomical planes.

    Parameters
    ----------
    image : array_like, nibabel image, path or Volume
        Anything that `helpers.viewing.volume.as_volume` takes: 2D, 3D, 4D (time last) or colours.
        For an array whose voxel sizes are known apart, give ``as_volume(array, sampling)``.
    overlay : array_like, nibabel image, path or Volume, optional
        Mask, labels or statistical map on the image's own grid.
    plane : {"all", "axial", "coronal", "sagittal"}
        Planes to show. "all" leaves out those in which the image is a single line of voxels.
    window : tuple of 2 floats, optional
        Lowest and highest value shown; by default robust percentiles.
    cmap : str
        Name of a matplotlib colour map.
    radiological : bool
        Show the patient's right on the left. By default left is left. The data and the indices stay.
    title : str, optional
        Text above the picture.
    alt : str, optional
        What the picture shows, for those who cannot see it; by default made from the image.

    Attributes
    ----------
    index : tuple of 3 ints
        Voxel (i, j, k) at the crosshair, counted as in the array given.
    cursor_vox : tuple of 3 floats
        The same place in voxel coordinates. `index` is the voxel that holds it.
    cursor_mm : tuple of 3 floats
        The same place in the world: mm, RAS+. Without a world affine, distances from the first voxel along
        i, j and k, in mm if the voxel sizes are known, else in voxels.
    time : int
        Time point.
    window : tuple of 2 floats
        Lowest and highest value shown.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If an argument is not usable; see also `as_volume` and `as_overlay`.
    traitlets.TraitError
        If one of the attributes is set to what it cannot be, such as a voxel outside the image.

    Examples
    --------
    >>> viewer = SliceViewer(np.zeros((4, 5, 6)))
    >>> viewer.index = 1, 2, 3
    >>> viewer.cursor_mm
    (1.0, 2.0, 3.0)
    """

    # Any, as the validators below make tuples and ints of numpy's arrays and numbers.
    index = Any(())
    cursor_vox = Any(())
    cursor_mm = Any(())
    time = Any(0)
    window = Any(())

    def __init__(
        self,
        image,
        overlay=None,
        *,
        plane="all",
        window=None,
        cmap="gray",
        radiological=False,
        title=None,
        alt=None,
    ):
        self._volume = as_volume(image)
        self._overlay = None if overlay is None else as_overlay(self._volume, overlay)
        self._planes = _planes_of(self._volume, plane)
        self._radiological = radiological
        self._title, self._alt = title, alt
        self._moving = False
        check_convention(self._volume, radiological)
        windows = _windows(self._volume)
        window = windows["automatic"] if window is None else check_window(window)

        self._image = ipywidgets.Image(
            format="png", layout={"max_width": "100%", "height": "auto", "align_self": "flex-start"}
        )
        self._readout = ipywidgets.HTML()
        self._sliders = _index_sliders(self._volume)
        self._time = _time_slider(self._volume)
        self._presets = windows
        self._preset, self._range = _window_controls(self._volume, windows, window)
        self._cmap = _cmap_control(cmap)
        self._style = None if self._overlay is None else overlay_style(self._overlay.data)
        self._opacity, self._threshold = _overlay_controls(self._style)
        self._controls = [*self._sliders, self._time, self._preset, self._range]
        self._controls += [self._cmap, self._opacity, self._threshold]

        super().__init__(children=self._arranged())
        self.add_class("slicewise-viewer")
        self.window = window
        self.index = tuple(size // 2 for size in self._volume.shape)
        self._redraw()
        self._connect()

    def __repr__(self):
        return f"SliceViewer({self._description()})"

    def _repr_mimebundle_(self, **kwargs):
        """Return the live view, and for readers that run nothing a still picture and its text."""
        bundle = super()._repr_mimebundle_(**kwargs)
        bundle["text/plain"] = self._description()
        bundle["image/png"] = b64encode(self._image.value).decode("ascii")
        return bundle

    def close(self):
        """Close the viewer with all its parts, so that their memory is free again."""
        unshown = getattr(self, "_controls", ())  # not there yet if an argument was refused
        for widget in [*_descendants(self), *unshown]:
            widget.close()
        super().close()

    @validate("index")
    def _check_index(self, proposal):
        try:
            index = tuple(as_integer(value) for value in proposal.value)
        except TypeError:
            raise TraitError(
                f"index must be three whole numbers (i, j, k), not {proposal.value!r}."
            ) from None
        shape = self._volume.shape
        if len(index) != 3 or not all(0 <= n < size for n, size in zip(index, shape, strict=True)):
            raise TraitError(f"There is no voxel {index}: the image has the shape {shape}.")
        return index

    @validate("cursor_vox", "cursor_mm")
    def _check_cursor(self, proposal):
        name = proposal.trait.name
        try:
            cursor = tuple(float(value) for value in proposal.value)
        except (TypeError, ValueError):
            raise TraitError(f"{name} must be three numbers, not {proposal.value!r}.") from None
        if len(cursor) != 3 or not np.isfinite(cursor).all():
            raise TraitError(f"{name} must be three finite numbers, not {cursor}.")
        vox = self._volume.to_vox(cursor) if name == "cursor_mm" else np.array(cursor)
        # Half a voxel around the outer centres still is the image; the rest is for rounding errors.
        if (vox < -0.5 - 1e-6).any() or (vox > np.array(self._volume.shape) - 0.5 + 1e-6).any():
            raise TraitError(f"{name} = {cursor} is outside the image.")
        return cursor

    @validate("time")
    def _check_time(self, proposal):
        try:
            time = as_integer(proposal.value)
        except TypeError:
            raise TraitError(f"time must be a whole number, not {proposal.value!r}.") from None
        if not 0 <= time < self._volume.n_times:
            last = self._volume.n_times - 1
            raise TraitError(f"There is no time point {time}: they run from 0 to {last}.")
        return time

    @validate("window")
    def _check_window(self, proposal):
        try:
            return check_window(proposal.value)
        except ValueError as error:
            raise TraitError(str(error)) from None

    @observe("index", "cursor_vox", "cursor_mm")
    def _move(self, change):
        """Bring the three names of the place, and the sliders, in line with the one that was set."""
        if self._moving:
            return
        if change.name == "index":
            vox = np.array(change.new, dtype=float)
        else:
            vox = np.array(change.new) if change.name == "cursor_vox" else self._volume.to_vox(change.new)
        nearest = np.clip(np.floor(vox + 0.5), 0, np.array(self._volume.shape) - 1).astype(int)
        place = {
            "index": tuple(nearest.tolist()),
            "cursor_vox": tuple(vox.tolist()),
            "cursor_mm": tuple(self._volume.to_mm(vox).tolist()),
        }
        del place[change.name]
        self._moving = True
        try:
            with self.hold_trait_notifications():
                for name, value in place.items():
                    setattr(self, name, value)
            for slider, value in zip(self._sliders, self.index, strict=True):
                slider.value = value
        finally:
            self._moving = False

    @observe("time")
    def _show_time(self, change):
        self._time.value = change.new

    @observe("window")
    def _show_window(self, change):
        low, high = change.new
        self._range.min, self._range.max = min(self._range.min, low), max(self._range.max, high)
        self._range.value = change.new
        names = (name for name, window in self._presets.items() if window == change.new)
        self._preset.value = next(names, _BY_HAND)

    def _connect(self):
        """Let controls set the traits, and let every change redraw the picture once."""
        for slider in self._sliders:
            slider.observe(self._follow_sliders, "value")
        self._time.observe(lambda change: setattr(self, "time", change.new), "value")
        self._preset.observe(self._follow_preset, "value")
        self._range.observe(self._follow_range, "value")
        self.observe(self._redraw, ("cursor_vox", "time", "window"))
        for control in (self._cmap, self._opacity, self._threshold):
            control.observe(self._redraw, "value")

    def _follow_sliders(self, _):
        if not self._moving:
            self.index = tuple(slider.value for slider in self._sliders)

    def _follow_preset(self, change):
        if change.new != _BY_HAND:
            self.window = self._presets[change.new]

    def _follow_range(self, change):
        # In the browser the slider snaps to its steps, and says so without having been touched.
        snapped = 0.51 * self._range.step
        low, high = (
            now if abs(new - now) <= snapped else new
            for new, now in zip(change.new, self.window, strict=True)
        )
        self.window = (low, high) if low < high else widened(low, high)

    def _redraw(self, _=None):
        """Draw the picture and write the read-out anew."""
        style = self._style and replace(
            self._style, opacity=self._opacity.value, threshold=self._threshold.value
        )
        self._image.value = to_png(
            picture(
                self._volume,
                self.index,
                self.time,
                planes=self._planes,
                window=self.window,
                cmap=self._cmap.value,
                overlay=self._overlay,
                style=style,
                radiological=self._radiological,
            )
        )
        self._readout.value = _READOUT.format(
            alt=escape(self._subject()), lines="<br>".join(map(escape, self._readout_lines()))
        )

    def _readout_lines(self):
        """Return the read-out's lines: where the crosshair is, and what is there."""
        volume = self._volume
        if volume.is_picture:
            place = f"row {self.index[0]}, column {self.index[1]}"
        else:
            place = f"voxel (i, j, k) = {self.index}"
        if volume.world:
            place += " at " + ", ".join(
                _coordinate(*pair) for pair in zip("xyz", self.cursor_mm, strict=True)
            )
            if volume.is_oblique:
                place += f" (slices follow the voxel grid, tilted by {volume.tilt:.0f}°)"
        elif volume.unit == "mm":
            place += " at " + ", ".join(f"{mm:.1f}" for mm in self.cursor_mm) + " mm from the first voxel"
        values = f"intensity {_value_text(volume.frame(self.time)[self.index])}"
        if volume.is_colour:
            values = f"colour {_value_text(volume.frame(self.time)[self.index])}"
        if volume.n_times > 1:
            values += f" at time point {self.time}"
        if not volume.is_colour:
            values += f"; window {self.window[0]:.4g} to {self.window[1]:.4g}"
        if self._overlay is not None:
            time = self.time if self._overlay.n_times > 1 else 0
            values += f"; overlay {_value_text(self._overlay.frame(time)[self.index])}"
        return [place, values]

    def _description(self):
        """Return all that is seen, in words."""
        return f"{'. '.join([self._subject(), *self._readout_lines()])}."

    def _subject(self):
        """Return what the picture shows, whatever the place and the time."""
        volume = self._volume
        if volume.is_picture:
            kind = "colour picture" if volume.is_colour else "picture"
            what = f"{kind} of {volume.shape[0]} rows and {volume.shape[1]} columns"
        else:
            what = " × ".join(map(str, volume.shape)) + " voxels"
            if volume.unit == "mm":
                what += " of " + " × ".join(f"{size:.3g}" for size in volume.voxel_sizes) + " mm"
            if volume.n_times > 1:
                what += f", {volume.n_times} time points"
            if volume.world:
                what += f", {_listed(self._planes)} plane" + "s" * (len(self._planes) > 1)
        overlay = {None: "", "labels": ", with labels laid over", "map": ", with a map laid over"}
        what += overlay[self._style and self._style.kind]
        return ": ".join(filter(None, (self._alt or self._title, what)))

    def _arranged(self):
        """Return the parts from top to bottom: title, picture, read-out, controls."""
        title = ipywidgets.HTML(f"<strong>{escape(self._title)}</strong>") if self._title else None
        moves = [s for s, size in zip(self._sliders, self._volume.shape, strict=True) if size > 1]
        moves += [self._time] * (self._volume.n_times > 1)
        looks = [] if self._volume.is_colour else [self._preset, self._range, self._cmap]
        looks += [self._opacity] * (self._overlay is not None)
        looks += [self._threshold] * (self._style is not None and self._style.kind == "map")
        columns = [ipywidgets.VBox(part) for part in (moves, looks) if part]
        controls = ipywidgets.HBox(columns, layout={"flex_flow": "row wrap", "grid_gap": "0 24px"})
        return [part for part in (title, self._image, self._readout, controls) if part is not None]


def _planes_of(volume, plane):
    """Return the planes to show."""
    if plane != "all":
        if plane not in PLANES:
            raise ValueError(f"plane must be all, {', '.join(PLANES[:-1])} or {PLANES[-1]}, not {plane!r}.")
        return (plane,)
    wide = tuple(
        name for name in PLANES if all(volume.shape[axis] > 1 for axis in plane_axes(volume, name)[1:])
    )
    return wide or PLANES[:1]


def _windows(volume):
    """Return the named windows offered for a volume."""
    if volume.is_colour:
        return {"automatic": (0.0, 255.0)}
    lowest, highest = data_range(volume.data)
    windows = {"automatic": auto_window(volume.data), "full range": widened(lowest, highest)}
    if lowest <= _AIR_HU:
        windows |= {name: ct_window(name) for name in CT_WINDOWS}
    return windows


_WIDE = {"width": "400px", "max_width": "100%"}
_STYLE = {"description_width": "110px"}


def _index_sliders(volume):
    """Return the sliders of i, j and k, each with the direction in which it leads."""
    names = ("row", "column", "k") if volume.is_picture else AXIS_NAMES
    toward = [f" → {letter}" for letter in volume.axis_letters] if volume.world else [""] * 3
    return [
        ipywidgets.IntSlider(
            value=size // 2, max=size - 1, description=name + way, layout=_WIDE, style=_STYLE
        )
        for name, way, size in zip(names, toward, volume.shape, strict=True)
    ]


def _time_slider(volume):
    """Return the slider of time points."""
    return ipywidgets.IntSlider(max=volume.n_times - 1, description="time point", layout=_WIDE, style=_STYLE)


def _window_controls(volume, windows, window):
    """Return the list of named windows and the slider of the window's two ends."""
    preset = ipywidgets.Dropdown(
        options=[*windows, _BY_HAND], value=_BY_HAND, description="window", layout=_WIDE, style=_STYLE
    )
    lows, highs = zip(*windows.values(), window, strict=True)
    low, high = min(lows), max(highs)
    counts = volume.data.dtype.kind in "iu" and high - low > 20
    slider = ipywidgets.FloatRangeSlider(
        value=window,
        min=low,
        max=high,
        step=1 if counts else max(high / 500 - low / 500, np.finfo(float).tiny),
        readout=False,  # too narrow for most pairs; they stand in the text
        description="from, to",
        layout=_WIDE,
        style=_STYLE,
    )
    return preset, slider


def _cmap_control(cmap):
    """Return the list of colour maps, with the one asked for."""
    colour_table(cmap)
    options = _CMAPS if cmap in _CMAPS else (*_CMAPS, cmap)
    return ipywidgets.Dropdown(
        options=options, value=cmap, description="colour map", layout=_WIDE, style=_STYLE
    )


def _overlay_controls(style):
    """Return the sliders of the overlay's opacity and threshold."""
    opacity, threshold, limit = (style.opacity, style.threshold, style.limit) if style else (0, 0, 1)
    return (
        ipywidgets.FloatSlider(
            value=opacity, max=1, step=0.05, description="overlay opacity", layout=_WIDE, style=_STYLE
        ),
        ipywidgets.FloatSlider(
            value=threshold,
            max=limit,
            step=max(limit / 100, np.finfo(float).tiny),
            readout_format=".3g",
            description="threshold ±",
            layout=_WIDE,
            style=_STYLE,
        ),
    )


def _listed(words):
    """Return words as a list in a sentence."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _coordinate(axis, mm):
    """Return a world coordinate in words, such as "x = -12.0 mm (left)"."""
    mm = round(mm, 1) + 0.0  # no minus zero
    letter = {"x": "LR", "y": "PA", "z": "IS"}[axis][mm > 0]
    return f"{axis} = {mm:.1f} mm" + (f" ({_DIRECTIONS[letter]})" if mm else "")


def _value_text(value):
    """Return a voxel's real value as text."""
    if value.dtype.names is not None:
        return ", ".join(f"{name} {value[name]}" for name in value.dtype.names)
    return f"{value:.6g}" if value.dtype.kind == "f" else str(value)


def _descendants(box):
    """Yield all widgets inside a box."""
    for child in box.children:
        if isinstance(child, ipywidgets.Box):
            yield from _descendants(child)
        yield child
