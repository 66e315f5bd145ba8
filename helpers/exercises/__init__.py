"""Check a learner's answer and say what is wrong with it.

A lesson asks ``check("image_intro.field_of_view", answer, img=img)``; the function ``field_of_view`` of the
module ``helpers.exercises.image_intro`` computes the right answer from the data in use, and calls
:func:`expect` with it and with the typical mistakes. Nothing here draws or prints: a check returns a
:class:`Feedback`, which a notebook displays.
"""

import copy
import re
import sys
from dataclasses import dataclass
from html import escape
from importlib import import_module

import numpy as np

__all__ = ["Feedback", "Unanswered", "Wrong", "check", "expect", "expect_function", "plain"]


class Wrong(Exception):
    """An answer is not right; the message tells the learner why."""


class Unanswered(Wrong):
    """There is no answer yet; the message tells the learner how to give one."""


@dataclass(frozen=True)
class Feedback:
    """What a check has to say about an answer.

    Attributes
    ----------
    passed : bool
        Whether the answer is right.
    message : str
        What is right about it, or what is wrong.
    answered : bool
        Whether there was an answer at all.
    """

    passed: bool
    message: str
    answered: bool = True

    def __repr__(self):
        mark = "✓ Correct" if self.passed else "✗ Not yet" if self.answered else "○ Not yet"
        return f"{mark}: {self.message}"

    def _repr_html_(self):
        # Inherits the page's colours, so that both themes keep their contrast; the mark and the word carry
        # the meaning, which the border's colour only repeats.
        colour = "#2a8f5c" if self.passed else "#c4620a" if self.answered else "#808080"
        return (
            f'<div role="status" style="border-left: 0.4em solid {colour}; padding: 0.3em 0.8em">'
            f"{_code(escape(repr(self)))}</div>"
        )


