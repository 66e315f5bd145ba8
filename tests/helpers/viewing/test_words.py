import nibabel as nib
import numpy as np
import pytest
from phantoms import straight, tilted

from helpers.viewing.slices import PLANES
from helpers.viewing.volume import as_volume
from helpers.viewing.words import convention_words, place_words, subject, value_words


@pytest.mark.parametrize(
    ("image", "planes", "words"),
    [
        (
            straight(),
            PLANES,
            "9 × 11 × 7 voxels of 2 × 3 × 4 mm, axial, coronal and sagittal planes",
        ),
        (straight(), ("coronal",), "9 × 11 × 7 voxels of 2 × 3 × 4 mm, coronal plane"),
        (np.zeros((3, 4, 5, 6)), PLANES, "3 × 4 × 5 voxels, 6 time points"),
        (np.zeros((3, 4)), PLANES, "picture of 3 rows and 4 columns"),
        (np.zeros((3, 4, 3), np.uint8), PLANES, "colour picture of 3 rows and 4 columns"),
    ],
)
def test_the_subject_says_what_and_how_much(image, planes, words):
    assert subject(as_volume(image), planes) == words
    assert subject(as_volume(image), planes, name="Phantom") == f"Phantom: {words}"
    assert subject(as_volume(image), planes, ["map"]) == f"{words}, with a map laid over"
    assert subject(as_volume(image), planes, ["labels"]) == f"{words}, with labels laid over"


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ((1, 8, 5), "(1, 8, 5) at x = -6.0 mm (left), y = 9.0 mm (anterior), z = 8.0 mm (superior)"),
        ((8, 0, 0), "(8, 0, 0) at x = 8.0 mm (right), y = -15.0 mm (posterior), z = -12.0 mm (inferior)"),
        ((4, 5, 3), "(4, 5, 3) at x = 0.0 mm, y = 0.0 mm, z = 0.0 mm"),
    ],
)
def test_places_are_told_with_their_side(index, words):
    volume = as_volume(straight())
    assert place_words(volume, index, volume.to_mm(index)) == f"voxel (i, j, k) = {words}"


def test_there_is_no_minus_zero_and_no_side_in_the_middle():
    assert "x = 0.0 mm, y" in place_words(as_volume(straight()), (4, 5, 3), (-0.04, 0, 0))


def test_places_without_a_world_name_no_side():
    for image in (np.zeros((3, 4, 5)), np.zeros((3, 4)), np.zeros((3, 4, 3), np.uint8)):
        text = place_words(as_volume(image), (1, 2, 0), (1, 2, 0))
        assert not any(word in text for word in ("left", "right", "anterior", " mm"))
    assert place_words(as_volume(np.zeros((3, 4))), (1, 2, 0), (1, 2, 0)) == "row 1, column 2"
    sized = as_volume(np.zeros((3, 4, 5)), sampling=(3, 1, 2))
    assert place_words(sized, (1, 2, 0), (3, 2, 0)).endswith("at 3.0, 2.0, 0.0 mm from the first voxel")


def test_oblique_slices_are_told():
    volume = as_volume(tilted("RAS", 20))
    text = place_words(volume, (4, 5, 3), volume.to_mm((4, 5, 3)))
    assert f"tilted by {volume.tilt:.0f}°" in text
    assert "tilted" not in place_words(as_volume(straight()), (4, 5, 3), (0, 0, 0))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((3, 4, 5), 1 / 3, np.float32), "0.333333"),
        (np.full((3, 4, 5), -1000, ">i2"), "-1000"),
        (np.full((3, 4, 5), 2**63, np.uint64), "9223372036854775808"),
        (np.full((3, 4, 5), np.nan), "nan"),
        (np.full((3, 4, 5), -np.inf), "-inf"),
        (np.full((3, 4, 3), 7, np.uint8), "R 7, G 7, B 7"),
        (np.full((3, 4, 4), 7, np.uint8), "R 7, G 7, B 7, A 7"),
    ],
)
def test_values_are_the_real_ones(image, words):
    assert value_words(["it"], [as_volume(image)], (0, 0, 0), 0) == f"it {words}"


def test_each_image_has_its_value_at_its_own_time():
    moving = as_volume(np.arange(24).reshape(1, 2, 3, 4))
    still = as_volume(np.arange(6).reshape(1, 2, 3) / 4)
    text = value_words(["intensity", "overlay"], [moving, still], (0, 1, 2), 3)
    assert text == "intensity 23; overlay 1.25"


def test_the_convention_is_told_where_it_is_seen():
    world, none = as_volume(straight()), as_volume(np.zeros((3, 4, 5)))
    assert convention_words(world, PLANES, False) == "neurological: left is left"
    assert convention_words(world, PLANES, True) == "radiological: patient's right on the left"
    assert convention_words(world, ("sagittal",), True) is None
    assert convention_words(none, PLANES, False) is None
    assert convention_words(as_volume(nib.Nifti1Image(np.zeros((3, 4, 5)), None)), PLANES, False) is None
