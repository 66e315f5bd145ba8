import tracemalloc
import warnings
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from imageio.core.util import Array
from phantoms import ORIENTATIONS, straight, tilted

from helpers import RegistrationMonitor, SliceViewer, compare
from helpers.viewing.volume import MOST_BYTES, as_overlay, as_volume

few = settings(max_examples=40, deadline=None)

FLAT = nib.affines.from_matvec([[1, 0, 1], [0, 1, 1], [0, 0, 0]])


def test_axes_of_a_plain_array_are_i_right_j_up_and_k_slices():
    volume = as_volume(np.zeros((4, 5, 6)))
    assert (volume.axes, volume.signs) == ((0, 1, 2), (1, 1, 1))
    assert (volume.world, volume.unit, volume.axis_letters) == (False, "voxels", None)
    np.testing.assert_array_equal(volume.to_mm([1, 2, 3]), [1, 2, 3])


def test_a_2d_array_is_a_picture_with_rows_going_down():
    volume = as_volume(np.zeros((4, 5)))
    assert volume.is_picture
    assert volume.shape == (4, 5, 1)


@pytest.mark.parametrize(
    ("shape", "kept"),
    [
        ((4, 5, 1), (4, 5, 1)),
        ((1, 5, 6), (1, 5, 6)),
        ((4, 5, 6, 1), (4, 5, 6)),
        ((4, 5, 6, 1, 7), (4, 5, 6, 7)),
        ((4, 5, 6, 7, 1, 1), (4, 5, 6, 7)),
    ],
)
def test_late_singletons_go_and_axes_in_space_stay(shape, kept):
    assert as_volume(np.zeros(shape)).data.shape == kept


def test_voxels_are_not_copied():
    data = np.zeros((4, 5, 6))
    assert np.shares_memory(as_volume(data[::-1, ::2]).data, data)


@pytest.mark.parametrize("n_channels", [3, 4])
def test_a_uint8_picture_with_channels_last_is_a_colour_picture(n_channels):
    data = np.arange(4 * 5 * n_channels, dtype=np.uint8).reshape(4, 5, n_channels)
    volume = as_volume(data)
    assert volume.is_colour
    assert volume.shape == (4, 5, 1)
    assert volume.data[2, 3, 0].tolist() == tuple(data[2, 3])


def test_three_slices_are_no_colours_if_their_sampling_or_dtype_says_so():
    data = np.zeros((4, 5, 3), dtype=np.uint8)
    assert not as_volume(data, sampling=(1, 1, 1)).is_colour
    assert not as_volume(data.astype(np.int16)).is_colour
    assert not as_volume(nib.Nifti1Image(data, np.eye(4))).is_colour


def test_colour_volumes_are_structured():
    data = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    volume = as_volume(nib.Nifti1Image(data, np.eye(4)))
    assert volume.is_colour
    assert volume.shape == (4, 5, 6)


def test_sampling_is_slice_row_column():
    volume = as_volume(np.zeros((4, 5, 6)), sampling=(3, 1, 2))
    assert (volume.axes, volume.signs) == ((2, 1, 0), (1, -1, -1))
    assert volume.unit == "mm"
    np.testing.assert_allclose(volume.voxel_sizes, [3, 1, 2])
    np.testing.assert_allclose(volume.to_mm([1, 1, 1]), [3, 1, 2])


def test_imageio_brings_its_sampling():
    stack = Array(np.zeros((4, 5, 6)), {"sampling": (3.0, 1.0, 2.0), "shape": (4, 5, 6)})
    np.testing.assert_allclose(as_volume(stack).voxel_sizes, [3, 1, 2])
    np.testing.assert_allclose(as_volume(stack[:2, 1:]).voxel_sizes, [3, 1, 2])
    np.testing.assert_allclose(as_volume(stack[0]).voxel_sizes[:2], [1, 2])
    with pytest.raises(ValueError, match="axes have moved"):
        as_volume(stack.T)
    assert as_volume(np.asarray(stack.T)).unit == "voxels"


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_any_orientation_is_known_and_left_as_stored(codes):
    img = straight(codes)
    volume = as_volume(img)
    assert volume.axis_letters == tuple(codes)
    np.testing.assert_array_equal(volume.data, np.asanyarray(img.dataobj))
    for display, (axis, sign) in enumerate(zip(volume.axes, volume.signs, strict=True)):
        assert codes[axis] == ("LR", "PA", "IS")[display][sign > 0]