def check(exercise, answer, **data):
    """Check an answer to an exercise.

    Parameters
    ----------
    exercise : str
        ``"lesson.exercise"``, as in ``"image_intro.field_of_view"``.
    answer : object
        The learner's answer: a number, text, an array, a list, a dict, or a function, as the exercise asks.
    **data : object
        What the right answer is computed from.

    Returns
    -------
    Feedback
        Whether the answer is right, and what is wrong with it if not.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    lesson, _, name = str(exercise).partition(".")
    try:
        module = import_module(f"{__name__}.{lesson}")
        judge = vars(module)[name]
        if name.startswith("_") or getattr(judge, "__module__", "") != module.__name__:
            raise KeyError(name)
    except (ImportError, KeyError, ValueError):
        raise ValueError(
            f"There is no exercise {exercise!r}; run the check cell as it stands in the lesson."
        ) from None
    try:
        return Feedback(True, judge(answer, **data))
    except Wrong as wrong:
        return Feedback(False, str(wrong), answered=not isinstance(wrong, Unanswered))
    except Exception as error:  # whatever an odd answer provokes, the learner gets a sentence
        kind = type(error).__name__
        return Feedback(
            False, f"this answer cannot be judged ({kind}); give a number, text, an array or a list."
        )


def expect(answer, expected, *, unit="", mistakes=(), rtol=1e-3, atol=0.0):
    """Compare an answer with the right one; raise the most helpful complaint.

    Parameters
    ----------
    answer : object
        The learner's answer.
    expected : number, str, bool, ndarray, list, tuple, set or dict
        The right answer. Lists, tuples and arrays of numbers stand for one another.
    unit : str
        The unit of the answer, named in complaints.
    mistakes : iterable of (object, str)
        Typical wrong answers and what to say of each; the first that equals the answer is said.
    rtol : float
        How far a number may be off, as a part of the right one.
    atol : float
        How far it may be off on top of that, in its own unit.

    Raises
    ------
    Wrong
        If the answer is not the expected one.
    """
    answer, expected = plain(answer), plain(expected)
    if _same(answer, expected, rtol, atol):
        return
    for mistake, message in mistakes:
        if _same(answer, plain(mistake), rtol, atol):
            raise Wrong(message)
    raise Wrong(_difference(answer, expected, unit, rtol, atol))


def expect_function(function, cases, *, name, mistakes=()):
    """Call a learner's function and compare each result with the right one.

    Parameters
    ----------
    function : callable
        The learner's function.
    cases : iterable of (tuple, object)
        The arguments of each call, and its right result.
    name : str
        The name of the function, for complaints.
    mistakes : iterable of (callable, str)
        Typical wrong functions and what to say of each.

    Raises
    ------
    Wrong
        If it is no function, raises an error, or returns something else.
    """
    if function is None or function is ...:
        raise Unanswered(f"`{name}` is still empty.")
    if not callable(function):
        raise Wrong(f"`{name}` must be a function, but it is {_kind(function)}.")
    for arguments, expected in cases:
        shown = f"{name}({', '.join(_short(argument) for argument in arguments)})"
        try:
            result = function(*copy.deepcopy(arguments))  # which it may change, but not for the comparison
        except (Exception, SystemExit) as error:
            raise Wrong(f"`{shown}` raises {type(error).__name__}: {error}") from error
        if result is ...:
            raise Unanswered(f"replace the `...` in `{name}` by your answer, and run that cell first.")
        if result is None:
            raise Wrong(f"`{shown}` returns nothing; end the function with `return`.")
        try:
            expect(result, expected, mistakes=[(wrong(*arguments), why) for wrong, why in mistakes])
        except Wrong as wrong:
            raise Wrong(f"`{shown}`: {wrong}") from None


def plain(value):
    """Return a value as built-in types and plain arrays, so that no object of a learner's compares itself.

    Parameters
    ----------
    value : object
        Number, text, array, or nested list, tuple, set or dict of them.

    Returns
    -------
    bool, int, float, str, ndarray, list, set or dict
        Arrays keep their shape; lists and tuples of numbers, also nested ones, become arrays.

    Raises
    ------
    Wrong
        If the value is of another kind, or was not filled in.
    """
    if value is ... or value is None:
        raise Unanswered("replace the `...` in the cell above by your answer, and run that cell first.")
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise Wrong("some values of your answer are masked.")
    if isinstance(value, np.ndarray):
        return np.array(value, subok=False)
    pandas = sys.modules.get("pandas")
    if pandas and type(value) in (pandas.Series, pandas.Index):
        return plain(value.to_numpy())
    if isinstance(value, np.generic) and type(value).__module__ == "numpy":
        return value.item()
    for kind, convert in ((bool, bool), (int, int.__int__), (float, float.__float__), (str, str.__str__)):
        # Subclasses, such as pydicom's numbers, are taken for what they are underneath.
        if isinstance(value, kind):
            return convert(value)
    if type(value) in (list, tuple):
        items = [plain(item) for item in value]
        if all(type(item) in (bool, int, float) for item in items):
            return np.array(items)
        shapes = {item.shape if isinstance(item, np.ndarray) else None for item in items}
        return np.array(items) if len(shapes) == 1 and None not in shapes else items
    if type(value) in (set, frozenset):
        return {plain(item) for item in value}
    if type(value) is dict:
        return {plain(key): plain(item) for key, item in value.items()}
    raise Wrong(f"expected a number, text, an array or a list, but got {_kind(value)}.")


def _same(answer, expected, rtol, atol):
    """Tell whether two plain values are equal, numbers within the tolerance."""
    if isinstance(expected, str | set) or isinstance(answer, str | set):
        return type(answer) is type(expected) and answer == expected
    if isinstance(expected, dict) or isinstance(answer, dict):
        return (
            type(answer) is type(expected)
            and answer.keys() == expected.keys()
            and all(_same(answer[key], expected[key], rtol, atol) for key in expected)
        )
    if isinstance(expected, list) or isinstance(answer, list):
        return (
            type(answer) is type(expected)
            and len(answer) == len(expected)
            and all(_same(a, e, rtol, atol) for a, e in zip(answer, expected, strict=True))
        )
    answer, expected = np.asarray(answer), np.asarray(expected)
    # True is no measure of 1 mm, nor 1 the answer to a yes-or-no question.
    if (answer.dtype == bool) != (expected.dtype == bool) or answer.shape != expected.shape:
        return False
    if answer.dtype.kind not in "buif" or expected.dtype.kind not in "buif":
        return False
    return bool(np.allclose(answer, expected, rtol=rtol, atol=atol, equal_nan=True))


def _difference(answer, expected, unit, rtol, atol):
    """Say in one sentence how a plain answer differs from the plain right one, without giving that away."""
    unit = f" {unit}" if unit else ""
    if isinstance(expected, str):
        return f"{_short(answer)} is not the answer."
    if isinstance(expected, set | dict | list):
        if type(answer) is not type(expected):
            return f"expected a {type(expected).__name__}, but got {_kind(answer)}."
        if len(answer) != len(expected):
            return f"expected {len(expected)} entries, but got {len(answer)}."
        return "the number of entries is right, but not all of them are."
    if isinstance(answer, str | set | dict | list):
        wanted = "True or False" if isinstance(expected, bool) else f"numbers{unit and ' in' + unit}"
        return f"expected {wanted}, but got {_kind(answer)}."
    answer, expected = np.asarray(answer), np.asarray(expected)
    if answer.shape != expected.shape:
        return f"expected {_shape(expected)}, but got {_shape(answer)}."
    if answer.dtype.kind not in "buif":
        return f"expected numbers, but got {answer.dtype.name}."
    if (answer.dtype == bool) != (expected.dtype == bool):
        of_bool = expected.dtype == bool
        if answer.ndim:
            wanted = "True or False" if of_bool else "numbers"
            return f"expected an array of {wanted}, but yours is one of {answer.dtype.name}."
        return f"expected {'True or False' if of_bool else 'a number'}, but got {_short(answer)}."
    if expected.dtype == bool and answer.ndim == 0:
        return "it is the other way round."
    if expected.dtype == bool:
        return f"the shape is right, but only {_share(answer == expected)} are right."
    integer, expected = expected.dtype.kind in "iu", expected.astype(float)  # small types would wrap around
    if np.isnan(answer).any() and not np.isnan(expected).any():
        return "there is a NaN (not a number) in your answer; look for 0/0 or for missing values."

    def same(other):
        return _same(answer, plain(other), rtol, atol)

    if same(-expected):
        return "the size is right, but the sign is wrong."
    if expected.ndim == 1 and expected.size > 1 and same(expected[::-1]):
        return "the numbers are right, but in reverse order: mind the order of the axes."
    if expected.ndim == 2 and same(expected[::-1]):
        return "the picture is upside down."
    if expected.ndim == 2 and same(expected[:, ::-1]):
        return "left and right are exchanged."
    if integer and (same(expected + 1) or same(expected - 1)):
        return "off by one."
    for factor in (10, 100, 1000, 1_000_000):
        if answer.any() and (same(expected * factor) or same(expected / factor)):
            return f"wrong by a factor of {factor}: mind the units."
    if answer.ndim:
        right = np.isclose(answer, expected, rtol=rtol, atol=atol)
        if answer.ndim == 1 and answer.size <= 4:
            wrong = ", ".join(f"{value:g}{unit}" for value in answer[~right])
            return f"{wrong} {'is' if np.count_nonzero(~right) == 1 else 'are'} not right."
        return f"the shape is right, but only {_share(right)} are right."
    # “Too large” would mislead where both are negative.
    size = "far from zero" if expected < 0 else "large"
    near = "near zero" if expected < 0 else "small"
    return f"{answer.item():g}{unit} is too {size if abs(answer) > abs(expected) else near}."


def _code(text):
    """Return HTML text with what stands between backticks set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text)


def _share(right):
    return f"{np.count_nonzero(right)} of {right.size} values"


def _shape(array):
    if array.ndim == 0:
        return "one number"
    if array.ndim == 1:
        return f"a list of {array.size}" if array.size == 1 else f"{array.size} numbers"
    return f"an array of shape {array.shape}"


def _kind(value):
    return f"the text {_short(value)}" if isinstance(value, str) else f"a {type(value).__name__}"


def _short(value):
    if isinstance(value, np.ndarray) and value.ndim:
        return f"array of shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
