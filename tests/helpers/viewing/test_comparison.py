from base64 import b64decode
from io import BytesIO

import nibabel as nib
import numpy as np
import pytest
import traitlets
from phantoms import straight
from PIL import Image

from helpers import compare
from helpers.viewing.comparison import MODES, combine, difference_colours, difference_limit
from helpers.viewing.slices import BACKGROUND

RNG = np.random.default_rng(0)
FIXED = RNG.integers(0, 200, (9, 8, 7)).astype(np.int16)
MOVING = RNG.integers(0, 90, (9, 8, 7)).astype(np.int16)


def still(viewer):
    return np.asarray(Image.open(BytesIO(b64decode(viewer._repr_mimebundle_()["image/png"]))).convert("RGB"))


def test_each_image_has_its_window():
    viewer = compare(FIXED, MOVING)
    assert viewer.window[1] > viewer.window_moving[1]
    both = compare(FIXED, MOVING, window=(3, 40))
    assert both.window == both.window_moving == (3, 40)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_a_still_picture_and_a_page(mode):
    viewer = compare(FIXED, MOVING, mode=mode, title="Two")
    assert still(viewer).std() > 0
    assert "a second image to compare with" in viewer._repr_mimebundle_()["text/plain"]
    assert "fixed " in viewer._repr_mimebundle_()["text/plain"]
    assert f'"mode": "{mode}"' in viewer.to_html()


def test_modes_differ_and_side_by_side_shows_both():
    stills = {mode: still(compare(FIXED, MOVING, mode=mode)) for mode in MODES}
    assert stills["side by side"].shape[0] > 1.9 * stills["blend"].shape[0]
    for one, other in (("blend", "checkerboard"), ("checkerboard", "difference"), ("difference", "flicker")):
        assert (stills[one] != stills[other]).any()


def test_two_pictures_stand_beside_each_other_under_their_names():
    picture = FIXED[:, :, 3]
    shown = still(compare(picture, picture))
    assert shown.shape[1] % 2 == 0 and shown.shape[1] > shown.shape[0]
    one, other = np.split(shown, 2, axis=1)
    assert one[:20].any() and other[:20].any()
    assert (one[:20] != other[:20]).any()  # the names; all below is the same
    np.testing.assert_array_equal(one[60:], other[60:])


def test_a_blend_goes_from_one_image_to_the_other():
    one, other = (RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8) for _ in range(2))
    np.testing.assert_array_equal(combine(one, other, "blend", 0), one)
    np.testing.assert_array_equal(combine(one, other, "blend", 1), other)
    half = combine(one, other, "blend", 0.5).astype(int)
    assert (abs(2 * half - one - other.astype(int)) <= 1).all()


def test_a_checkerboard_has_eight_tiles_and_begins_with_the_fixed_image():
    one, other = np.zeros((16, 32, 3), np.uint8), np.full((16, 32, 3), 255, np.uint8)
    board = combine(one, other, "checkerboard")[..., 0]
    np.testing.assert_array_equal(board[:4, :8], np.repeat([[0, 255]], [4, 4], axis=1).repeat(4, axis=0))
    np.testing.assert_array_equal(board[4:8], 255 - board[:4])
    assert (np.diff(board[0].astype(int)) != 0).sum() == 7


def test_a_difference_is_red_where_the_fixed_image_is_larger():
    fixed, moving = np.array([[1.0, 0, 2, np.nan]]), np.array([[0.0, 1, 2, 0]])
    red, blue, none, unknown = difference_colours(fixed, moving, 1.0)[0].astype(int)
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert none.min() > 240
    assert tuple(unknown) == BACKGROUND


def test_unsigned_images_are_subtracted_as_numbers():
    assert difference_limit(np.zeros((4, 4), np.uint8), np.full((4, 4), 3, np.uint8)) == 3
    assert difference_limit(np.ones((4, 4)), np.ones((4, 4))) == 1
    assert difference_limit(np.zeros((3, 3, 3, 2)), np.ones((3, 3, 3))) == 1
    assert difference_limit(np.full((3, 3), np.inf), np.zeros((3, 3))) == 1


@pytest.mark.parametrize(
    ("fixed", "moving", "options", "words"),
    [
        (FIXED, MOVING[:-1], {}, "moving image's shape"),
        (straight(), straight("LAS"), {}, "moving image's affine"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), {}, "not of colours"),
        (
            np.zeros((4, 4, 3), np.uint8),
            np.zeros((4, 4, 3), np.uint8),
            {},
            "not of colours: take one channel",
        ),
        (np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), {}, "moving image's"),
        (FIXED, MOVING, {"mode": "wipe"}, "mode must be"),
        (FIXED, MOVING, {"window": (3, 1)}, "lower first"),
    ],
)
def test_what_cannot_be_compared_gets_one_sentence(fixed, moving, options, words):
    with pytest.raises(ValueError, match=words):
        compare(fixed, moving, **options)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("mode", "wipe", "mode must be"),
        ("mix", 2, "between 0 and 1"),
        ("mix", "a", "a number"),
        ("window_moving", (2, 1), "lower first"),
    ],
)
def test_values_that_cannot_be_are_refused(name, value, words):
    viewer = compare(FIXED, MOVING)
    before = getattr(viewer, name)
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(viewer, name, value)
    assert getattr(viewer, name) == before


def test_a_share_beyond_all_floats_is_refused():
    with pytest.raises(traitlets.TraitError, match="mix must be a number"):
        compare(FIXED, MOVING).mix = 10**400


def test_world_images_share_one_cursor():
    moving = nib.Nifti1Image(np.asanyarray(straight().dataobj)[::-1].copy(), straight().affine)
    viewer = compare(straight(), moving)
    viewer.cursor_mm = 0, 0, 0
    assert viewer.index == (4, 5, 3)
