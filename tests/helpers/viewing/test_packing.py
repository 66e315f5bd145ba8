import json
import tracemalloc

import numpy as np
import pytest
from arbitrary import arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from unpacking import codes_of, values_of, volume_of

from helpers.viewing import SliceViewer
from helpers.viewing.packing import choose_coding, decode, describe, encode, pack
from helpers.viewing.volume import as_volume

few = settings(max_examples=80, deadline=None)
RNG = np.random.default_rng(0)
whole_numbers = st.one_of(
    hnp.integer_dtypes(endianness="?"), hnp.unsigned_integer_dtypes(endianness="?"), hnp.boolean_dtypes()
)


def volume(data):
    """Return any array as the volume that a viewer packs; 8-bit stacks are no colours here."""
    return as_volume(data.astype(np.int16) if data.dtype == np.uint8 else data).data


def assert_close(found, data, layer):
    """Assert that decoded values are what a coding promises of an array."""
    data = data[..., np.newaxis] if data.ndim == 3 else data
    real = data.astype(float)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(real))
    if layer["exact"]:
        np.testing.assert_array_equal(found[np.isfinite(real)], real[np.isfinite(real)])
        return
    values = values_of(layer)[int(layer["hasNan"]) :]
    first, last = values[0], values[-1]
    assert (np.diff(values) >= 0).all()
    slack = 4 * np.spacing(max(abs(first), abs(last)))
    near = (0.5 + 1e-6) * (layer["slope"] if layer["table"] is None else 0) + slack
    inside = (real >= first) & (real <= last)
    assert (np.abs(found - real)[inside] <= near).all()
    assert (found[real < first] == first).all()
    assert (found[real > last] == last).all()


# Values and codes.


@few
@given(st.integers(2, 4).flatmap(lambda n_axes: arrays(n_axes)), st.booleans())
def test_any_array_comes_back(data, fine):
    data = volume(data)
    layer = pack(data, fine_voxels=10**9 * fine)
    assert_close(volume_of(layer, data.shape[:3]), data, layer)
    json.dumps(layer | {"voxels": None}, allow_nan=False)


@few
@given(arrays(), st.booleans())
def test_what_python_decodes_is_what_the_browser_does(data, fine):
    coding = choose_coding(data, fine)
    codes = encode(data, coding)
    layer = describe(codes[..., np.newaxis], coding)
    np.testing.assert_array_equal(codes_of(layer)[..., 0], codes)
    np.testing.assert_array_equal(values_of(layer)[codes], decode(codes, coding))


EXTREMES = {
    "the largest floats": np.linspace(-1, 1, 60) * 1.7e308,
    "a fill value": np.append(np.linspace(0, 1, 59), np.finfo(float).min),
    "a fill value beside NaN": np.append(np.linspace(-1, 1, 58), [np.finfo(float).min, np.nan]),
    "both largest and NaN": np.tile([np.finfo(float).min, np.finfo(float).max, np.nan], 20),
    "the smallest floats": np.arange(60) * 5e-324,
    "a constant": np.full(60, 1 / 3),
    "a huge constant": np.full(60, 1.7e308),
    "a constant and infinities": np.append(np.full(58, 7.5), [-np.inf, np.inf]),
    "zeros": np.zeros(60),
    "minus zero": np.full(60, -0.0),
    "only NaN": np.full(60, np.nan),
    "only infinities": np.tile([np.inf, -np.inf], 30),
    "little range far from zero": np.linspace(10000, 10001, 60, dtype=np.float32),
    "float16": np.linspace(-60000, 60000, 60).astype(np.float16),
    "longdouble": np.linspace(-1, 3, 60).astype(np.longdouble),
    "all of int8": np.linspace(-128, 127, 60).astype(np.int8),
    "all of int16": np.linspace(-32768, 32767, 60).astype(">i2"),
    "all of int64": np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max] * 30),
    "all of uint64": np.array([0, np.iinfo(np.uint64).max] * 30, dtype=np.uint64),
    "booleans": np.arange(60) % 7 == 0,
}


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_values_come_back(name, fine):
    data = EXTREMES[name].reshape(3, 4, 5)
    layer = pack(data, fine_voxels=1000 * fine)
    json.dumps(layer | {"voxels": None}, allow_nan=False)
    assert_close(volume_of(layer, (3, 4, 5)), data, layer)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, ">i2", bool])