def test_tilt_is_measured():
    assert as_volume(straight()).tilt == pytest.approx(0, abs=1e-5)
    assert not as_volume(straight("PIR")).is_oblique
    assert as_volume(tilted("LAS", 20)).is_oblique
    assert as_volume(tilted("LAS", 20)).tilt == pytest.approx(22.2, abs=1)


def test_world_and_voxels_are_inverse():
    volume = as_volume(tilted("PIR", 30))
    vox = np.random.default_rng(0).uniform(-5, 20, (10, 3))
    np.testing.assert_allclose(volume.to_vox(volume.to_mm(vox)), vox)


def test_a_path_is_read(tmp_path):
    path = tmp_path / "brain.nii.gz"
    straight("LPS").to_filename(path)
    for place in (path, str(path)):
        assert as_volume(place).axis_letters == ("L", "P", "S")


def test_a_nifti_file_without_form_codes_has_sizes_but_no_world(tmp_path):
    img = straight()
    img.header["sform_code"] = img.header["qform_code"] = 0
    volume = as_volume(img)
    assert (volume.world, volume.unit) == (False, "mm")
    np.testing.assert_allclose(volume.voxel_sizes, [2, 3, 4])
    assert not as_volume(nib.Nifti1Image(np.zeros((3, 4, 5)), None)).world


def test_an_image_is_not_cached_by_looking(tmp_path):
    straight().to_filename(tmp_path / "a.nii")
    img = nib.load(tmp_path / "a.nii")
    as_volume(img)
    assert not img.in_memory


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (3.0, ValueError, "2 to 4 axes"),
        (np.zeros(5), ValueError, "2 to 4 axes, but this array has 1: reshape it to"),
        (np.zeros((2, 3, 4, 5, 6)), ValueError, r"shape is \(2, 3, 4, 5, 6\)"),
        (np.zeros((0, 4, 5)), ValueError, r"empty: its shape is \(0, 4, 5\), so look at"),
        (SimpleNamespace(image=np.zeros((3, 4)), paths=[]), TypeError, r"not an array: take its \.image\."),
        (SimpleNamespace(image=None, paths=["a.dcm"]), TypeError, r"take one of its \.paths\."),
        ([Path("a.nii"), Path("b.nii")], TypeError, "a list of 2 paths: give one of them, or read them"),
        (("a.nii", "b.nii", "c.nii"), TypeError, "a list of 3 paths"),
        (np.zeros((3, 4), dtype=object), TypeError, "must hold numbers"),
        (np.full((3, 4), "a"), TypeError, "must hold numbers"),
        (np.zeros((3, 4), dtype="M8[s]"), TypeError, "must hold numbers"),
        (None, TypeError, "must hold numbers"),
        ([[1, 2], [3]], TypeError, "ragged"),
        (np.zeros((3, 4), dtype=complex), TypeError, "image is complex"),
        (np.zeros((3, 4), dtype=[("x", "f4")]), TypeError, "must be colours"),
        (nib.Nifti1Image(np.zeros((3, 4, 5)), FLAT), ValueError, "singular"),
        ("no/such/file.nii", FileNotFoundError, "no image file"),
    ],
)
def test_bad_images_get_one_sentence(image, error, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=words) as caught:
            as_volume(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sampling", [(1, 1), (1, 1, 1, 1), (1, 1, 0), (1, -1, 1), (1, 1, np.nan), 2.0])
def test_bad_sampling_gets_one_sentence(sampling):
    with pytest.raises(ValueError, match="3 positive mm"):
        as_volume(np.zeros((4, 5, 6)), sampling=sampling)


@pytest.mark.parametrize(
    "sampling",
    ["abc", (1, "a", 1), [1, [2, 3]], {"row": 1}, (1, 1, 10**400)],
    ids=["text", "text in it", "ragged", "dict", "beyond floats"],
)
def test_a_sampling_of_no_numbers_is_shown_as_it_was_given(sampling):
    with pytest.raises(ValueError, match="3 positive mm") as caught:
        as_volume(np.zeros((4, 5, 6)), sampling=sampling)
    assert str(caught.value).endswith(f", not {sampling!r}.")


@pytest.mark.parametrize("sampling", [3, "abc", np.nan, (1, 2, "x")])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6)])
def test_a_bad_sampling_in_a_files_header_gets_one_sentence(shape, sampling):
    with pytest.raises(ValueError, match=f"The sampling must be {len(shape)} positive mm"):
        as_volume(Array(np.zeros(shape), {"sampling": sampling}))


