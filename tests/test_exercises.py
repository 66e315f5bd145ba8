"""The engine of the checks: what it accepts, what it says, what it cannot be fooled by."""

import numpy as np
import pandas as pd
import pytest

from helpers import check
from helpers.exercises import Unanswered, Wrong, expect, expect_function, plain


class EqualsAll:
    def __eq__(self, other):
        return True

    def __array__(self, dtype=None, copy=None):
        return np.array(3.0)


class EqualArray(np.ndarray):
    def __array_function__(self, *args, **kwargs):
        return True

    def __eq__(self, other):
        return np.array(True)


class EqualFloat(float):
    def __eq__(self, other):
        return True

    def __float__(self):
        return 3.0

    def __sub__(self, other):
        return 0.0


def complaint(answer, expected, **options):
    with pytest.raises(Wrong) as caught:
        expect(answer, expected, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (3, 3.0), (np.float32(0.1), 0.1), ([1, 2], np.array([1, 2])), ((1.0, 2.0), (1, 2)), ("a", "a"),
        ({"a": 1}, {"a": 1.0}), ({1, 2}, {2, 1}), (np.eye(2), np.eye(2)), (True, np.True_),
        ([np.eye(2), "x"], [np.eye(2), "x"]), (np.nan, np.nan), ([[1, 0], [0, 1.0]], np.eye(2)),
        ([np.eye(2), np.eye(2)], np.stack([np.eye(2)] * 2)), (pd.Series([1.0, 2]), (1, 2)),
    ],
)  # fmt: skip
def test_accepts_equal_values(answer, expected):
    expect(answer, expected)


def test_zero_is_not_wrong_by_a_factor():
    assert "factor" not in complaint((0.0, 0.0), (0.5, 0.2), atol=0.06)


def test_a_function_that_was_not_filled_in_is_not_wrong():
    with pytest.raises(Unanswered):
        expect_function(lambda x: ..., [((1,), 2)], name="double")


@pytest.mark.parametrize("fake", [EqualsAll(), np.zeros(()).view(EqualArray), EqualFloat(7.0), [EqualsAll()]])
def test_is_not_fooled_by_objects_that_equal_everything(fake):
    complaint(fake, 3.0)
    complaint({"a": fake}, {"a": 3.0})


def test_subclass_of_float_is_judged_by_its_own_value():
    expect(EqualFloat(7.0), 7.0)


@pytest.mark.parametrize(
    ("answer", "expected", "says"),
    [
        (..., 3, "replace the `...`"),
        (None, 3, "replace the `...`"),
        ([1, ...], [1, 2], "replace the `...`"),
        (-3, 3, "sign is wrong"),
        (4, 3, "off by one"),
        (30.0, 3.0, "factor of 10"),
        (3000.0, 3.0, "factor of 1000"),
        (2.0, 3.0, "2 mm is too small"),
        (9.5, 3.0, "too large"),
        ([3, 2, 1], [1, 2, 3], "reverse order"),
        ([1, 2], [1, 2, 3], "expected 3 numbers, but got 2 numbers"),
        (np.eye(2), [1, 2, 3], "array of shape (2, 2)"),
        ([1.0, np.nan], [1.0, 2.0], "NaN"),
        (np.arange(6).reshape(2, 3)[::-1], np.arange(6).reshape(2, 3), "upside down"),
        (np.arange(6).reshape(2, 3)[:, ::-1], np.arange(6).reshape(2, 3), "left and right"),
        (np.array([1, 2, 9]), np.array([1, 2, 4]), "9 mm is not right"),
        (np.array([1, 7, 9]), np.array([1, 2, 4]), "7 mm, 9 mm are not right"),
        (np.array([1, 2, 3, 4, 9]), np.arange(1, 6), "4 of 5 values"),
        (-9.0, -3.5, "too far from zero"),
        ("3 mm", 3.0, "expected numbers in mm, but got the text '3 mm'"),
        ("b", "a", "'b' is not the answer"),
        (1, True, "expected True or False"),
        (True, 1, "expected a number"),
        (255 * np.eye(2, dtype=np.uint8), np.eye(2, dtype=bool), "True or False, but yours is one of uint8"),
        (np.eye(2, dtype=bool), np.eye(2), "array of numbers, but yours is one of bool"),
        (True, False, "other way round"),
        (3, {1, 2}, "expected a set"),
        ({1}, {1, 2}, "expected 2 entries"),
        ({1, 3}, {1, 2}, "not all of them"),
        (object(), 3, "a object"),
    ],
)
def test_says_what_is_wrong(answer, expected, says):
    assert says in complaint(answer, expected, unit="mm")


