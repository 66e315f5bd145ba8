import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi
from textures import error, linear, pair, rotation, shift, texture

from data_fetchers import fetch_breathing_mr, fetch_warped_brain
from helpers.registration import (
    close_demons,
    compose,
    demons,
    dice,
    fast,
    identity,
    jacobian,
    mse,
    operators,
    warp,
)

SHAPES = [(72, 81), (37, 40, 45)]
UPDATES = ["compositional", "additive", "diffeomorphic"]
CLASSIC = {
    "evidence": "pointwise", "lattice": 1, "momentum": 0, "update": "additive", "sigma_image": 0,
    "sigma_fluid": 1, "sigma_elastic": 1,
}  # fmt: skip


def smooth_warp(shape, size=2.0):
    """Return a displacement of a few waves that does not fold."""
    points = np.indices(shape, float)
    return np.stack([size * np.sin(2 * np.pi * points[a - 1] / 36 + a) for a in range(len(shape))])


@pytest.fixture(scope="module")
def brain():
    """Return fixed, moving, true displacement and brain mask of the slice and of the volume."""
    data = fetch_warped_brain()
    return {
        name: (
            *(data.images[f"{name}_{role}"].get_fdata(dtype=np.float32) for role in ("fixed", "moving")),
            data.truth[f"displacement_{ndim}d"],
            data.truth[f"brain_{ndim}d"],
        )
        for name, ndim in (("slice", 2), ("volume", 3))
    }


def end_point_error(displacement, truth, mask):
    return float(np.sqrt(((displacement - truth) ** 2).sum(axis=0))[mask].mean())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("update", UPDATES)
def test_equal_images_stay_where_they_are(shape, update):
    image = texture(np.indices(shape))
    result = demons(image, image, update=update)
    np.testing.assert_allclose(result.displacement, 0, atol=1e-4)
    np.testing.assert_allclose(result.warped, image, atol=1e-3)
    assert result.folded == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("by", [[3, -2, 1], [0.4, 0.25, -0.3], [-2.7, 1.2, 0]])
def test_whole_and_part_voxel_shifts_are_recovered(shape, by):
    truth = shift(shape, by[: len(shape)])
    assert error(demons(*pair(shape, truth)).displacement, truth, margin=8) < 0.2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("zoom", [0, 0.08])
def test_rotations_and_zooms_are_recovered(shape, zoom):
    matrix = rotation(len(shape), 6) if zoom == 0 else np.diag([1 + zoom, 1 - zoom, 1][: len(shape)])
    truth = linear(shape, matrix)
    assert error(demons(*pair(shape, truth)).displacement, truth, margin=8) < 0.15


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("forces", ["symmetric", "fixed", "moving"])
def test_every_force_and_update_recovers_a_smooth_warp(shape, update, forces):
    truth = smooth_warp(shape)
    result = demons(*pair(shape, truth), update=update, forces=forces, sigma_fluid=4)
    assert error(result.displacement, truth) < 0.35
    assert result.folded == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_classic_demons_work_too(shape):
    truth = smooth_warp(shape)
    before, after = (
        error(u, truth) for u in (0 * truth, demons(*pair(shape, truth), **CLASSIC).displacement)
    )
    assert after < 0.4 < before


def test_the_displacement_leads_from_the_fixed_to_the_moving_image():
    spot = np.zeros((40, 44))
    spot[20, 22] = 1
    fixed, moving = ndi.gaussian_filter(spot, 3), ndi.gaussian_filter(np.roll(spot, 3, axis=0), 3)
    displacement = demons(fixed, moving, levels=2).displacement
    np.testing.assert_allclose(displacement[:, 20, 22], [3, 0], atol=0.3)


@pytest.mark.parametrize("operators", ["numpy", "numba"])
def test_what_the_result_holds_agrees_with_itself(operators):
    fixed, moving = pair((50, 61), smooth_warp((50, 61)))
    result = demons(fixed, moving, operators=operators)
    assert result.displacement.shape == (2, 50, 61)
    assert result.displacement.dtype == result.warped.dtype == np.float32
    np.testing.assert_allclose(result.warped, warp(moving, result.displacement), atol=1e-4)
    folding = jacobian(result.displacement)
    assert result.minimum_jacobian == pytest.approx(folding.min(), abs=1e-5)
    assert result.folded == (folding <= 0).mean()


