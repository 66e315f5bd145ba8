"""What viewer.js does with packed voxels, in Python: written from its text, not from that of packing.py."""

import gzip

import numpy as np


def codes_of(layer, packed=None):
    """Return the codes of a layer, in its own shape."""
    data = gzip.decompress(layer["voxels"] if packed is None else packed)
    return np.frombuffer(data, f"<u{layer['bytes']}").reshape(layer["shape"], order="F")


def values_of(layer):
    """Return the value of each code; colours are their own."""
    if layer["table"]:
        return np.array([np.nan if value is None else value for value in layer["table"]])
    values = layer["offset"] + layer["slope"] * np.arange(256 ** layer["bytes"], dtype=float)
    if layer["hasNan"]:
        values[0] = np.nan
    return values


def volume_of(layer, shape):
    """Return the values of a packed volume on the whole grid, with a time axis; of colours the codes."""
    codes = codes_of(layer)
    full = np.full((*shape, layer["shape"][3]), layer["outside"], dtype=np.int64)
    places = [(np.arange(size) - layer["start"][axis]) // layer["step"] for axis, size in enumerate(shape)]
    inside = [(n >= 0) & (n < layer["shape"][axis]) for axis, n in enumerate(places)]
    found = codes[np.ix_(*(n[keep] for n, keep in zip(places, inside, strict=True)))]
    full[np.ix_(*(np.flatnonzero(keep) for keep in inside))] = found
    return full if layer["bytes"] == 4 else values_of(layer)[full]
