"""Two images on one grid, compared by eye."""

import numpy as np
from traitlets import TraitError, TraitType, Unicode, validate

from helpers.viewing.picture import arrange, plane_colours, to_png
from helpers.viewing.scene import windows_of
from helpers.viewing.slices import BACKGROUND, check_window, map_colours, plane_axes, plane_slice
from helpers.viewing.volume import as_overlay, as_volume
from helpers.viewing.widget import AS_LIST, VolumeWidget

MODES = ("side by side", "blend", "checkerboard", "difference", "flicker")
_TILES = 8  # of a checkerboard, along the longer side; as in viewer.js


def compare(
    fixed,
    moving,
    *,
    mode="side by side",
    plane="all",
    window=None,
    cmap="gray",
    radiological=False,
    title=None,
):
    """Compare two images on one grid: side by side, blended, as a checkerboard, subtracted, or in turns.

    Parameters
    ----------
    fixed, moving : array_like, nibabel image, path or Volume
        Images of one shape and affine, such as a fixed image and a moving one resampled or warped onto it.
    mode : {"side by side", "blend", "checkerboard", "difference", "flicker"}
        How to begin.
    plane, cmap, radiological, title
        As of `SliceViewer`.
    window : tuple of 2 floats, optional
        Lowest and highest value shown, of both; by default robust percentiles of each.

    Returns
    -------
    Comparison
        With the attributes of `SliceViewer` (but an overlay's), ``window_moving``, ``mode``, and ``mix``, the
        share of the moving image in a blend.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If an argument is not usable, or the images lie on different grids.
    """
    return Comparison(
        fixed,
        moving,
        mode=mode,
        plane=plane,
        window=window,
        cmap=cmap,
        radiological=radiological,
        title=title,
    )


class PairWidget(VolumeWidget):
    """A fixed and a moving image on one grid, each with a window of its own.

    Parameters
    ----------
    fixed, moving : Volume
    window : tuple of 2 floats or None
        Of both; None for robust percentiles of each.
    extra : dict
        More for the browser's scene.
    **options
        As of `VolumeWidget`.
    """

    window_moving = TraitType(()).tag(**AS_LIST)

    def __init__(self, fixed, moving, *, window, extra, **options):
        windows = windows_of(moving)
        super().__init__(
            [("image", "fixed", fixed), ("moving", "moving", moving)],
            window=window,
            alt=None,
            limit=difference_limit(fixed.data, moving.data),
            extra={"windowsMoving": [[name, *ends] for name, ends in windows.items()]} | extra,
            window_moving=windows["automatic"] if window is None else window,
            **options,
        )

    @validate("window_moving")
    def _check_window_moving(self, proposal):
        try:
            return check_window(proposal.value)
        except ValueError as error:
            raise TraitError(str(error)) from None


class Comparison(PairWidget):
    """What `compare` returns; see there."""

    mode = Unicode(MODES[0]).tag(sync=True)
    mix = TraitType(0.5).tag(sync=True)

    def __init__(self, fixed, moving, *, mode, plane, window, cmap, radiological, title):
        fixed = as_volume(fixed)
        if fixed.is_colour:
            raise ValueError("compare needs images of numbers, not of colours: take one channel of each.")
        moving = as_overlay(fixed, moving, "moving image")
        if mode not in MODES:
            raise ValueError(f"mode must be {', '.join(MODES[:-1])} or {MODES[-1]}, not {mode!r}.")
        super().__init__(
            fixed,
            moving,
            plane=plane,
            window=window,
            cmap=cmap,
            radiological=radiological,
            title=title,
            extra={"modes": list(MODES)},
            mode=mode,
        )

    @validate("mode")
    def _check_mode(self, proposal):
        if proposal.value not in MODES:
            raise TraitError(f"mode must be {', '.join(MODES[:-1])} or {MODES[-1]}, not {proposal.value!r}.")
        return proposal.value

    @validate("mix")
    def _check_mix(self, proposal):
        try:
            mix = float(proposal.value)
        except (TypeError, ValueError, OverflowError):
            raise TraitError(f"mix must be a number, not {proposal.value!r}.") from None
        if not 0 <= mix <= 1:
            raise TraitError(f"mix must lie between 0 and 1, not {mix:g}.")
        return mix

    def _still(self):
        look = {"radiological": self._radiological}
        if self.mode != "side by side":
            return super()._still()
        rows = []
        for n, name in enumerate(self._names):
            tiles = {plane: self._one(n, plane) for plane in self._planes}
            rows.append(arrange(self._volume, self.index, tiles, name=name, **look))
        return to_png(np.concatenate(rows, axis=1 if len(self._planes) == 1 else 0))

    def _one(self, n, plane):
        """Return the colours of one image's plane."""
        window = (self.window, self.window_moving)[n]
        place = self.index, self.time, window, self.cmap
        return plane_colours(self._volumes[n], plane, *place, radiological=self._radiological)

    def _windows_seen(self):
        both = [(*self.window, "of fixed "), (*self.window_moving, "of moving ")]
        return [] if self.mode == "difference" else both

    def _colours(self, plane):
        fixed = self._one(0, plane)
        if self.mode == "difference":
            across = plane_axes(self._volume, plane)[0]
            values = [
                plane_slice(
                    volume,
                    plane,
                    self.index[across],
                    self.time if volume.n_times > 1 else 0,
                    self._radiological,
                ).astype(float)
                for volume in self._volumes
            ]
            return difference_colours(*values, self._described["limit"])
        return combine(fixed, self._one(1, plane), self.mode, self.mix)


def combine(fixed, moving, mode, mix=0.5):
    """Combine the colours of two images of one plane.

    Parameters
    ----------
    fixed, moving : ndarray of uint8, (rows, columns, 3)
    mode : {"side by side", "blend", "checkerboard", "flicker"}
        Flicker begins with the fixed image; a single picture side by side is the fixed one, too.
    mix : float
        Share of the moving image in a blend.

    Returns
    -------
    ndarray of uint8, (rows, columns, 3)
    """
    if mode == "blend":
        return (moving * mix + fixed * (1 - mix)).round().astype(np.uint8)
    if mode == "checkerboard":
        size = max(1, -(-max(fixed.shape[:2]) // _TILES))
        row, column = np.indices(fixed.shape[:2]) // size
        return np.where(((row + column) % 2)[..., np.newaxis], moving, fixed)
    return fixed


def difference_colours(fixed, moving, limit):
    """Return the colours of fixed - moving, (rows, columns, 3) uint8: red above zero, blue below."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = fixed - moving
    rgb = map_colours(difference, limit)
    rgb[np.isnan(difference)] = BACKGROUND
    return rgb


def difference_limit(fixed, moving):
    """Return the difference of the strongest colours: the 99.9th percentile of a million or so of voxels."""
    step = max(1, int(np.ceil((fixed.size / 1e6) ** (1 / fixed.ndim))))
    thin = (slice(None, None, step),) * min(fixed.ndim, moving.ndim)
    if fixed.ndim != moving.ndim:
        fixed = fixed[..., 0] if fixed.ndim == 4 else fixed
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(fixed[thin].astype(float) - moving[thin].astype(float))
    difference = difference[np.isfinite(difference) & (difference > 0)]
    return float(np.percentile(difference, 99.9)) if difference.size else 1.0