def test_the_msd_never_rises_over_an_accepted_step(brain):
    fixed, moving, *_ = brain["slice"]
    result = demons(fixed, moving, tolerance=0)
    for level in range(3):
        rows = result.history[result.history["level"] == level]
        assert rows["accepted"][0]
        assert (np.diff(rows["msd"][rows["accepted"]]) < 0).all()
        assert rows["msd"].min() == rows["msd"][rows["accepted"]][-1]


def test_a_level_hands_on_its_best_state_not_its_last(monkeypatch):
    # Matched but once, the brightness is that of the images as they came, and the MSD can be computed again.
    monkeypatch.setattr(sys.modules["helpers.registration.demons"], "MATCH", 1000)
    fixed, moving = (texture(np.indices((60, 60)), seed) for seed in (1, 2))
    result = demons(
        fixed, moving, levels=1, momentum=0.98, alpha=0.25, sigma_image=0, sigma_fluid=2, tolerance=0,
        iterations=60, lattice=1,
    )  # fmt: skip
    assert not result.history["accepted"][-1]
    scored = [((image - image.mean()) / image.std()) for image in (fixed, moving)]
    seen = warp(scored[1], result.displacement)
    inside = np.isfinite(seen).mean()
    start = result.history["msd"][0]
    msd = mse(scored[0], seen) * inside + start * (1 - inside)
    assert msd == pytest.approx(result.history["msd"].min(), rel=1e-3)


def test_pushing_voxels_out_of_view_does_not_lower_the_msd():
    fixed = texture(np.indices((48, 48)))
    result = demons(fixed, -fixed, levels=2)
    inside = np.isfinite(result.warped)
    last = result.history[result.history["accepted"]][-1]
    start = result.history["msd"][result.history["level"] == 1][0]
    assert last["outside"] == pytest.approx(1 - inside.mean())
    assert last["msd"] >= last["outside"] * start


@pytest.mark.parametrize(("name", "limit"), [("slice", 0.4), ("volume", 0.28)])
def test_a_known_warp_of_the_brain_is_recovered(brain, name, limit):
    fixed, moving, truth, mask = brain[name]
    result = demons(fixed, moving)
    assert end_point_error(result.displacement, truth, mask) < limit
    assert result.folded == 0


def test_pooled_evidence_is_closer_to_the_truth_than_pointwise_forces(brain):
    fixed, moving, truth, mask = brain["slice"]
    pooled, pointwise = (
        end_point_error(demons(fixed, moving, **options).displacement, truth, mask)
        for options in ({}, CLASSIC)
    )
    assert pooled < 0.6 * pointwise


def test_there_and_back_is_almost_the_identity(brain):
    fixed, moving, _, mask = brain["slice"]
    there, back = demons(fixed, moving).displacement, demons(moving, fixed).displacement
    assert end_point_error(compose(back, there), 0, mask) < 0.3


@pytest.mark.parametrize("seed", range(3))
def test_the_diffeomorphic_update_does_not_fold_even_between_unlike_images(seed):
    rng = np.random.default_rng(seed)
    fixed, moving = (ndi.gaussian_filter(rng.standard_normal((64, 70)), 2) for _ in range(2))
    options = {"sigma_fluid": 1, "sigma_elastic": 0.5, "alpha": 0.1, "lattice": 1, "tolerance": 0.001}
    assert demons(fixed, moving, **options).folded > 0.005
    result = demons(fixed, moving, update="diffeomorphic", **options)
    assert (result.folded, result.minimum_jacobian > 0) == (0, True)
    assert result.history["msd"].min() < 0.5 * result.history["msd"].max()


def test_a_circle_becomes_a_c_without_a_fold():
    y, x = np.indices((128, 128)) - 63.5
    circle = np.hypot(x, y) < 38
    letter = circle & (np.hypot(x, y) > 19) & ((np.abs(y) > 10) | (x < 0))
    fixed, moving = (ndi.gaussian_filter(mask.astype(np.float32), 1) for mask in (letter, circle))
    result = demons(
        fixed, moving, update="diffeomorphic", levels=4, iterations=300, tolerance=0.001,
        sigma_fluid=2, sigma_elastic=0.5, alpha=0.25, lattice=1, momentum=0,
    )  # fmt: skip
    assert result.folded == 0
    assert dice(np.nan_to_num(result.warped) > 0.5, letter) > 0.95 > 0.85 > dice(circle, letter)


