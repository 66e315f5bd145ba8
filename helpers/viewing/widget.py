"""What all viewers share: volumes sent to the browser once, one cursor, state that works both ways."""

from itertools import chain
from operator import index as as_integer
from pathlib import Path

import numpy as np
from IPython import get_ipython
from IPython.display import display
from traitlets import Dict, TraitError, TraitType, Unicode, observe, validate

from helpers.viewing.page import PAGE_BYTES, to_html
from helpers.viewing.picture import arrange, to_png
from helpers.viewing.portable import PortableWidget
from helpers.viewing.scene import build_scene, colours, detail, pack_layers, windows_of
from helpers.viewing.slices import (
    PLANES,
    check_convention,
    check_window,
    colour_table,
    plane_axes,
)
from helpers.viewing.words import place_words, time_words, value_words, window_words

_CMAPS = ("gray", "gray_r", "viridis", "cividis", "magma")
_HERE = Path(__file__).parent
_AT_ONCE = 2**20
"""Up to this many voxels, packed in some ten ms, are sent at once: no picture need come before them."""

# In the browser tuples are lists: sent as such, a value that comes from there is not sent back.
AS_LIST = {"sync": True, "to_json": lambda value, _: None if value is None else list(value)}


class VolumeWidget(PortableWidget):
    """Planes of one or more images on one grid, with one cursor: what all viewers have in common.

    Parameters
    ----------
    layers : sequence of (str, str, Volume)
        Role (see `scene.build_scene`), name in the read-out, and image.
    plane, window, cmap, radiological, title, alt
        As of `SliceViewer`.
    limit : float, optional
        See `scene.build_scene`.
    extra : dict, optional
        More for the browser's scene.
    **traits
        Values of the subclass's own traits.
    """

    _esm = _HERE / "viewer.js"
    _css = _HERE / "viewer.css"

    # Of any type, as the validators below make tuples and ints of numpy's arrays and numbers. (Any would let
    # None pass them.)
    index = TraitType(()).tag(**AS_LIST)
    cursor_vox = TraitType(()).tag(**AS_LIST)
    cursor_mm = TraitType(()).tag(**AS_LIST)
    clicked = TraitType(None).tag(**AS_LIST)
    time = TraitType(0).tag(sync=True)
    window = TraitType(()).tag(**AS_LIST)
    cmap = Unicode("gray").tag(sync=True)
    _cmaps = Dict().tag(sync=True)
    _scene = Dict().tag(sync=True)
    _first = Dict().tag(sync=True)  # the planes seen first, until the voxels are there
    _voxels = Dict().tag(sync=True)
    _page_traits = ("_cmaps", "_scene")  # which a web page needs besides the public ones

    def __init__(
        self, layers, *, plane, window, cmap, radiological, title, alt, limit=None, extra=None, **traits
    ):
        self._roles, self._names, self._volumes = zip(*layers, strict=True)
        self._volume = self._volumes[0]
        self._planes = _planes_of(self._volume, plane)
        self._radiological = radiological
        self._moving = False
        title, alt = (None if text is None else str(text) for text in (title, alt))
        check_convention(self._volume, radiological)
        colour_table(cmap)
        windows = windows_of(self._volume)
        window = windows["automatic"] if window is None else check_window(window)
        self._described = {
            "planes": self._planes,
            "windows": windows,
            "limit": limit,
            "radiological": radiological,
            "title": title,
            "name": alt or title,
        }
        self._extra = extra or {}
        centre = tuple(size // 2 for size in self._volume.shape)
        # Without IPython nobody says when the viewer is displayed, or a cell has ended.
        later = get_ipython() is not None and sum(volume.data.size for volume in self._volumes) > _AT_ONCE
        super().__init__(
            index=centre,
            cursor_vox=tuple(map(float, centre)),
            cursor_mm=tuple(self._volume.to_mm(centre).tolist()),
            window=window,
            cmap=cmap,
            _cmaps={name: colours(name) for name in dict.fromkeys((*_CMAPS, cmap))},
            _scene=self._build_scene(),
            _first=self._seen(centre, 0, detailed=True) if later else {},
            _voxels={} if later else self._pack(),
            **traits,
        )
        self.on_msg(self._answer)
        if later:
            at_the_end_of_the_cell(self._send_voxels)

    def __repr__(self):
        return f"{type(self).__name__}({self._words()})"

    def _repr_mimebundle_(self, **kwargs):
        if self._volume is None:
            return {"text/plain": f"a closed {type(self).__name__}"}
        return super()._repr_mimebundle_(**kwargs)

    def _ipython_display_(self):
        """Display the viewer, and only then pack and send the voxels: its first picture needs none."""
        if self._volume is None:  # ipywidgets leaves a closed widget no bundle
            return display({"text/plain": f"a closed {type(self).__name__}"}, raw=True)
        place = {"index": list(self.index), "time": self.time}
        if self._first and not place.items() <= self._first.items():  # it was moved before it was shown
            self._first = self._seen(self.index, self.time, detailed=True)
        display(self._repr_mimebundle_(), raw=True)
        self._send_voxels()

    def to_html(self):
        """Return the viewer as HTML that is live without a kernel or a network, for any web page.

        Returns
        -------
        str
            At most 2.5 MB. What is too large is made coarser, and a note under the planes says so.
        """
        if self._volume is None:
            raise ValueError(f"A closed {type(self).__name__} has no image any more: make a new one.")
        names = [name for name in self.keys if not name.startswith("_")]
        names = [name for name in names if name not in ("layout", "tabbable", "tooltip", "comm")]
        state = self.get_state([*names, *self._page_traits])
        png = self._still()
        state["_voxels"] = self._pack(PAGE_BYTES - len(png))
        return to_html("viewer.js", state, png, self._words(), self._described["title"])

    def close(self):
        """Close the viewer and free the memory of its image, in the kernel and in the browser."""
        if getattr(self, "_volume", None) is not None:  # neither closed nor half made
            # JupyterLab keeps the model of a closed widget, so leave it empty; said twice, as the model also
            # keeps its state before last.
            with self.hold_sync():
                self._scene, self._first, self._voxels = {}, {}, {}
            self.send_state("_voxels")
        super().close()
        self._volume = self._described = None
        self._volumes = ()
        self._moving = self._cross_validation_lock = True  # links that outlive the viewer may still set it

    def _layers(self):
        """Return role, name and image of each layer."""
        return tuple(zip(self._roles, self._names, self._volumes, strict=True))

    def _build_scene(self):
        """Describe the images for the browser."""
        return build_scene(self._layers(), **self._described) | self._extra

    def _pack(self, most_bytes=None):
        """Pack the voxels for the browser."""
        return pack_layers(self._layers(), most_bytes)

    def _send_voxels(self):
        """Send the voxels, unless they are there already, or nobody hears."""
        if self.comm is None or self._voxels:
            return
        with self.hold_sync():
            self._voxels = self._pack()
            self._first = {}

    def _colours(self, plane):
        """Return the colours of one plane as it is shown, (rows, columns, 3) uint8."""
        raise NotImplementedError

    @validate("index", "clicked")
    def _check_index(self, proposal):
        name = proposal.trait.name
        if name == "clicked" and proposal.value is None:
            return None
        try:
            index = tuple(as_integer(value) for value in proposal.value)
        except TypeError:
            raise TraitError(
                f"{name} must be three whole numbers (i, j, k), not {proposal.value!r}."
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
        except (TypeError, ValueError, OverflowError):
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
        if not 0 <= time < max(volume.n_times for volume in self._volumes):
            last = max(volume.n_times for volume in self._volumes) - 1
            raise TraitError(f"There is no time point {time}: they run from 0 to {last}.")
        return time

    @validate("window")
    def _check_window(self, proposal):
        try:
            return check_window(proposal.value)
        except ValueError as error:
            raise TraitError(str(error)) from None

    @validate("cmap")
    def _check_cmap(self, proposal):
        try:
            colour_table(proposal.value)
        except ValueError as error:
            raise TraitError(str(error)) from None
        if proposal.value not in self._cmaps:  # the colours must be in the browser before their name is
            self._cmaps = self._cmaps | {proposal.value: colours(proposal.value)}
        return proposal.value

    @observe("index", "cursor_vox", "cursor_mm")
    def _move(self, change):
        """Bring the three names of the place in line with the one that was set."""
        if self._moving or self._in_line():  # the browser sets all three at once
            return
        if change.name == "index":
            vox = np.array(change.new, dtype=float)
        else:
            vox = np.array(change.new) if change.name == "cursor_vox" else self._volume.to_vox(change.new)
        place = {
            "index": self._voxel_of(vox),
            "cursor_vox": tuple(vox.tolist()),
            "cursor_mm": tuple(self._volume.to_mm(vox).tolist()),
        }
        del place[change.name]
        self._moving = True
        try:
            with self.hold_sync(), self.hold_trait_notifications():
                for name, value in place.items():
                    setattr(self, name, value)
        finally:
            self._moving = False

    def _in_line(self):
        """Tell whether the three names of the place agree."""
        return self._voxel_of(self.cursor_vox) == self.index and np.allclose(
            self._volume.to_vox(self.cursor_mm), self.cursor_vox, rtol=0, atol=1e-6
        )

    def _voxel_of(self, vox):
        """Return the index of the voxel that holds voxel coordinates."""
        nearest = np.floor(np.asarray(vox) + 0.5).astype(int)
        return tuple(np.clip(nearest, 0, np.array(self._volume.shape) - 1).tolist())

    def _answer(self, _, question, __):
        """Tell the browser what the packed voxels do not: real values, and planes in full detail."""
        if self._volume is None:
            return
        seen = self._seen(tuple(question["index"]), question["time"], question["detail"])
        buffers = []
        for plane in chain.from_iterable(seen["details"]):
            plane["buffer"] = len(buffers)
            buffers.append(plane.pop("voxels"))
        self.send(seen, buffers)

    def _seen(self, index, time, detailed):
        """Return what is seen at a voxel: its values in words, and if asked for the planes in full detail."""
        details = [
            detail(volume, self._planes, index, time, self._radiological, role == "labels")
            for role, volume in zip(self._roles, self._volumes, strict=True)
            if detailed and role != "field"
        ]
        text = value_words(self._names, self._volumes, index, time)
        return {"index": list(index), "time": time, "text": text, "details": details}

    def _still(self):
        """Return a still picture of the present state as a PNG file."""
        tiles = {plane: self._colours(plane) for plane in self._planes}
        return to_png(
            arrange(
                self._volume, self.index, tiles, radiological=self._radiological, style=self._style_shown()
            )
        )

    def _style_shown(self):
        """Return the style of a map whose colours a still picture explains, or None."""
        return None

    def _windows_seen(self):
        """Return the two ends of each window through which something is seen, and if several whose it is."""
        return [] if self._volume.is_colour else [self.window]

    def _words(self):
        """Return all that is seen, in words."""
        if self._volume is None:
            return "closed"
        parts = [self._scene["subject"], place_words(self._volume, self.index, self.cursor_mm)]
        values = value_words(self._names, self._volumes, self.index, self.time)
        if self._scene["times"] > 1:
            values += f"; {time_words(self.time, self._scene['timeStep'])}"
        values += "".join(f"; {window_words(*seen)}" for seen in self._windows_seen())
        return f"{'. '.join([*parts, values])}."


def at_the_end_of_the_cell(act):
    """Call a function once, when the cell has run that is running."""
    events = get_ipython().events

    def act_once():
        events.unregister("post_execute", act_once)
        act()

    events.register("post_execute", act_once)


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
