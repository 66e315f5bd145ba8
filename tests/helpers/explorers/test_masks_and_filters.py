"""The explorers of lesson 3: every setting draws, and the numbers told are right."""

import re
import warnings
from functools import cache

import numpy as np
import pytest
from scipy import ndimage as ndi

from data_fetchers import fetch_hand_radiograph
from helpers.explorers.masks_and_filters import (
    FILTERS,
    SIZES,
    apply_filter,
    edge_width,
    filter_bench,
    kernel_editor,
    step_object,
    threshold_explorer,
)

PATCH = np.array([[1, 1, 1, 5, 5], [1, 1, 1, 5, 5], [1, 1, 9, 5, 5], [1, 1, 1, 5, 5], [1, 1, 1, 5, 5]])
KERNELS = {
    "mean": np.full((3, 3), 1 / 9),
    "lopsided": [[1, 2, 0], [0, -3, 0], [0, 0, 5]],
    "nothing": np.zeros((3, 3)),
}


@pytest.fixture(scope="module")
def hand():
    return fetch_hand_radiograph("bundled")


def draws(explorer, settings):
    """Draw each setting once, with warnings as errors, and yield values, figure and text."""
    distinct = {tuple(values.values()): values for values in settings}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, values in enumerate(distinct.values()):
            figure, text = explorer.draw(**values)
            if number % 5 == 0:  # to lay the words out takes longest
                figure.draw_without_rendering()
            assert len(text.split()) > 5
            yield values, figure, text


@cache
def filtered(name, size, contrast, dust):
    return apply_filter(step_object(contrast, dust), name, size)


def number(text, before):
    """Return the number that stands after some words."""
    return float(re.search(re.escape(before) + r" (−?[\d.]+\d|−?\d)", text)[1].replace("−", "-"))


def test_threshold_tells_area_and_dice(hand):
    truths = {"whole hand": hand.truth["soft_tissue"], "bone": hand.truth["bone"]}
    explorer = threshold_explorer(hand.image, truths, start=35)
    seen = []
    for values, _, text in draws(explorer, explorer.settings(15)):
        mask = hand.image > values["threshold"]
        truth = truths[values["truth"]]
        assert text.startswith(f"{mask.sum()} pixels")
        both = 2 * np.logical_and(mask, truth).sum() / (mask.sum() + truth.sum())
        assert number(text, f"Dice with the true {values['truth']}:") == pytest.approx(both, abs=6e-4)
        seen.append(values["threshold"])
    assert {0, int(np.percentile(hand.image, 99))} <= set(seen)


def test_threshold_paints_right_wrong_and_missed_pixels_apart():
    image = np.array([[0, 200], [200, 0]], np.uint8)
    truth = np.array([[True, True], [False, False]])
    explorer = threshold_explorer(image, {"thing": truth}, start=100)
    drawn = explorer.figure().axes[1].images[0].get_array()
    assert len({tuple(pixel) for pixel in drawn.reshape(-1, 3)}) == 4


def test_threshold_parts_the_histogram_as_it_parts_the_picture(hand):
    mask, truth = hand.image > 64, hand.truth["bone"]
    explorer = threshold_explorer(hand.image, {"bone": truth}, start=64)
    areas = []
    for part in explorer.figure().axes[0].collections:
        x, y = part.get_paths()[0].vertices.T
        areas.append(abs(np.sum(x[1:] * y[:-1] - x[:-1] * y[1:])) / 2)
    parts = mask.size, (mask & truth).sum(), (mask & ~truth).sum(), (~mask & truth).sum()
    assert areas == pytest.approx(parts, abs=1)  # of the brightest pixels half a bar is drawn


def test_threshold_without_truth_tells_no_dice(hand):
    explorer = threshold_explorer(hand.image)
    for values, _, text in draws(explorer, explorer.settings(15)):
        assert text.startswith(f"{(hand.image > values['threshold']).sum()} pixels")
        assert "no Dice" in text


def test_kernel_editor_adds_up_as_scipy_does():
    explorer = kernel_editor(PATCH, KERNELS)
    settings = list(explorer.settings(9))
    ranges, corners = settings[:-64], settings[-64:]
    # A lopsided kernel in every third corner tells more than an even one in all.
    corners = [values | {"kernel": "lopsided"} for values in corners[::3]]
    for values, figure, text in draws(explorer, [*ranges, *corners]):
        kernel = np.array(KERNELS[values["kernel"]], float)
        kernel[1, 1] += values["add_to_centre"]
        way = ndi.convolve if values["turn_kernel"] else ndi.correlate
        expected = way(PATCH.astype(float), kernel, mode=values["border"])
        at = values["row"], values["column"]
        assert number(text, "=") == pytest.approx(expected[at], rel=1e-3, abs=1e-9)
        assert "e−" not in text, "what is left of a sum of ninths"
        assert number(text, "The weights sum to") == pytest.approx(kernel.sum(), rel=1e-3)
        shown = [axes.images[0].get_array() for axes in figure.axes]
        np.testing.assert_allclose(shown[2].sum(), expected[at], atol=1e-9)
        np.testing.assert_allclose(shown[3], expected)


def test_bench_tells_noise_and_width_of_what_it_shows():
    explorer = filter_bench()
    for values, figure, text in draws(explorer, explorer.settings()):
        contrast, dust = {
            "noise": (30, False),
            "noise, faint edge": (8, False),
            "noise and dust": (30, True),
        }[values["test_object"]]
        picture = filtered(values["filter"], values["size"], contrast, dust)
        assert number(text, "the noise is") == pytest.approx(picture[:, :32].std(), abs=6e-3)
        assert number(text, "the edge is") == pytest.approx(edge_width(picture), abs=6e-3)
        np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), picture[:96])


def test_edge_width_of_known_edges():
    x = np.arange(96.0)
    ramp = np.clip((x - 40) / 16, 0, 1)
    assert edge_width(np.tile(ramp, (4, 1))) == pytest.approx(0.8 * 16, abs=0.01)
    sharp = np.tile((x > 47).astype(float), (4, 1))
    for sigma in (1, 2, 4):
        # A Gaussian's integral rises from a tenth to nine tenths over 2.563 standard deviations; the straight
        # lines between pixels add a little to a narrow one.
        assert edge_width(ndi.gaussian_filter(sharp, (0, sigma))) == pytest.approx(2.563 * sigma, rel=0.04)


def test_what_the_lesson_says_of_the_bench():
    def bench(name, contrast, dust):
        each = [filtered(name, size, contrast, dust) for size in SIZES[1:]]
        return np.array([(edge_width(picture), picture[:, :32].std()) for picture in each])

    for contrast, dust in ((30, False), (8, False), (30, True)):
        curves = {name: bench(name, contrast, dust) for name in FILTERS}
        for curve in curves.values():  # a larger window leaves less noise and a wider edge
            assert (np.diff(curve[:, 0]) > 0).all()
            assert (np.diff(curve[:, 1]) < 0).all()
        noise = {  # at the same width, where all three have measurements
            name: np.exp(np.interp(4.5, curve[:, 0], np.log(curve[:, 1]))) for name, curve in curves.items()
        }
        assert noise["Gaussian"] < noise["mean"]
        if contrast == 8:
            assert noise["median"] > noise["mean"]
        else:
            assert noise["median"] < noise["Gaussian"] * (0.5 if dust else 1)