@pytest.mark.parametrize("operators", ["numpy", "numba"])
def test_turned_and_mirrored_images_give_the_turned_and_mirrored_answer(operators):
    shape = (30, 34, 38)
    fixed, moving = pair(shape, smooth_warp(shape, 1.5))
    options = {"levels": 2, "tolerance": 0.001, "operators": operators}
    straight = demons(fixed, moving, **options).displacement
    axes = (2, 0, 1)
    turned = demons(fixed.transpose(axes), moving.transpose(axes), **options).displacement
    np.testing.assert_allclose(turned, straight[list(axes)].transpose(0, *(a + 1 for a in axes)), atol=0.01)
    mirrored = demons(fixed[::-1], moving[::-1], **options).displacement
    np.testing.assert_allclose(mirrored, np.reshape([-1, 1, 1], (3, 1, 1, 1)) * straight[:, ::-1], atol=0.05)


def test_gain_offset_and_unit_of_an_image_do_not_matter(brain):
    fixed, moving, *_ = brain["slice"]
    plain = demons(fixed, moving).displacement
    np.testing.assert_allclose(demons(1e-6 * fixed, 1.3e6 * moving + 5e5).displacement, plain, atol=0.02)


def test_a_brain_that_grows_is_not_taken_for_a_brighter_one(brain, monkeypatch):
    # The moving brain is 6 % larger along both axes: it fills more of the image, whose mean is higher.
    fixed, _, _, mask = brain["slice"]
    truth = linear(fixed.shape, 1.06 * np.eye(2))
    points = (np.indices(fixed.shape) - 127.5) / 1.06 + 127.5
    moving = ndi.map_coordinates(fixed, points, order=3)
    matched = demons(fixed, moving).displacement
    module = sys.modules["helpers.registration.demons"]
    monkeypatch.setattr(module.fields, "matched", lambda moving, warped, fixed: (moving, warped))
    as_they_came = demons(fixed, moving).displacement
    error = end_point_error(matched, truth, mask)
    assert error < 0.25
    assert error < 0.7 * end_point_error(as_they_came, truth, mask)


def test_the_classic_demons_see_the_z_scored_images_as_they_came(monkeypatch):
    images = pair((50, 61), smooth_warp((50, 61)))
    usual = demons(*images, **CLASSIC).displacement
    module = sys.modules["helpers.registration.demons"]
    monkeypatch.setattr(module.fields, "matched", None)  # whoever calls it fails
    np.testing.assert_array_equal(demons(*images, **CLASSIC).displacement, usual)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (2, 0), (1, 2)])
def test_close_demons_match_breathing_better_without_a_fold(one, other):
    frames = list(fetch_breathing_mr("bundled").images.values())
    images = frames[one] / 255, frames[other] / 255
    plain, close = demons(*images), close_demons(*images)
    worth = 1 - sys.modules["helpers.registration.demons"].NOISE * 2
    assert close.history["msd"][close.history["accepted"]][-1] < worth * plain.history["msd"][-1]
    assert mse(images[0], close.warped) < 0.85 * mse(images[0], plain.warped)
    assert close.folded == 0


def test_close_demons_stop_where_only_noise_is_left(brain):
    fixed, moving, truth, mask = brain["slice"]
    widths = []
    close = close_demons(fixed, moving, callback=lambda state: widths.append(state.level) and None)
    np.testing.assert_array_equal(close.displacement, demons(fixed, moving).displacement)
    assert sum(np.diff([*widths]) < 0) == 1  # they did try once


def test_close_demons_halve_the_width_that_was_asked_for():
    images, spacing = pair((64, 64), smooth_warp((64, 64))), (2, 2)
    close = close_demons(*images, sigma_fluid=24, spacing=spacing).displacement
    halved = [demons(*images, sigma_fluid=width, spacing=spacing).displacement for width in (24, 12, 6)]
    assert [np.array_equal(close, displacement) for displacement in halved].count(True) == 1
    assert not np.array_equal(close, halved[0])


def test_the_unit_of_the_spacing_does_not_matter():
    fixed, moving = pair((60, 66), smooth_warp((60, 66)))
    plain = demons(fixed, moving).displacement
    np.testing.assert_allclose(demons(fixed, moving, spacing=(0.7, 0.7)).displacement, plain, atol=1e-4)
    in_mm = demons(fixed, moving, spacing=(2, 2), sigma_fluid=8, sigma_elastic=3).displacement
    in_voxels = demons(fixed, moving, sigma_fluid=4, sigma_elastic=1.5).displacement
    np.testing.assert_allclose(in_mm, in_voxels, atol=1e-4)


