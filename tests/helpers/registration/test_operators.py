import subprocess
import sys

import numba
import numpy as np
import pytest
from scipy import ndimage as ndi
from textures import texture

from helpers.registration import fast, operators

SHAPES = [(37, 50), (20, 31, 27)]


@pytest.fixture(params=SHAPES, ids=str)
def case(request):
    """Two images, a displacement on a coarser lattice that leads out of view, and the lattice's shape."""
    shape = request.param
    rng = np.random.default_rng(3)
    images = [texture(np.indices(shape), seed).astype(np.float32) for seed in (1, 2)]
    lattice = tuple(-(-n // 2) for n in shape)
    field = np.stack([ndi.gaussian_filter(rng.standard_normal(lattice), 2) for _ in shape])
    return *images, (1.5 * field / field.std()).astype(np.float32), lattice


def close(one, other, atol=2e-5):
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
    np.testing.assert_allclose(one, other, atol=atol)


def test_numba_warps_as_numpy(case):
    image, _, field, _ = case
    warped = operators.warp(image, field)
    assert 0.01 < np.isnan(warped).mean() < 0.5
    close(fast.warp(image, field), warped)


@pytest.mark.parametrize("gradient", ["symmetric", "fixed", "moving"])
def test_numba_forces_as_numpy(case, gradient):
    fixed, moving, field, lattice = case
    warped = operators.warp(moving, field)
    weights = (1, 0.5, 0.25)[: fixed.ndim]
    parts = [ops.forces(fixed, warped, lattice, gradient, 0.7, weights) for ops in (fast, operators)]
    for one, other in zip(*parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)


def test_numba_smooths_as_numpy(case):
    field = case[2]
    for sigma in ([2.0, 0.7, 1.3], [0, 1, 0], [0, 0, 0], [30, 30, 30]):  # the last wider than the grid
        close(fast.smooth(field, sigma[: len(field)]), operators.smooth(field, sigma[: len(field)]))


def test_numba_composes_resamples_and_measures_as_numpy(case):
    image, _, field, lattice = case
    close(fast.compose(field, field[::-1]), operators.compose(field, field[::-1]))
    close(fast.resample(field, image.shape), operators.resample(field, image.shape))
    close(fast.resample(field, (5,) * len(field)), operators.resample(field, (5,) * len(field)))
    close(fast.resample_image(image, lattice), operators.resample_image(image, lattice))
    close(fast.jacobian(field), operators.jacobian(field))


def test_neither_thread_nor_its_number_changes_a_bit(case, monkeypatch):
    fixed, moving, field, lattice = case
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        monkeypatch.setattr(fast, "SMALLEST_FOR_THREADS", 0)
        warped = fast.warp(moving, field)
        results.append(
            [warped, *fast.forces(fixed, warped, lattice), fast.smooth(field, [1.5] * len(field)),
             fast.compose(field, field), fast.resample(field, fixed.shape), fast.jacobian(field)]
        )  # fmt: skip
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("ops", [operators, fast])
def test_force_of_a_ramp_is_thirions(ops):
    # F = 3 i, W = 3 i - 2: d = 2, g = 3, so that d g / (g² + alpha d²) = 6 / (9 + 4 alpha).
    fixed = np.repeat(3 * np.arange(8, dtype=np.float32)[:, None], 6, axis=1)
    numerator, evidence, ssd, inside = ops.forces(fixed, fixed - 2, fixed.shape, "symmetric", 0.5, (1.0, 1.0))
    np.testing.assert_allclose(numerator[0] / evidence, 6 / 11, rtol=1e-6)
    np.testing.assert_array_equal(numerator[1], 0)
    assert (ssd, inside) == (4 * 48, 48)


@pytest.mark.parametrize("ops", [operators, fast])
def test_outside_the_field_of_view_nobody_votes(ops):
    fixed = np.repeat(np.arange(8, dtype=np.float32)[:, None], 6, axis=1)
    warped = fixed - 1
    warped[3, 2] = np.nan
    numerator, evidence, ssd, inside = ops.forces(fixed, warped, fixed.shape)
    silent = np.argwhere(evidence == 0).tolist()
    assert silent == [[2, 2], [3, 1], [3, 2], [3, 3], [4, 2]]  # itself, and the gradients that would need it
    assert (numerator[:, evidence == 0] == 0).all()
    assert (ssd, inside) == (47, 47)


@pytest.mark.parametrize("ops", [operators, fast])
def test_evidence_is_summed_over_the_cells_of_the_lattice(ops):
    fixed, warped = (texture(np.indices((9, 10)), seed).astype(np.float32) for seed in (1, 2))
    fine = ops.forces(fixed, warped, (9, 10))
    coarse = ops.forces(fixed, warped, (5, 5))
    assert coarse[0].shape == (2, 5, 5)
    np.testing.assert_allclose(coarse[0].sum(axis=(1, 2)), fine[0].sum(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose(coarse[1][-1, -1], fine[1][7:, 8:].sum(), rtol=1e-5)


def test_smoothing_keeps_the_mean_and_has_the_width_that_was_asked_for():
    spike = np.zeros((1, 61, 61), np.float32)
    spike[0, 30, 30] = 1
    smoothed = operators.smooth(spike, (3, 0))[0]
    assert smoothed.sum() == pytest.approx(1, abs=1e-5)
    sd = np.sqrt((smoothed[:, 30] * (np.arange(61) - 30) ** 2).sum())
    assert sd == pytest.approx(3, rel=0.03)


def test_a_folder_that_cannot_be_written_to_costs_the_cache_only(monkeypatch):
    real = numba.njit

    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)
    assert fast._compiled(lambda x: x + 1)(1) == 2


def test_compiling_ahead_leaves_nothing_to_compile():
    code = """
import numpy as np
from helpers.registration import demons, fast
fast.compile_all()
kernels = {name: f for name, f in vars(fast).items() if hasattr(f, "signatures")}
ahead = {name: len(f.signatures) for name, f in kernels.items()}
for shape in ((12, 13), (12, 13, 14)):
    images = np.random.default_rng(0).standard_normal((2, *shape))
    for options in ({}, {"update": "diffeomorphic"}, {"forces": "fixed", "lattice": 1}):
        demons(*images, levels=2, iterations=2, **options)
print(sum(ahead.values()) > 0, ahead == {name: len(f.signatures) for name, f in kernels.items()})
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "True"]
