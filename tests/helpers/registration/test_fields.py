import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi
from scipy.linalg import expm
from textures import error, linear, rotation, shift, texture

from helpers.registration import compose, exponential, identity, invert, jacobian, resample, warp
from helpers.registration.fields import matched

SHAPES = [(40, 47), (22, 25, 28)]


def wavy(shape, size=2.0):
    """Return a smooth displacement that does not fold."""
    points = np.indices(shape, float)
    return np.stack([size * np.sin(2 * np.pi * points[a - 1] / shape[a - 1]) for a in range(len(shape))])


@pytest.mark.parametrize("shape", SHAPES)
def test_warping_pulls_back(shape):
    image = np.zeros(shape)
    image[(12,) * len(shape)] = 1
    warped = warp(image, shift(shape, [2] + [0] * (len(shape) - 1)))
    assert np.unravel_index(np.nanargmax(warped), shape) == (10, *(12,) * (len(shape) - 1))


def test_warping_by_half_a_voxel_takes_the_mean():
    image = np.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(warp(image, shift(image.shape, [0, 0.5]))[:, :-1], image[:, :-1] + 0.5)


def test_beyond_half_a_voxel_from_the_outermost_centres_is_outside():
    image = np.ones((4, 5))
    assert not np.isnan(warp(image, shift(image.shape, [0.5, 0]))).any()
    np.testing.assert_array_equal(np.isnan(warp(image, shift(image.shape, [0.51, 0])))[:, 0], [0, 0, 0, 1])
    np.testing.assert_array_equal(warp(image, shift(image.shape, [0, -1]), outside=-7)[0], [-7, 1, 1, 1, 1])


def test_labels_stay_labels_at_order_0():
    labels = np.random.default_rng(0).integers(0, 5, (20, 21))
    warped = warp(labels, wavy(labels.shape), order=0, outside=0)
    assert set(np.unique(warped)) <= set(range(5))


def test_a_cubic_spline_is_closer_than_a_linear_one():
    shape = (40, 41)
    moved = wavy(shape)
    truth = texture(np.indices(shape) + moved)
    linear_error, cubic_error = (np.nanmean(np.abs(warp(texture(np.indices(shape)), moved, order=n) - truth))
                                 for n in (1, 3))  # fmt: skip
    assert cubic_error < 0.2 * linear_error


@pytest.mark.parametrize(
    ("dtype", "expected"), [("u1", "f4"), ("i2", "f4"), ("f4", "f4"), ("f8", "f8"), (bool, "f4")]
)
def test_dtype_of_warped_images(dtype, expected):
    assert warp(np.ones((4, 5), dtype), shift((4, 5), [0, 0])).dtype == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_composing_linear_maps_multiplies_their_matrices(shape):
    a, b = rotation(len(shape), 10), np.diag(np.linspace(0.9, 1, len(shape)))
    both = compose(linear(shape, a), linear(shape, b))
    assert error(both, linear(shape, a @ b)) < 1e-4


def test_warping_by_a_composition_is_warping_twice():
    shape = (50, 60)
    image, first, then = texture(np.indices(shape)), wavy(shape), linear(shape, rotation(2, 5))
    twice = warp(warp(image, first, order=3, outside=0), then, order=3)
    once = warp(image, compose(first, then), order=3)
    assert np.nanmax(np.abs(twice - once)[8:-8, 8:-8]) < 0.05 * image.std()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["rotation", "zoom", "shift"])
def test_inverse_of_known_maps(shape, kind):
    ndim = len(shape)
    matrix = {
        "rotation": rotation(ndim, 12),
        "zoom": np.diag([1.2, 0.85, 1.1][:ndim]),
        "shift": np.eye(ndim),
    }[kind]
    move = [1.3, -2.2, 0.4][:ndim] if kind == "shift" else [0] * ndim
    inverse = invert(linear(shape, matrix) + shift(shape, move))
    assert error(inverse, linear(shape, np.linalg.inv(matrix)) - shift(shape, move)) < 5e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_inverse_undoes_on_both_sides(shape):
    displacement = wavy(shape)
    inverse = invert(displacement)
    assert np.abs(compose(displacement, inverse)).max() < 1e-3
    assert error(compose(inverse, displacement), 0) < 0.05


def test_inverse_of_a_strong_stretch():
    shape = (60, 60)
    stretch = linear(shape, np.diag([3.5, 1]))  # plain fixed-point iteration diverges
    assert error(invert(stretch), linear(shape, np.diag([1 / 3.5, 1]))) < 5e-3


def test_a_fold_has_no_inverse():
    with pytest.raises(ValueError, match="folds"):
        invert(linear((20, 20), np.diag([-1, 1])))


