"""Values that cross the sandbox's wall, as JSON: plain data only; no object of a student's comes over.

The source of this module is also sent to the student's kernel, which answers with it. Nothing is pickled;
what arrives is read as data from a stranger, whatever its sender claims it to be.
"""

import base64
import json
import re
import sys

import numpy as np

LIMIT_BYTES = 32_000_000  # of one value; the largest answer of the course, a slice over time, has 5 MB
LIMIT_ITEMS = 4_000_000
NUMBERS = re.compile(r"[<>|=]?[biufc]\d{1,2}")


class Unreadable(ValueError):
    """What arrived is no value."""


def write(value):
    """Return a value as JSON text.

    Parameters
    ----------
    value : object
        Numbers, text, arrays of numbers and lists, tuples, sets and dicts of them arrive as they are, those
        of a subclass as what they are underneath; of anything else arrives the name of its kind.

    Returns
    -------
    str
        For :func:`read`.

    Raises
    ------
    ValueError
        If it is larger than 32 MB.
    """
    text = json.dumps(_tagged(value))
    if len(text) > LIMIT_BYTES * 4 // 3 + 1000:
        raise ValueError("larger than 32 MB")
    return text


def read(text, function=None):
    """Return the value that :func:`write` was given.

    Parameters
    ----------
    text : str
        JSON text, from anybody.
    function : callable, optional
        Called with the name of its kind where the value itself is a function; returns what stands for it.

    Returns
    -------
    object
        The value; where it was neither number, text, array nor a collection of them, an object of a class
        with the same name, which has and can nothing.

    Raises
    ------
    Unreadable
        If the text is nothing that `write` returns.
    """
    if not isinstance(text, str) or len(text) > LIMIT_BYTES * 4 // 3 + 1000 or text.count(",") > LIMIT_ITEMS:
        raise Unreadable("too large")
    try:
        tagged = json.loads(text)
        if function and isinstance(tagged, dict) and list(tagged) == ["function"]:
            return function(_name(tagged["function"]))
        return _value(tagged)
    except (ValueError, TypeError, KeyError, RecursionError, MemoryError, OverflowError) as error:
        raise Unreadable(type(error).__name__) from None


def _tagged(value):
    """Return a value as what JSON can say: scalars as they are, all else as {tag: content}."""
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if value is ...:
        return {"ellipsis": 0}
    if isinstance(value, np.ma.MaskedArray):
        return {"masked": [_array(value.filled(0)), _array(np.ma.getmaskarray(value))]}
    if isinstance(value, np.generic) and kind.__module__ == "numpy":
        return {"scalar": _array(value)} if kind is not np.str_ else str(value)
    if isinstance(value, np.ndarray):
        return {"array": _array(value)}
    pandas = sys.modules.get("pandas")
    if pandas and kind in (pandas.Series, pandas.Index):
        return {"array": _array(value.to_numpy())}
    for base, convert in ((int, int.__int__), (float, float.__float__), (str, str.__str__)):
        if isinstance(value, base):
            return convert(value)
    if kind in (list, tuple, set, frozenset):
        return {kind.__name__: [_tagged(each) for each in value]}
    if kind is dict:
        return {"dict": [[_tagged(key), _tagged(each)] for key, each in value.items()]}
    return {"function" if callable(value) else "object": kind.__name__}


def _array(array):
    array = np.asarray(array)  # also of a subclass
    if array.nbytes > LIMIT_BYTES:
        raise ValueError("larger than 32 MB")
    if array.dtype.kind not in "biufc":
        return [array.dtype.name, list(array.shape), ""]
    return [array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode("ascii")]


def _value(tagged):
    """Return the value of what :func:`_tagged` returns, or raise an error of any of the usual kinds."""
    if not isinstance(tagged, dict):
        if isinstance(tagged, list):
            raise ValueError("a list without its tag")
        return tagged
    ((tag, content),) = tagged.items()
    if tag == "ellipsis":
        return ...
    if tag in ("array", "scalar"):
        array = _from_bytes(*content)
        return array[()] if tag == "scalar" else array
    if tag == "masked":
        array, mask = (_from_bytes(*each) for each in content)
        return np.ma.array(array, mask=mask)
    if tag in ("list", "tuple", "set", "frozenset"):
        kind = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[tag]
        return kind(_value(each) for each in content)
    if tag == "dict":
        return {_value(key): _value(each) for key, each in content}
    if tag in ("function", "object"):
        return type(_name(content), (), {})()
    raise ValueError(f"unknown tag {tag}")


def _from_bytes(dtype, shape, data):
    if len(shape) > 32 or not all(type(length) is int and 0 <= length <= LIMIT_BYTES for length in shape):
        raise ValueError("odd shape")
    if not NUMBERS.fullmatch(
        dtype
    ):  # of objects, dates and text only the shape is told, as far as it matters
        return np.empty(shape if np.prod(shape, dtype=float) < LIMIT_ITEMS else (0,), dtype=object)
    return np.frombuffer(base64.b64decode(data, validate=True), dtype=dtype).reshape(shape).copy()


def _name(text):
    """Return a name that is safe to show; a name is all that is kept of most objects."""
    return text if isinstance(text, str) and re.fullmatch(r"[A-Za-z_]\w{0,60}", text) else "object"
