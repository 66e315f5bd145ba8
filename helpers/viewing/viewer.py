"""The viewer: one image, slice by slice, with an overlay if wanted."""

from dataclasses import replace

import numpy as np
from traitlets import TraitError, TraitType, validate

from helpers.viewing.picture import plane_colours
from helpers.viewing.slices import overlay_style
from helpers.viewing.volume import as_overlay, as_volume
from helpers.viewing.widget import VolumeWidget


class SliceViewer(VolumeWidget):
    """Look at an image slice by slice, in linked anatomical planes.

    Parameters
    ----------
    image : array_like, nibabel image, path or Volume
        Anything that `helpers.viewing.volume.as_volume` takes: 2D, 3D, 4D (time last) or colours.
        For an array whose voxel sizes are known apart, give ``as_volume(array, sampling)``.
    overlay : array_like, nibabel image, path or Volume, optional
        Mask, labels or map on the image's own grid. Labels are whole numbers of at most 64 kinds, or such
        that most neighbouring voxels (neither 0) hold the same, as in an atlas; they get a colour each. All
        else is a map, such as of z values or of a probability, also in whole numbers from 0 to 255: blue
        below zero, red above. At first a map of both signs shows its strongest tenth, one of a single sign
        all but what is weaker than a twentieth of the strongest.
    plane : {"all", "axial", "coronal", "sagittal"}
        Planes to show. "all" leaves out those in which the image is a single line of voxels.
    window : tuple of 2 floats, optional
        Lowest and highest value shown; by default the one called "automatic" under the planes: the 0.5th to
        the 99.5th percentile, of a mask or another image in which these are the same all its values. For
        images that go down to -500 or below, as only CT does, the usual CT windows are offered as well. In
        Python a window is given by its two ends: (0, 80) is CT brain, (-150, 250) CT soft tissue,
        (-1350, 150) CT lung and (-500, 1300) CT bone, in Hounsfield units.
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
        Voxel (i, j, k) at the crosshair, counted as in the array given. Python hears of a move when the
        crosshair has rested for 0.1 s, and every 0.4 s while it moves on.
    cursor_vox : tuple of 3 floats
        The same place in voxel coordinates. `index` is the voxel that holds it.
    cursor_mm : tuple of 3 floats
        The same place in the world: mm, RAS+. Without a world affine, distances from the first voxel along
        i, j and k, in mm if the voxel sizes are known, else in voxels.
    clicked : tuple of 3 ints or None
        Voxel (i, j, k) that was clicked last, or chosen with the Enter key.
    time : int
        Time point.
    window : tuple of 2 floats
        Lowest and highest value shown.
    cmap : str
        Name of a matplotlib colour map.
    opacity : float
        Of the overlay, from 0 to 1; at first 0.5 for labels, 0.7 for a map.
    threshold : float
        Values of a map closer to zero are clear.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If an argument is not usable; see also `as_volume` and `as_overlay`.
    traitlets.TraitError
        If one of the attributes is set to what it cannot be, such as a voxel outside the image.

    Notes
    -----
    All attributes work both ways: the browser sets them, and follows when they are set. Running the cell that
    made a viewer once more closes the old one and frees its memory.

    Examples
    --------
    >>> viewer = SliceViewer(np.zeros((4, 5, 6)))
    >>> viewer.index = 1, 2, 3
    >>> viewer.cursor_mm
    (1.0, 2.0, 3.0)
    """

    opacity = TraitType(0.7).tag(sync=True)
    threshold = TraitType(0.0).tag(sync=True)

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
        volume = as_volume(image)
        layers = [("image", "colour" if volume.is_colour else "intensity", volume)]
        look = {}
        self._style = None
        if overlay is not None:
            overlay = as_overlay(volume, overlay)
            self._style = overlay_style(overlay.data)
            layers.append((self._style.kind, "overlay", overlay))
            look = {"opacity": self._style.opacity, "threshold": self._style.threshold}
        if self._style is not None and self._style.kind == "map":
            look |= {"limit": self._style.limit, "extra": {"signs": list(self._style.signs)}}
        super().__init__(
            layers,
            plane=plane,
            window=window,
            cmap=cmap,
            radiological=radiological,
            title=title,
            alt=alt,
            **look,
        )

    @validate("opacity", "threshold")
    def _check_share(self, proposal):
        name = proposal.trait.name
        most = {"opacity": 1, "threshold": np.finfo(float).max}[name]
        try:
            value = float(proposal.value)
        except (TypeError, ValueError, OverflowError):
            raise TraitError(f"{name} must be a number, not {proposal.value!r}.") from None
        if not 0 <= value <= most:
            raise TraitError(f"{name} must lie between 0 and {most}, not {value:g}.")
        return value

    def _style_shown(self):
        return self._style and replace(self._style, opacity=self.opacity, threshold=self.threshold)

    def _colours(self, plane):
        volume, overlay = (*self._volumes, None)[:2]
        look = self.window, self.cmap, overlay, self._style_shown(), self._radiological
        return plane_colours(volume, plane, self.index, self.time, *look)