@pytest.mark.parametrize("image", [straight(), as_volume(np.zeros((4, 5, 6)))], ids=["nibabel", "Volume"])
def test_sampling_beside_an_affine_is_refused(image):
    with pytest.raises(ValueError, match="brings its own"):
        as_volume(image, sampling=(1, 1, 1))


def test_files_that_are_no_image_get_one_sentence(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "cut.nii.gz").write_bytes(b"")
    straight().to_filename(tmp_path / "cut.nii")
    (tmp_path / "cut.nii").write_bytes((tmp_path / "cut.nii").read_bytes()[:500])
    for name, words in (("notes.txt", "no format"), (".", "no format"), ("cut.nii", "cut short")):
        with pytest.raises(ValueError, match=words):
            as_volume(tmp_path / name)
    with pytest.raises(ValueError, match="no format"):
        as_volume(tmp_path / "cut.nii.gz")


def changed(raw, at, number):
    """Return the bytes of a file with another 16-bit number at a place."""
    return raw[:at] + number.to_bytes(2, "little") + raw[at + 2 :]


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("cut.nii", lambda raw: raw[:2000], "damaged or cut short"),
        ("cut.mgz", lambda raw: raw[: len(raw) // 2], "damaged or cut short"),
        ("datatype.nii", lambda raw: changed(raw, 70, 999), "damaged"),
        ("dimensions.nii", lambda raw: changed(raw, 40, 9), "damaged"),
        ("mesh.gii", lambda raw: raw, "holds a GiftiImage, which is no image of voxels"),
    ],
)
def test_damaged_files_get_one_line(name, damage, words, tmp_path):
    path = tmp_path / name
    voxels = np.random.default_rng(0).normal(size=(9, 11, 7)).astype(np.float32)
    if path.suffix == ".gii":
        nib.save(nib.gifti.GiftiImage(), path)
    else:
        kind = nib.MGHImage if path.suffix == ".mgz" else nib.Nifti1Image
        nib.save(kind(voxels, np.eye(4)), path)
    path.write_bytes(damage(path.read_bytes()))
    assert_refused(words, path)
    assert_refused(words, np.zeros((9, 11, 7)), path)


def test_dicom_is_named_and_what_reads_it(tmp_path):
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "0001").write_bytes(bytes(128) + b"DICM" + bytes(400))
    for path in (tmp_path / "series" / "0001", tmp_path / "series", str(tmp_path)):
        with pytest.raises(ValueError, match=r"is DICOM.*imread\(path, plugin=.*dicom\.assemble\(paths\)"):
            as_volume(path)


def test_overlays_lie_on_the_images_grid():
    img = straight("LPS")
    volume = as_volume(img)
    for overlay in (img, np.asanyarray(img.dataobj) > 0, volume):
        assert as_overlay(volume, overlay).axes == volume.axes


@pytest.mark.parametrize(
    ("overlay", "words"),
    [
        (np.zeros((2, 2, 2)), r"\(2, 2, 2\) is not the image's \(9, 11, 7\): crop, pad or resample it"),
        (np.zeros((9, 11)), r"\(9, 11\) is not the image's"),
        (nib.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)), "nilearn.image.resample_to_img"),
        (np.zeros((9, 11, 7, 4)), "is not the image's"),
        (nib.Nifti1Image(np.zeros((9, 11, 7)), np.eye(4)), "different places"),
        (np.zeros((9, 11, 7), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), "not colours"),
    ],
)
def test_overlays_on_another_grid_get_one_sentence(overlay, words):
    with pytest.raises(ValueError, match=words):
        as_overlay(as_volume(straight()), overlay)


