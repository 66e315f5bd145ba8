"""The explorers of lesson 6 over their whole range, their numbers against formulae written out anew."""

import re
import warnings

import numpy as np
import pytest

from helpers.explorers.demons import KINDS, displacement_of, field_explorer, force_explorer
from helpers.registration import jacobian


def numbers(text):
    return [float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?", text)]


@pytest.fixture(scope="module")
def picture():
    return np.hypot(*np.indices((48, 60))) % 11


def test_every_force_is_drawn_without_a_warning_and_tells_the_right_step():
    explorer = force_explorer()
    seen = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in explorer.settings():
            figure, text = explorer.draw(**values)
            figure.canvas.draw()
            d, down, right = (values[name] for name in ("difference", "gradient_down", "gradient_right"))
            square = down**2 + right**2
            if square == 0 or d == 0:
                assert "0 voxels" in text
                seen.add(text)
                continue
            scale = d / (square + (d**2 if values["difference_term"] else 0))
            length, said_down, said_right = numbers(text)[:3]
            assert length == pytest.approx(abs(scale) * np.sqrt(square), abs=0.006)
            assert (said_down, said_right) == pytest.approx((scale * down, scale * right), abs=0.006)
            assert length <= 0.5 or not values["difference_term"]
            assert ("leaves the picture" in text) == (abs(scale) * np.sqrt(square) > 1.5)
    assert {text.partition(":")[0] for text in seen} == {
        "The images agree here",  # the slider for the difference passes zero,
        "No gradient, no direction",  # and that of the gradient
    }


@pytest.mark.parametrize(
    ("difference", "term", "says"),
    [(0, True, "Zero divided by zero"), (1, False, "Zero divided by zero"), (1, True, "No gradient")],
)
def test_without_a_gradient_there_is_no_step(difference, term, says):
    explorer = force_explorer()
    explorer.values = {
        "difference": difference,
        "gradient_down": 0,
        "gradient_right": 0,
        "difference_term": term,
    }
    assert says in explorer.text


def test_every_field_is_drawn_without_a_warning_and_tells_its_jacobian(picture):
    explorer = field_explorer(picture)
    folds = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in explorer.settings():
            figure, text = explorer.draw(**values)
            figure.canvas.draw()
            determinant = jacobian(displacement_of(values["kind"], values["amount"], picture.shape))
            low, high = numbers(text)[:2]
            assert (low, high) == pytest.approx((determinant.min(), determinant.max()), abs=0.006)
            if "Nothing is folded" in text:
                assert determinant.min() > 0
            else:
                assert numbers(text)[2] == pytest.approx(100 * np.mean(determinant <= 0), abs=0.06)
                folds.add(values["kind"])
    assert {"wave", "lens"} <= folds
    assert "shift" not in folds


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("amount", [-4, 0, 7])
def test_the_amount_is_the_longest_displacement(kind, amount):
    displacement = displacement_of(kind, amount, (128, 128))
    assert np.hypot(*displacement).max() == pytest.approx(abs(amount), abs=0.02 * abs(amount))


def test_fields_are_what_their_names_say():
    middle = np.s_[:, 63:65, 63:65]
    assert jacobian(displacement_of("lens", -3, (128, 128)))[middle[1:]].max() < 1  # looks nearer: magnifies
    assert jacobian(displacement_of("shift", 5, (128, 128))) == pytest.approx(1)
    down = displacement_of("wave", 3, (128, 128))[0]
    np.testing.assert_allclose(
        down, 3 * np.sin(8 * np.pi * (np.indices(down.shape)[0] - 63.5) / 128), atol=1e-6
    )
    swirl = displacement_of("swirl", 3, (128, 128))
    away = np.indices((128, 128)) - 63.5
    np.testing.assert_allclose((swirl * away).sum(axis=0), 0, atol=1e-4)  # round about, neither in nor out