def test_small_whole_numbers_are_exact(dtype):
    data = RNG.integers(-32768, 32768, (9, 8, 7)).astype(dtype)
    layer = pack(data)
    assert layer["exact"]
    assert_close(volume_of(layer, data.shape), data, layer)


def test_infinities_take_the_ends_of_the_codes():
    data = np.append(RNG.normal(size=118), [-np.inf, np.inf]).reshape(4, 5, 6)
    for fine, last in ((0, 255), (1000, 65535)):
        codes = codes_of(pack(data, fine_voxels=fine))[..., 0]
        assert codes[data == -np.inf] == 0
        assert codes[data == np.inf] == last


SPREAD = np.linspace(-1, 1, 1000)
WIDE = (
    np.arange(100_000) * 2.0**40
)  # whole numbers too far apart for codes on a line, and too many for a table


@pytest.mark.parametrize(
    ("data", "options", "clips"),
    [
        (np.arange(1000), {}, False),
        (SPREAD, {}, False),
        (np.append(SPREAD, np.nan), {}, False),
        (np.append(SPREAD, np.inf), {}, True),
        (np.append(SPREAD, 1e9), {}, True),
        (np.append(SPREAD, -1e9), {"fine": True}, True),
        (SPREAD * 1.7e308, {}, True),
        (np.full(9, 1 / 3), {}, False),
        (np.append(np.full(9, 1 / 3), -np.inf), {}, True),
        (WIDE[:1000], {"labels": True}, False),
        (WIDE, {"labels": True}, True),
        (WIDE[:100] * 2.0**10, {"labels": True}, False),
    ],
)
def test_a_coding_says_whether_its_ends_stand_for_more(data, options, clips):
    """As viewer.js then writes "at least" and "at most" instead of a value."""
    data = data.reshape(1, 1, -1)
    coding = choose_coding(data, **{"fine": False} | options)
    assert (coding.clips, describe(encode(data, coding), coding)["clips"]) == (clips, clips)
    found = decode(encode(data, coding), coding)
    slack = 0.51 * coding.slope if coding.table is None else 0
    assert clips == bool(((data < np.nanmin(found) - slack) | (data > np.nanmax(found) + slack)).any())


@few
@given(
    hnp.arrays(np.float32, (4, 4, 4), elements=st.floats(-100, 100, width=32)), st.booleans(), st.booleans()
)
def test_zero_stays_zero_so_that_a_map_is_clear_there(data, fine, with_nan):
    data[0, 0, :2] = 0, np.nan if with_nan else 0
    coding = choose_coding(data, fine)
    assert decode(encode(data, coding), coding)[0, 0, 0] == 0


@few
@given(arrays(dtypes=whole_numbers), st.booleans(), st.booleans())
def test_labels_come_back_whatever_their_dtype(data, as_float, fine):
    data = np.clip(data, 0, 2**53).astype(float) if as_float else data
    if np.abs(data.astype(float)).max() > 2**53:
        return
    coding = choose_coding(data, fine, labels=True)
    assert coding.exact
    np.testing.assert_array_equal(decode(encode(data, coding), coding), data)


def test_labels_beside_nan_come_back():
    data = np.tile([0, 1, 14175, np.nan], 15).reshape(3, 4, 5)
    coding = choose_coding(data, fine=False, labels=True)
    np.testing.assert_array_equal(decode(encode(data, coding), coding), data)