def test_pictures_of_other_shapes_are_told_as_they_were_given():
    with pytest.raises(ValueError, match=r"shape \(4, 5\) is not the image's \(5, 4\): crop") as caught:
        as_overlay(as_volume(np.zeros((5, 4))), np.zeros((4, 5)))
    assert "nilearn" not in str(caught.value)
    with pytest.raises(ValueError, match=r"shape \(4, 5\) is not the image's \(5, 4\)"):
        as_overlay(as_volume(np.zeros((5, 4))), as_volume(np.zeros((4, 5))))


def test_a_data_set_is_no_overlay():
    with pytest.raises(
        TypeError, match=r"The overlay is a SimpleNamespace, not an array: take its \.image\."
    ):
        as_overlay(as_volume(np.zeros((3, 4))), SimpleNamespace(image=np.zeros((3, 4))))


def test_swapped_sides_are_seen_where_voxels_are_tiny():
    image, swapped = (
        nib.Nifti1Image(np.zeros((9, 11, 7)), np.diag([sign * 1e-4, 1e-4, 1e-4, 1])) for sign in (1, -1)
    )
    with pytest.raises(ValueError, match="affine is not the image's"):
        as_overlay(as_volume(image), swapped)
    assert as_overlay(as_volume(image), image).axis_letters == ("R", "A", "S")


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (np.zeros((4, 5), complex), TypeError, " is complex"),
        (nib.Nifti1Image(np.zeros((4, 5, 1), complex), np.eye(4)), TypeError, " is complex"),
        (np.ma.array(np.zeros((4, 5), complex)), TypeError, " is complex"),
        (np.full((4, 5), "a"), TypeError, " must hold numbers"),
        (np.ma.array(np.full((4, 5), "a")), TypeError, " must hold numbers"),
        (np.zeros((4, 5), [("x", "f4")]), TypeError, "'s structured voxels must be colours"),
        ([[1, 2], [3]], TypeError, " is a ragged sequence"),
        (["a.nii", "b.nii"], TypeError, " is a list of 2 paths"),
        (np.zeros((0, 5)), ValueError, " is empty"),
        (np.zeros(4), ValueError, " must have 2 to 4 axes"),
        (np.zeros((2, 2, 2, 2, 2)), ValueError, " must have 2 to 4 axes"),
        (np.broadcast_to(0.0, (2000, 2000, 2000)), ValueError, " of shape (2000, 2000, 2000) would take"),
        (nib.Nifti1Image(np.zeros((4, 5, 1)), FLAT), ValueError, "'s affine is singular"),
    ],
)  # fmt: skip
def test_errors_name_the_image_that_is_meant(bad, error, words):
    image = np.zeros((4, 5))
    for make, name in (
        (SliceViewer, "image"),
        (lambda bad: SliceViewer(image, bad), "overlay"),
        (lambda bad: compare(image, bad), "moving image"),
        (lambda bad: RegistrationMonitor(image, bad), "moving image"),
    ):
        with pytest.raises(error) as caught:
            make(bad)
        message = str(caught.value)
        assert message.startswith(f"The {name}{words}")
        assert "\n" not in message and message.endswith(".")


def test_overlays_may_move_with_the_image():
    volume = as_volume(np.zeros((3, 4, 5, 6)))
    assert as_overlay(volume, np.zeros((3, 4, 5, 6))).n_times == 6
    assert as_overlay(volume, np.zeros((3, 4, 5))).n_times == 1


@pytest.mark.parametrize(
    ("unit", "zoom", "seconds"),
    [("sec", 2.5, 2.5), ("msec", 50, 0.05), ("usec", 500, 5e-4), ("unknown", 2.5, None), ("hz", 2.5, None),
     ("sec", 0, None)],
)  # fmt: skip
def test_seconds_are_known_where_a_header_says_that_they_are_seconds(unit, zoom, seconds):
    img = nib.Nifti1Image(np.zeros((3, 4, 5, 6), np.uint8), np.eye(4))
    img.header.set_xyzt_units("mm", unit)
    img.header["pixdim"][4] = zoom
    for placed in (True, False):
        img.header["sform_code"] = placed
        assert as_volume(img).time_step == (seconds and pytest.approx(seconds))
    assert as_volume(img.slicer[..., :1]).time_step is None
    assert as_volume(np.zeros((3, 4, 5, 6))).time_step is None


