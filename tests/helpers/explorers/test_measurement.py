"""The explorer of lesson 4 over its whole range, its numbers against discs of known area."""

import re
import warnings

import numpy as np
import pytest
import scipy.ndimage as ndi

from helpers.explorers.measurement import ventricle_explorer

SAMPLING_MM = (8.0, 3.0, 2.5)
SEED = (20, 24)


def segment(picture, seed, threshold, bridge_mm):
    """Return the bright object under a seed, opened by half a bridge."""
    mask = picture > threshold
    core, _ = ndi.label(ndi.distance_transform_edt(mask, sampling=SAMPLING_MM[1:]) > bridge_mm / 2)
    if core[seed] == 0:
        return np.zeros_like(mask)
    far = ndi.distance_transform_edt(core != core[seed], sampling=SAMPLING_MM[1:])
    return mask & (far <= bridge_mm / 2)


@pytest.fixture(scope="module")
def film():
    """Discs that grow, in the last slice with a bar to a large block; the first slice is empty."""
    rows, columns = np.mgrid[:40, :48]
    distance = np.hypot(rows - SEED[0], columns - SEED[1])
    frames = np.zeros((3, 4, 40, 48), np.int16)
    for time in range(3):
        for level in range(1, 4):
            frames[time, level] = np.where(distance < 6 + time + level, 100, 20)
        frames[time, 3, 20:22, 24:] = 100
        frames[time, 3, :, 38:] = 100
    return frames


def numbers(text):
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


def test_every_setting_draws_without_a_warning_and_tells_the_right_numbers(film):
    explorer = ventricle_explorer(film, segment, SEED, SAMPLING_MM)
    seen = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in explorer.settings():
            figure, text = explorer.draw(**values)
            figure.canvas.draw()
            mask = segment(
                film[values["frame"], values["slice"]], SEED, values["threshold"], values["bridge_mm"]
            )
            if not mask.any():
                assert "no object" in text
                seen.add("nothing")
                continue
            pixels, area_cm2, step_mm, volume_ml = numbers(text)[:4]
            assert pixels == np.sum(mask)
            assert area_cm2 == pytest.approx(np.sum(mask) * 3.0 * 2.5 / 100, abs=0.051)
            assert step_mm == 8
            assert volume_ml == pytest.approx(np.sum(mask) * 3.0 * 2.5 * 8 / 1000, abs=0.051)
            seen.add("leaks" if "leaks" in text else "object")
    assert seen == {"nothing", "leaks", "object"}


def test_a_bar_leaks_until_its_bridge_is_cut(film):
    explorer = ventricle_explorer(film, segment, SEED, SAMPLING_MM)
    explorer.values = {"slice": 3, "bridge_mm": 0}
    assert "leaks" in explorer.text
    explorer.values = {"bridge_mm": 8}
    assert "leaks" not in explorer.text
    assert "pixels" in explorer.text


def test_area_is_near_that_of_the_circle(film):
    explorer = ventricle_explorer(film, lambda p, s, t, b: p > t, SEED, SAMPLING_MM)
    explorer.values = {"slice": 2, "frame": 2}
    circle_cm2 = np.pi * 10**2 * 3.0 * 2.5 / 100
    assert numbers(explorer.text)[1] == pytest.approx(circle_cm2, rel=0.06)


@pytest.mark.parametrize(
    ("shape", "seed", "says"),
    [
        ((4, 40, 48), SEED, "3 axes"),
        ((3, 4, 40, 48), (40, 3), "outside"),
        ((3, 4, 40, 48), (-1, 3), "outside"),
    ],
)
def test_wrong_arguments_are_named(shape, seed, says):
    with pytest.raises(ValueError, match=says):
        ventricle_explorer(np.zeros(shape), segment, seed, SAMPLING_MM)