@pytest.mark.parametrize("n_channels", [3, 4])
def test_colours_come_back(n_channels):
    data = RNG.integers(0, 256, (7, 8, n_channels), dtype=np.uint8)
    data[0] = data[:, 0] = 9  # to be cropped
    layer = pack(as_volume(data).data)
    codes = volume_of(layer, (7, 8, 1))[..., 0, 0]
    assert layer["shape"] == [6, 7, 1, 1]
    for channel in range(4):
        wanted = data[..., channel] if channel < n_channels else 255
        np.testing.assert_array_equal(codes >> (8 * channel) & 255, np.broadcast_to(wanted, (7, 8)))


def test_outliers_do_not_eat_the_levels():
    data = RNG.normal(size=(40, 40, 40)).astype(np.float32)
    data[3, 4, 5] = 1e6
    for fine, levels in ((0, 100), (10**6, 200)):
        layer = pack(data, fine_voxels=fine)
        low, high = np.percentile(data, (0.5, 99.5))
        assert (high - low) / layer["slope"] > levels
        found = volume_of(layer, data.shape)
        assert found.max() == found[3, 4, 5, 0]


# Where the codes lie.


@few
@given(arrays(), st.integers(0, 2), st.integers(0, 3), st.integers(0, 3))
def test_the_margin_is_cropped_and_comes_back(data, axis, before, after):
    data = volume(data)
    pads = [(before, after) if other == axis else (0, 0) for other in range(3)]
    padded = np.pad(data, pads, constant_values=data.flat[0] if before else data.flat[-1])
    layer = pack(padded)
    assert_close(volume_of(layer, padded.shape), padded, layer)
    if before or not after:
        assert layer["shape"][axis] <= data.shape[axis]
    assert all(n >= 1 for n in layer["shape"])


@few
@given(hnp.array_shapes(min_dims=4, max_dims=4, max_side=9), st.integers(1, 60), st.booleans())
def test_each_voxel_of_a_thinned_volume_is_one_of_its_block(shape, most_voxels, with_margin):
    data = np.arange(1, np.prod(shape) + 1).reshape(shape)
    if with_margin:
        data[: shape[0] // 2] = 0
    layer = pack(data, most_voxels)
    step = layer["step"]
    found = volume_of(layer, shape[:3])
    for place in np.ndindex(shape[:3]):
        block = tuple(slice(n // step * step, n // step * step + step) for n in place)
        assert all(found[place][time] in data[block][..., time] for time in range(shape[3]))
    assert np.prod(layer["shape"]) <= most_voxels or step >= max(shape[:3])
    assert layer["exact"] == (step == 1)
    if step > 1:  # no coarser than need be
        assert np.prod([-(-n // (step - 1)) for n in shape[:3]]) * shape[3] > most_voxels


def test_a_smallest_step_is_kept():
    layer = pack(RNG.integers(0, 9, (10, 11, 12)), step=3)
    assert (layer["step"], layer["shape"]) == (3, [4, 4, 4, 1])


@few
@given(arrays())
def test_the_same_voxels_give_the_same_bytes(data):
    once = pack(data)
    for same in (
        data,
        np.asfortranarray(data),
        data.astype(data.dtype.newbyteorder()),
        data[::-1][::-1].copy(),
    ):
        assert pack(same) == once


def test_a_large_ct_is_opened_in_bounded_memory():
    slices = RNG.integers(-1000, 2000, (512, 512, 1)).astype(np.int16)
    data = np.broadcast_to(slices, (512, 512, 400))  # 210 MB, had each slice its own
    tracemalloc.start()
    viewer = SliceViewer(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6
    layer = viewer._voxels["layers"][0]
    assert (layer["step"], layer["shape"]) == (2, [256, 256, 200, 1])
    assert viewer._voxels["note"] == (
        "While you move, one voxel in 2 along each axis is drawn; at rest, all of them."
    )