@pytest.mark.parametrize(("shape", "axis"), [((3, 4, 5, 1, 6), 4), ((3, 4, 5, 6, 1), 3)])
def test_seconds_are_those_of_the_axis_that_is_time(shape, axis):
    img = nib.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4))
    img.header.set_xyzt_units("mm", "sec")
    img.header["pixdim"][1 + axis] = 2.5
    volume = as_volume(img)
    assert (volume.n_times, volume.time_step) == (6, 2.5)
    assert as_overlay(volume, np.zeros((3, 4, 5, 6))).time_step == 2.5


def test_a_header_with_an_unheard_of_unit_of_time_has_no_seconds():
    img = nib.Nifti1Image(np.zeros((3, 4, 5, 6), np.uint8), np.eye(4))
    img.header["xyzt_units"] = 58
    assert as_volume(img).time_step is None


def test_a_uint8_mask_of_three_slices_is_no_colour():
    assert not as_overlay(as_volume(np.zeros((4, 5, 3))), np.ones((4, 5, 3), np.uint8)).is_colour


def test_masked_values_are_no_number():
    masked = np.ma.masked_less(np.arange(6).reshape(2, 3), 2)
    assert np.isnan(as_volume(masked).data[0, :2, 0]).all()


LONG = (np.linspace(-1, 1, 60) * np.finfo(np.longdouble).max).astype(np.longdouble).reshape(3, 4, 5)


@pytest.mark.parametrize(
    "data",
    [
        LONG,
        np.ma.masked_less(LONG, 0),
        np.ma.masked_less(np.arange(60.0).reshape(3, 4, 5) / 7, 2),
        np.ma.masked_all((3, 4, 5)),
        np.ma.masked_less(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), 9),
    ],
    ids=["longdouble", "masked longdouble", "masked floats", "all masked", "masked bytes"],
)
@pytest.mark.filterwarnings("error")
def test_long_and_masked_numbers_are_drawn_as_image_and_as_overlay(data):
    masked = np.broadcast_to(np.ma.getmaskarray(data), data.shape)
    for viewer in (SliceViewer(data), SliceViewer(np.zeros((3, 4, 5)), data)):
        found = viewer._volumes[-1].data
        assert found.dtype == np.float64
        np.testing.assert_array_equal(np.isnan(found), masked)
        assert viewer._still() and viewer.to_html()


# Bad input, drawn by hypothesis: one sentence, whatever it is.


def assert_refused(words, *args, error=ValueError):
    """Assert that a viewer of these refuses them in one sentence."""
    with pytest.raises(error) as caught:
        SliceViewer(*args)
    message = str(caught.value)
    assert words in message
    assert message.endswith(".")
    assert "\n" not in message
    assert type(caught.value) is error


sides = st.integers(1, 4)
dtypes = st.one_of(hnp.integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes())


@few
@given(st.lists(sides, max_size=1), dtypes)
def test_too_few_axes_are_refused(shape, dtype):
    assert_refused(f"this array has {len(shape)}", np.zeros(shape, dtype))


@few
@given(st.lists(sides, min_size=3, max_size=3), st.lists(st.integers(2, 4), min_size=2, max_size=3), dtypes)
def test_too_many_axes_are_refused(space, late, dtype):
    assert_refused(f"this shape is {(*space, *late)}", np.zeros((*space, *late), dtype))


@few
@given(st.lists(sides, min_size=1, max_size=4), st.data(), dtypes)
def test_empty_images_are_refused(shape, data, dtype):
    shape[data.draw(st.integers(0, len(shape) - 1))] = 0
    assert_refused("is empty", np.zeros(shape, dtype))