def test_an_inverse_that_is_not_reached_is_an_error():
    with pytest.raises(ValueError, match="more iterations or a larger tolerance"):
        invert(wavy((30, 30)), tolerance=1e-9, iterations=3)


@pytest.mark.parametrize("ndim", [2, 3])
def test_exponential_of_a_linear_velocity_is_the_matrix_exponential(ndim):
    shape = (48, 50) if ndim == 2 else (30, 31, 32)
    rate = np.array([[0.1, -0.25, 0.05], [0.2, -0.1, 0.1], [0, 0.1, 0.05]])[:ndim, :ndim]
    flow = exponential(linear(shape, np.eye(ndim) + rate))
    assert error(flow, linear(shape, expm(rate)), margin=10) < 0.02


def test_exponential_agrees_with_its_series():
    velocity = wavy((60, 60), 0.4)
    v_dv = sum(velocity[a] * np.gradient(velocity, axis=a + 1) for a in range(2))
    series = velocity + v_dv / 2 + sum(velocity[a] * np.gradient(v_dv, axis=a + 1) for a in range(2)) / 6
    np.testing.assert_allclose(exponential(velocity)[:, 3:-3, 3:-3], series[:, 3:-3, 3:-3], atol=2e-3)
    inner = (slice(None), slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(exponential(-velocity)[inner], invert(exponential(velocity))[inner], atol=3e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_jacobian_of_a_linear_map_is_its_determinant(shape):
    matrix = rotation(len(shape), 20) @ np.diag(np.linspace(0.7, 1.3, len(shape)))
    np.testing.assert_allclose(jacobian(linear(shape, matrix)), np.linalg.det(matrix), atol=1e-4)


def test_jacobian_tells_a_mirror_from_a_turn():
    assert jacobian(linear((20, 20), np.diag([-1, 1]))).max() < 0
    assert jacobian(linear((20, 20), np.diag([-1, -1]))).min() > 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=2, max_size=3), st.data())
def test_a_linear_map_is_resampled_to_the_same_map(shape, data):
    new = tuple(data.draw(st.integers(2, 30)) for _ in shape)
    matrix = np.diag([0.9, 1.2, 1.05][: len(shape)])
    # Beyond the outermost centres a field goes on as at the border: compare where there is something between.
    margins = [int(np.ceil(n / m / 2 + 0.5)) for m, n in zip(shape, new, strict=True)]
    inside = [slice(margin, n - margin) for margin, n in zip(margins, new, strict=True)]
    resampled, truth = resample(linear(shape, matrix), new), linear(new, matrix)
    np.testing.assert_allclose(resampled[(slice(None), *inside)], truth[(slice(None), *inside)], atol=1e-4)


def test_resampling_keeps_the_centre_in_place():
    field = np.zeros((2, 129, 129), np.float32)
    field[:, 64, 64] = 1
    coarse = resample(ndi.gaussian_filter(field, (0, 6, 6)), (65, 65))
    np.testing.assert_allclose(ndi.center_of_mass(coarse[0]), (32, 32), atol=1e-3)


def test_identity_holds_coordinates():
    assert identity((3, 4))[:, 2, 3].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: warp(np.ones((4, 5)), np.zeros((3, 4, 5, 6))), "3 components cannot warp an image of 2 dim"),
        (lambda: warp(np.ones((4, 5)), np.zeros((4, 5))), "first axis holds the components"),
        (
            lambda: warp(np.full((4, 5), np.nan), np.zeros((2, 4, 5)), order=3),
            "which a spline of order 3 spreads",
        ),
        (lambda: compose(np.zeros((2, 4, 5)), np.zeros((2, 5, 4))), "both lie on one grid"),
        (lambda: resample(np.zeros((2, 4, 5)), (4, 5, 6)), "2 components cannot have the grid"),
        (lambda: jacobian(np.zeros((1, 4))), "A displacement has the shape"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_brightness_is_matched_where_the_images_overlap():
    fixed = texture(np.indices((30, 33))).astype(np.float32)
    moving = (40 + 3 * fixed).astype(np.float32)
    warped = moving.copy()
    warped[:5] = np.nan
    fixed[:5] = 1000  # not seen by the moving image
    moving, warped = matched(moving, warped, fixed)
    np.testing.assert_allclose(warped[5:], fixed[5:], atol=1e-4)
    np.testing.assert_allclose(moving[5:], fixed[5:], atol=1e-4)
    assert np.isnan(warped[:5]).all()


@pytest.mark.parametrize("value", [7, np.nan])
def test_brightness_without_contrast_or_overlap_is_left_alone(value):
    fixed = texture(np.indices((9, 8))).astype(np.float32)
    moving, warped = 2 * fixed, np.full((9, 8), value, np.float32)
    for result, image in zip(matched(moving, warped, fixed), (moving, warped), strict=True):
        np.testing.assert_array_equal(result, image)
