import numpy as np
import pytest

from helpers.registration import correlation, dice, iou, mae, mse, mutual_information

A = np.array([[0, 1], [2, 250]], np.uint8)
B = np.array([[1, 1], [0, 255]], np.uint8)
MASK, OTHER = np.array([1, 1, 1, 0, 0], bool), np.array([0, 1, 1, 1, 1], bool)


def test_differences_of_bytes_do_not_wrap_round():
    assert mae(A, B) == mae(B, A) == (1 + 0 + 2 + 5) / 4
    assert mse(A, B) == mse(B, A) == (1 + 0 + 4 + 25) / 4


def test_outside_the_field_of_view_does_not_count():
    moving = np.array([1.0, np.nan, 5.0])
    assert mae([0.0, 100.0, 3.0], moving) == 1.5
    assert mse([0.0, 100.0, 3.0], moving) == 2.5


def test_correlation_ignores_gain_and_offset():
    image = np.random.default_rng(0).standard_normal((20, 20))
    assert correlation(image, 3 * image + 7) == pytest.approx(1)
    assert correlation(image, -image) == pytest.approx(-1)
    assert correlation(image, np.roll(image, 5, 0)) == pytest.approx(
        np.corrcoef(image.ravel(), np.roll(image, 5, 0).ravel())[0, 1]
    )


def test_mutual_information_of_equal_images_is_the_entropy():
    image = np.repeat([0, 1, 2, 3], [8, 4, 2, 2])
    assert mutual_information(image, image) == pytest.approx(1.75 * np.log(2))


def test_mutual_information_does_not_care_for_contrast_but_for_dependence():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 8, 20000)
    recoloured = np.array([5, 1, 7, 0, 2, 6, 3, 4])[image]
    assert mutual_information(image, recoloured, bins=8) == pytest.approx(
        mutual_information(image, image, bins=8)
    )
    assert mutual_information(image, rng.permutation(image), bins=8) < 0.01


def test_overlap_of_masks():
    assert iou(MASK, OTHER) == 2 / 5
    assert dice(MASK, OTHER) == 2 * 2 / 7
    assert iou(MASK, MASK) == dice(MASK.astype(int), MASK) == 1
    assert iou(MASK, ~MASK) == dice(MASK, ~MASK) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mse(A, B[0]), "must lie on one grid"),
        (lambda: mae([np.nan, 1.0], [1.0, np.nan]), "no voxel that both images show"),
        (lambda: correlation([1, 1], [1, 2]), "constant"),
        (lambda: mutual_information(A, B, bins=1), "bins=1 must be"),
        (lambda: dice([0, 1, 2], [0, 1, 1]), "labels == 2"),
        (lambda: iou([0, 0], [0, 0]), "Both masks are empty"),
        (lambda: iou(MASK, OTHER[1:]), "must lie on one grid"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