def test_named_mistake_comes_first():
    assert complaint(4, 3, mistakes=[(4, "you counted the fence's posts")]) == "you counted the fence's posts"


def test_tolerance_is_relative_and_absolute():
    expect(1000.5, 1000.0)
    expect(0.5, 0.0, atol=1.0)
    complaint(1002.0, 1000.0)


def test_function_answers():
    def double(x):
        return 2 * x

    cases = [((1,), 2), ((4,), 8)]
    expect_function(double, cases, name="double")
    for wrong, says in [
        (lambda x: x + 1, "double(4)"),
        (lambda x: None, "returns nothing"),
        (lambda x: 1 / 0, "raises ZeroDivisionError"),
        (7, "must be a function"),
        (..., "still empty"),
    ]:
        with pytest.raises(Wrong, match=says.replace("(", r"\(").replace(")", r"\)")):
            expect_function(wrong, cases, name="double")
    with pytest.raises(Wrong, match="squared"):
        expect_function(lambda x: x * x, cases, name="double", mistakes=[(lambda x: x * x, "you squared")])


def test_check_returns_feedback_and_never_raises_on_a_wrong_answer():
    right = check("image_intro.window", (-1350, 150))
    assert right.passed
    assert repr(right).startswith("✓ Correct")
    wrong = check("image_intro.window", ("<script>", 150))
    assert not wrong.passed
    assert "<script>" not in wrong._repr_html_()
    assert repr(wrong).startswith("✗ Not yet")
    assert repr(check("image_intro.window", (..., ...))).startswith("○ Not yet")


@pytest.mark.parametrize("name", ["image_intro.nothing", "nowhere.window", "window", ""])
def test_unknown_exercise_is_named(name):
    with pytest.raises(ValueError, match=f"There is no exercise '{name}'"):
        check(name, 1)


def test_plain_copies_arrays():
    array = np.arange(3)
    plain(array)[0] = 9
    assert array[0] == 0


def nested():
    itself = []
    itself.append(itself)
    return itself


@pytest.mark.parametrize(
    "answer",
    [
        nested(), {(1, 2): 3}, {(1, 2)}, np.array([1, None], object), np.array(["2020-01-01"], "M8[D]"),
        np.zeros(3, [("a", int)]), 1j, [10**400] * 3, [10**30, 1, 2], print, iter([1]), np.float64("nan"),
        np.broadcast_to(1.0, (10**7, 10**5)), "x" * 10**6, 10**5000, np.ma.masked,
        np.ma.array([1, 2], mask=True),
    ],
    ids=lambda answer: type(answer).__name__,
)  # fmt: skip
@pytest.mark.parametrize("exercise", ["window", "peak", "name_it"])
def test_odd_answers_get_a_sentence(exercise, answer):
    class Image:
        affine = np.eye(4)

        def get_fdata(self):
            return np.zeros((2, 2, 2))

    data = {"motor": Image()} if exercise == "peak" else {}
    feedback = check(f"image_intro.{exercise}", answer, **data)
    assert not feedback.passed
    assert len(repr(feedback)) < 300


def test_masked_values_are_no_answer():
    assert "masked" in complaint(np.ma.array([1, 2], mask=[False, True]), [1, 2])
    assert "masked" in complaint(np.ma.masked, 0)


def test_small_integers_do_not_wrap_around_in_the_hints():
    assert "not right" in complaint(np.array([3, 4]), np.array([1, 2], np.uint8))


def test_function_that_changes_its_arguments_does_not_change_what_is_right():
    array = np.arange(3.0)

    def wipe(a):
        a[...] = 0
        return a

    with pytest.raises(Wrong):
        expect_function(wipe, [((array,), array)], name="wipe")
    assert array.any()


@pytest.mark.parametrize("name", ["Wrong", "np", "NAMES", "_value", "expect"])
def test_only_exercises_are_exercises(name):
    with pytest.raises(ValueError, match="There is no exercise"):
        check(f"image_intro.{name}", 3)
