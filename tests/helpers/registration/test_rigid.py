import numpy as np
import pytest
from textures import error, linear, pair, rotation, shift

from helpers.registration import affine, rigid, warp

SHAPES = [(72, 81), (33, 36, 40)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_rotation_and_a_shift_are_recovered(shape):
    ndim = len(shape)
    truth = linear(shape, rotation(ndim, 8)) + shift(shape, [2.3, -1.6, 0.8][:ndim])
    result = rigid(*pair(shape, truth))
    assert error(result.displacement, truth) < 0.05
    turn = np.radians(8) * (np.ones(1) if ndim == 2 else np.array([2, -1, 2]) / 3)
    np.testing.assert_allclose(result.parameters, [*[2.3, -1.6, 0.8][:ndim], *turn], atol=0.03)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_affine_map_is_recovered(shape):
    ndim = len(shape)
    matrix = rotation(ndim, 6) @ np.array([[1.1, 0.05, 0], [0, 0.93, 0.02], [0, 0, 1.04]])[:ndim, :ndim]
    truth = linear(shape, matrix) + shift(shape, [1.5, -1, 0.5][:ndim])
    result = affine(*pair(shape, truth))
    assert error(result.displacement, truth) < 0.05
    np.testing.assert_allclose(
        result.parameters[ndim:].reshape(ndim, ndim), matrix - np.eye(ndim), atol=0.005
    )


def test_a_rotation_in_mm_is_a_shear_in_anisotropic_voxels():
    shape, spacing = (90, 45), np.array([1, 2])
    matrix = rotation(2, 8) * spacing / spacing[:, None]
    fixed, moving = pair(shape, linear(shape, matrix))
    assert error(rigid(fixed, moving, spacing=spacing).displacement, linear(shape, matrix)) < 0.05
    assert error(rigid(fixed, moving).displacement, linear(shape, matrix)) > 0.3


def test_what_the_result_holds_agrees_with_itself():
    shape = (60, 65)
    fixed, moving = pair(shape, linear(shape, rotation(2, 5)))
    result = rigid(fixed, moving, levels=2)
    np.testing.assert_array_equal(result.warped, warp(moving, result.displacement))
    place = np.array([10, 50])
    np.testing.assert_allclose(
        (result.matrix @ [*place, 1])[:2], place + result.displacement[:, 10, 50], atol=1e-4
    )
    assert set(result.history["level"]) == {0, 1}
    np.testing.assert_array_equal(result.history["parameters"][0], 0)
    np.testing.assert_allclose(result.history["parameters"][-1], result.parameters)
    for level in (0, 1):
        msd = result.history["msd"][result.history["level"] == level]
        assert (np.diff(msd) <= 0).all()


def test_moving_the_image_out_of_view_does_not_pay():
    fixed = np.zeros((40, 40))
    fixed[15:25, 15:25] = 1
    assert np.abs(rigid(fixed, -fixed, levels=2).displacement).max() < 40


def test_bad_input_is_named():
    image = pair((40, 40), 0)[0]
    with pytest.raises(ValueError, match=r"shapes \(40, 40\) and \(40, 39\)"):
        rigid(image, image[:, 1:])
    with pytest.raises(ValueError, match="give 2 positive voxel sizes"):
        affine(image, image, spacing=(1, 1, 1))
