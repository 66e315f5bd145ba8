"""The explorers of lesson 5 over their whole range, their numbers against independent computations."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.ndimage as ndi
import statsmodels.stats.weightstats as weightstats

from helpers.explorers.oasis_comparison import align_by_hand, like_with_like


def move(picture, degrees, shift):
    """Turn by scipy, then shift by scipy: what the lesson's function does in one step."""
    return ndi.shift(ndi.rotate(picture, degrees, reshape=False, order=1), shift, order=1)


def numbers(text):
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?(?:e-\d+)?", text.replace("Welch's p", ""))]


@pytest.fixture(scope="module")
def fixed():
    """An ellipse with a brighter disc off its middle, and a little noise."""
    i, j = np.mgrid[:70, :80]
    ellipse = ((i - 34) / 20) ** 2 + ((j - 40) / 28) ** 2 < 1
    disc = (i - 28) ** 2 + (j - 46) ** 2 < 60
    return 80.0 * ellipse + 60 * disc + np.random.default_rng(0).normal(0, 1, ellipse.shape)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    age = np.concatenate([rng.integers(18, 95, 120), rng.integers(62, 97, 60)])
    ill = np.arange(180) >= 120
    brain = 1200 - 4 * age - 40 * ill + rng.normal(0, 40, 180)
    return pd.DataFrame({"age": age, "alzheimers": ill, "brain_vol": brain, "ratio": brain / 1450})


def test_every_alignment_draws_without_a_warning_and_tells_the_right_numbers(fixed):
    scans = {"same": move(fixed, 10, (3, -5)), "other": 150 - move(fixed, 10, (3, -5))}
    explorer = align_by_hand(fixed, scans, move, threshold=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in explorer.settings():
            figure, text = explorer.draw(**values)
            figure.canvas.draw()
            moved = move(scans[values["scan"]], values["rotation"], (values["shift_i"], values["shift_j"]))
            a, b = fixed > 40, moved > 40
            error, information, iou, dice = numbers(text)
            assert error == pytest.approx(np.mean(np.abs(fixed - moved)), abs=0.0051)
            assert iou == pytest.approx(np.sum(a & b) / np.sum(a | b), abs=0.00051)
            assert dice == pytest.approx(2 * iou / (1 + iou), abs=0.0011)
            assert information == pytest.approx(entropy_shared(fixed, moved), abs=0.00051)


def entropy_shared(fixed, moved):
    """Mutual information as a sum of entropies, over histograms of 32 bins."""
    joint = np.histogram2d(fixed.ravel(), moved.ravel(), 32)[0] / fixed.size
    entropies = [
        -np.sum(p[p > 0] * np.log(p[p > 0])) for p in (joint.sum(axis=0), joint.sum(axis=1), joint.ravel())
    ]
    return entropies[0] + entropies[1] - entropies[2]


def test_the_right_setting_scores_best(fixed):
    scan = move(fixed, 10, (0, 0))
    explorer = align_by_hand(fixed, {"scan": scan}, move, threshold=40)
    start = numbers(explorer.text)
    explorer.values = {"rotation": -10}
    right = numbers(explorer.text)
    assert right[0] < start[0]
    assert all(after > before for after, before in zip(right[1:], start[1:], strict=True))


@pytest.mark.parametrize(
    ("scan", "threshold", "says"),
    [
        (np.zeros((70, 79)), 40, r"'scan' has shape \(70, 79\)"),
        (np.zeros((70, 80)), 900, "above the threshold"),
    ],
)
def test_wrong_scans_are_named(fixed, scan, threshold, says):
    with pytest.raises(ValueError, match=says):
        align_by_hand(fixed, {"scan": scan}, move, threshold)


def test_every_range_of_ages_draws_without_a_warning_and_tells_the_right_numbers(table):
    explorer = like_with_like(table, {"brain_vol": "ml", "ratio": ""})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in explorer.settings():
            figure, text = explorer.draw(**values)
            figure.canvas.draw()
            kept = table[table["age"] >= values["youngest"]]
            ill, healthy = kept[kept["alzheimers"]], kept[~kept["alzheimers"]]
            a, b = ill[values["measure"]], healthy[values["measure"]]
            compare = weightstats.CompareMeans(weightstats.DescrStatsW(a), weightstats.DescrStatsW(b))
            expected = [len(ill), ill["age"].mean(), len(healthy), healthy["age"].mean()]
            expected += [a.mean() - b.mean(), 95, *compare.tconfint_diff(usevar="unequal")]
            *found, p = numbers(text)
            size = 0.51 if values["measure"] == "brain_vol" else 0.00051
            assert found == pytest.approx(expected, abs=0.51)
            assert found[4:5] + found[6:] == pytest.approx(expected[4:5] + expected[6:], abs=size)
            assert p == pytest.approx(compare.ttest_ind(usevar="unequal")[1], rel=0.06)


def test_the_difference_shrinks_when_the_young_are_left_out(table):
    explorer = like_with_like(table, {"brain_vol": "ml"})
    everybody = numbers(explorer.text)[4]
    explorer.values = {"youngest": 62}
    assert everybody < numbers(explorer.text)[4] < 0


def test_wrong_tables_are_named(table):
    with pytest.raises(ValueError, match="no column skull_vol"):
        like_with_like(table, {"skull_vol": "ml"})
    with pytest.raises(ValueError, match="at least two people"):
        like_with_like(table[~table["alzheimers"]], {"brain_vol": "ml"})