@few
@given(
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=4),
    st.one_of(
        hnp.complex_number_dtypes(),
        hnp.unicode_string_dtypes(),
        hnp.datetime64_dtypes(),
        st.just(np.dtype("O")),
    ),
)
def test_other_voxels_than_numbers_are_refused(shape, dtype):
    words = "image is complex" if dtype.kind == "c" else f"not values of dtype {dtype}"
    assert_refused(words, np.zeros(shape, dtype), error=TypeError)


@few
@given(st.lists(sides, min_size=3, max_size=3), st.integers(0, 2), st.booleans())
def test_overlays_of_another_shape_are_refused(shape, axis, is_time):
    other = [*shape, 2] if is_time else [n + (m == axis) for m, n in enumerate(shape)]
    assert_refused("crop, pad or resample it", np.zeros(shape), np.zeros(other))


@few
@given(hnp.arrays(float, (3, 3), elements=st.integers(-3, 3)), st.integers(0, 2), st.booleans())
def test_affines_that_cannot_be_inverted_are_refused(matrix, row, is_nan):
    matrix[row] = np.nan if is_nan else matrix[row - 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel's own words on such an affine
        img = nib.Nifti1Image(np.zeros((3, 4, 5)), np.eye(4))
        img._affine = nib.affines.from_matvec(matrix, [1, 2, 3])
        assert_refused("singular or not finite", img)


# Memory.


def huge(path, shape, dtype, slope):
    """Write a NIfTI file of which only the header takes room on the disk."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_sform(np.eye(4), 1)
    header["scl_slope"], header["vox_offset"] = slope, 352
    header["magic"] = b"n+1"
    path.write_bytes(header.binaryblock)
    with path.open("r+b") as file:
        file.truncate(352 + np.prod(shape) * np.dtype(dtype).itemsize)
    return nib.load(path)


@pytest.mark.parametrize(
    ("shape", "dtype", "slope", "words"),
    [
        ((1000, 1000, 1000), np.int16, 2, "would take 7.5 GiB of memory as float64"),
        ((2000, 2000, 1200), np.int16, 1, "would take 8.9 GiB of memory as int16"),
        ((1000, 1000, 1000, 3), np.uint8, 0.5, "would take 22.4 GiB of memory as float64"),
    ],
)
def test_files_beyond_the_budget_are_refused_unread(shape, dtype, slope, words, tmp_path):
    img = huge(tmp_path / "huge.nii", shape, dtype, slope)
    tracemalloc.start()
    assert_refused(words, img)
    assert_refused(words, tmp_path / "huge.nii")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6
    assert not img.in_memory


def test_what_the_refusal_advises_works(tmp_path):
    img = huge(tmp_path / "huge.nii", (3000, 3000, 800), np.int16, 2)  # 54 GiB
    assert_refused("at most 4 GiB are shown: take a part of it, for example img.slicer[::3, ::3, ::3]", img)
    assert np.prod([1000, 1000, 267]) * 8 < MOST_BYTES


def test_arrays_beyond_the_budget_are_refused_unread():
    class File:
        """As h5py and zarr have arrays."""

        shape, dtype = (2000, 2000, 2000), np.dtype(np.uint8)

        def __array__(self, dtype=None, copy=None):
            raise MemoryError

    assert_refused("would take 7.5 GiB of memory as uint8", File())
    seen = np.broadcast_to(np.float32(1), (2000, 2000, 2000))
    assert_refused("for example image[::2, ::2, ::2]", seen)
    assert_refused("as float64", np.broadcast_to(np.int8(1), (1000, 1000, 600)).view(np.ma.MaskedArray))


def test_the_budget_ends_where_it_says(monkeypatch):
    monkeypatch.setattr("helpers.viewing.volume.MOST_BYTES", 4 * 5 * 6 * 8)
    assert as_volume(np.zeros((4, 5, 6))).shape == (4, 5, 6)
    assert as_volume(nib.Nifti1Image(np.zeros((4, 5, 6)), np.eye(4))).shape == (4, 5, 6)
    for one_more in (np.zeros((4, 5, 7)), nib.Nifti1Image(np.zeros((4, 5, 7)), np.eye(4))):
        assert_refused("GiB", one_more)
    assert_refused("GiB", np.zeros((4, 5, 6), np.int8), np.zeros((4, 5, 7)))