def test_thick_slices_are_smoothed_in_mm():
    # A warp that is as smooth in mm along all axes, seen in voxels of 2 × 2 × 6 mm.
    rng = np.random.default_rng(2)
    shape, spacing = (64, 66, 22), np.array([2, 2, 6])
    truth = np.stack([ndi.gaussian_filter(rng.standard_normal(shape), 18 / spacing) for _ in range(3)])
    truth *= 6 / truth.std() / spacing.reshape(3, 1, 1, 1)
    mm = np.indices(shape) * spacing.reshape(3, 1, 1, 1) / 2
    fixed = texture(mm + truth * spacing.reshape(3, 1, 1, 1) / 2) + 0.3 * rng.standard_normal(shape)
    moving = texture(mm) + 0.3 * rng.standard_normal(shape)

    def error_mm(**options):
        difference = (demons(fixed, moving, levels=2, **options).displacement - truth)[:, 6:-6, 6:-6, 3:-3]
        return np.linalg.norm(difference * spacing.reshape(3, 1, 1, 1), axis=0).mean()

    assert error_mm(spacing=spacing) < 0.95 * error_mm()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(4, 24), min_size=2, max_size=3),
    st.sampled_from(["u1", "i2", "<f4", ">f4", "f8", "i8"]),
    st.sampled_from(UPDATES),
    st.integers(1, 4),
    st.booleans(),
)
def test_every_size_dtype_and_layout_is_welcome(shape, dtype, update, lattice, reversed_axis):
    images = [(100 + 10 * texture(np.indices(shape), seed)).astype(dtype) for seed in (1, 2)]
    if reversed_axis:
        images = [image[::-1].T.copy().T for image in images]
    levels = 1 + (min(shape) >= 8)
    result = demons(*images, levels=levels, iterations=4, update=update, lattice=lattice)
    assert result.displacement.shape == (len(shape), *shape)
    assert np.isfinite(result.displacement).all()
    assert result.history["msd"][-1] <= result.history["msd"][result.history["level"] == levels - 1][0] * 1.5


@pytest.mark.parametrize(
    "options", [{}, CLASSIC, {"update": "diffeomorphic"}, {"forces": "fixed", "lattice": 1}]
)
@pytest.mark.parametrize("shape", [(45, 50), (20, 23, 25)])
def test_numba_agrees_with_numpy(shape, options):
    images = pair(shape, smooth_warp(shape, 1.5))
    one, other = (demons(*images, levels=2, operators=name, **options) for name in ("numba", "numpy"))
    np.testing.assert_allclose(one.displacement, other.displacement, atol=0.02)
    np.testing.assert_allclose(one.history["msd"][:5], other.history["msd"][:5], rtol=1e-4)


def test_results_do_not_depend_on_threads(monkeypatch):
    images = pair((33, 40, 37), smooth_warp((33, 40, 37)))
    monkeypatch.setattr(fast, "SMALLEST_FOR_THREADS", 0)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        results.append(demons(*images))
    np.testing.assert_array_equal(results[0].displacement, results[1].displacement)
    np.testing.assert_array_equal(results[0].history, results[1].history)


def test_several_registrations_may_run_at_once(monkeypatch):
    monkeypatch.setattr(fast, "SMALLEST_FOR_THREADS", 0)
    images = pair((30, 30, 30), smooth_warp((30, 30, 30)))
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: demons(*images, iterations=5).displacement, range(3)))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_the_callback_sees_each_iteration():
    shape = (45, 50)
    images = pair(shape, smooth_warp(shape))
    seen = []

    def watch(state):
        assert state.levels == 2
        assert state.displacement.shape == state.update.shape == (2, *state.fixed.shape)
        seen.append((state.level, state.iteration, state.msd, state.fixed.shape))
        if state.iteration:
            assert np.abs(state.update).max() > 0
        again = warp(moving, state.displacement)
        scored = [(image - np.nanmean(image)) / np.nanstd(image) for image in (state.warped, again)]
        np.testing.assert_allclose(*scored, atol=2e-3)

    moving = operators.smooth(images[1].astype(np.float32)[None], (0.5, 0.5))[0]
    watched = demons(*images, levels=2, callback=lambda s: watch(s) if s.level == 1 else None)
    assert seen == [
        (row["level"], row["iteration"], row["msd"], shape) for row in watched.history if row["level"] == 1
    ]
    np.testing.assert_array_equal(watched.displacement, demons(*images, levels=2).displacement)


@pytest.mark.parametrize("stop_at", [(0, 3), (1, 2)])
def test_the_callback_may_end_the_run(stop_at):
    result = demons(
        *pair((45, 50), smooth_warp((45, 50))), levels=2,
        callback=lambda state: (state.level, state.iteration) == stop_at,
    )  # fmt: skip
    assert tuple(result.history[-1])[:2] == stop_at
    assert result.displacement.shape == (2, 45, 50)
    assert np.abs(result.displacement).max() > 0.5


def test_by_default_the_widths_follow_the_size_of_the_image():
    images = pair((64, 64), smooth_warp((64, 64)))
    usual = demons(*images).displacement
    same = demons(*images, sigma_image=0.5, sigma_fluid=4, sigma_elastic=4 / 7).displacement
    np.testing.assert_array_equal(usual, same)
    assert np.abs(usual - demons(*images, sigma_image=0).displacement).max() > 0.01


def test_the_result_is_not_blurred():
    image = texture(np.indices((40, 44)))
    result = demons(image, image, sigma_image=2)
    np.testing.assert_allclose(result.warped, image, atol=1e-3)


def test_no_iterations_are_no_motion():
    result = demons(*pair((30, 32), shift((30, 32), [1, 0])), levels=2, iterations=(0, 0))
    np.testing.assert_array_equal(result.displacement, 0)
    np.testing.assert_array_equal(identity((30, 32)) + result.displacement, identity((30, 32)))


IMAGE = texture(np.indices((32, 40)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"moving": IMAGE[:, 1:]}, r"shapes \(32, 40\) and \(32, 39\); resample"),
        (
            {"fixed": np.where(IMAGE > 5, np.nan, IMAGE)},
            "The fixed image has .* voxels that are NaN or infinite",
        ),
        ({"moving": np.full((32, 40), np.inf)}, "The moving image has 1280 voxels that are NaN or infinite"),
        ({"moving": np.ones((32, 40))}, "The moving image is constant"),
        ({"fixed": IMAGE[0]}, "The fixed image has 1 dimensions"),
        ({"fixed": IMAGE + 1j}, "dtype is complex128"),
        ({"fixed": "brain.nii"}, "no array of real numbers"),
        ({"levels": 5}, "levels=5 is too many for an image of shape .* at most 4"),
        ({"levels": 0}, "levels=0 must be a whole number"),
        ({"levels": 1.5}, "levels=1.5 must be a whole number"),
        ({"fixed": IMAGE[:3], "moving": IMAGE[1:4]}, "too small; each axis needs 4"),
        ({"iterations": (10, 5)}, r"iterations=\(10, 5\) has 2 numbers for 3 levels"),
        ({"iterations": -1}, "iterations=-1 must be whole numbers"),
        ({"spacing": (1, 1, 3)}, "give 2 positive voxel sizes in mm"),
        ({"spacing": (1, 0)}, "give 2 positive voxel sizes in mm"),
        ({"spacing": 2.0}, "give 2 positive voxel sizes in mm"),
        ({"sigma_image": -1}, "sigma_image=-1 must be a number, 0 or more"),
        ({"sigma_fluid": -1}, "sigma_fluid=-1 must be a number, 0 or more"),
        ({"sigma_elastic": float("nan")}, "sigma_elastic=nan must be a number"),
        ({"alpha": -0.1}, "alpha=-0.1 must be a number, 0 or more"),
        ({"momentum": 1}, "momentum=1 must be a number, from 0 to 0.99"),
        ({"tolerance": -1}, "tolerance=-1 must be a number"),
        ({"lattice": 1.5}, "lattice=1.5 must be 1, 2, 3 or 4"),
        ({"forces": "both"}, "forces='both' is not known; choose from 'symmetric', 'fixed', 'moving'"),
        ({"update": "additve"}, "update='additve' is not known"),
        ({"evidence": None}, "evidence=None is not known"),
        ({"operators": "cuda"}, "operators='cuda' is not known"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"fixed": IMAGE, "moving": IMAGE[::-1]} | change
    with pytest.raises(ValueError, match=message):
        demons(**arguments)


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_numba_is_not_imported_before_it_is_needed():
    assert run("import sys, helpers, helpers.registration; print('numba' in sys.modules)") == ["False"]


def test_everything_works_without_numba():
    code = """
import sys
sys.modules["numba"] = None
import numpy as np
from helpers.registration import demons
i, j = np.indices((32, 32))
image = np.sin(i / 3) + np.cos(j / 4)
print(demons(image, np.roll(image, 1, 0), levels=2).folded)
try:
    demons(image, image, operators="numba")
except ValueError as error:
    print("needs numba" in str(error))
"""
    assert run(code) == ["0.0", "True"]
