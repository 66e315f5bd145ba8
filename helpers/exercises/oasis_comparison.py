"""The exercises of lesson 5, OASIS comparison: right answers from the data in use, and typical mistakes."""

from contextlib import suppress

import numpy as np
import scipy.ndimage as ndi
from scipy import stats

from helpers.exercises import Unanswered, Wrong, expect, expect_function, plain
from helpers.registration import mse, mutual_information

NOT_FOUND = {"degrees": 0.5, "pixels": 0.7}  # how far an optimum may lie from the truth, for noise and bins


def undo(answer, degrees, shift):
    """The shift that, after turning back, undoes a turn and then a shift: two numbers, pixels."""
    expected = -_turn(-degrees) @ np.asarray(shift, dtype=float)
    mistakes = [
        (
            -np.asarray(shift),
            "you turn back first, and that turns the old shift, too.",
        ),
        (_turn(degrees) @ shift, "you turn *back*, by minus the angle; and the sign of the shift is wrong."),
        (-_turn(degrees) @ shift, "the shift is turned the wrong way: you turn *back*, by minus the angle."),
        (-_turn(np.rad2deg(-degrees)) @ shift, "`np.cos` and `np.sin` want radians: `np.deg2rad`."),
    ]
    expect(answer, expected, unit="pixels", mistakes=mistakes, atol=0.05)
    return f"turned back and shifted by {expected[0]:.2f} and {expected[1]:.2f} pixels, it lies where it was."


def shrink(answer):
    """A function (picture, factor): smoothed by a Gaussian of factor / 2, every factor-th pixel kept."""
    rng = np.random.default_rng(5)
    picture = rng.uniform(0, 100, (13, 17))
    cases = [((picture, 2), 2), ((picture, 4), 4), ((rng.integers(0, 256, (12, 15), np.uint8), 3), 3)]
    cases = [(case, ndi.gaussian_filter(case[0].astype(float), n / 2)[::n, ::n]) for case, n in cases]
    mistakes = [
        (lambda p, n: p[::n, ::n], "nothing was smoothed: fine patterns come out as coarse ones."),
        (lambda p, n: ndi.gaussian_filter(p.astype(float), n / 2), "smoothed, but still as large as before."),
        (
            lambda p, n: ndi.gaussian_filter(p[::n, ::n].astype(float), n / 2),
            "smooth *first*: after the stride it is too late.",
        ),
        (
            lambda p, n: ndi.gaussian_filter(p.astype(float), n)[::n, ::n],
            "sigma is half the factor, `factor / 2`; this smooths twice as much.",
        ),
        (
            lambda p, n: ndi.gaussian_filter(p, n / 2)[::n, ::n],
            "a filter on `uint8` cuts off the fractions: make floats first, `picture.astype(float)`.",
        ),
    ]
    expect_function(answer, cases, name="shrink", mistakes=mistakes)
    return "what is too fine for the new pixels is gone before they could misread it."


def error(answer):
    """A function (fixed, moving) of two pictures, uint8 or float: their mean absolute error."""
    rng = np.random.default_rng(6)
    fixed, moving = rng.integers(0, 256, (2, 6, 7), np.uint8)
    if fixed.mean() > moving.mean():  # a signed mean is then told from its absolute value
        fixed, moving = moving, fixed
    cases = [((fixed, moving),), ((moving, fixed),), ((fixed / 2.0, moving / 3.0),)]
    cases = [(case, np.abs(case[0].astype(float) - case[1]).mean()) for (case,) in cases]
    mistakes = [
        (lambda a, b: np.abs(a - b).mean(), "`uint8` minus `uint8` wraps around: make floats *first*."),
        (
            lambda a, b: (a - b).mean(),
            "without an absolute value errors cancel; and `uint8` wraps.",
        ),
        (
            lambda a, b: (a.astype(float) - b).mean(),
            "without an absolute value, errors above and below cancel.",
        ),
        (
            lambda a, b: abs((a.astype(float) - b).mean()),
            "`abs` comes before the mean: afterwards errors have cancelled.",
        ),
        (
            lambda a, b: abs(a.mean() - b.mean()),
            "that is the difference of two means: errors have cancelled.",
        ),
        (lambda a, b: ((a.astype(float) - b) ** 2).mean(), "that is the mean *squared* error."),
        (
            lambda a, b: np.sqrt(((a.astype(float) - b) ** 2).mean()),
            "that is the *root* of the mean squared error; take `np.abs`, not squares.",
        ),
        (lambda a, b: np.abs(a.astype(float) - b).sum(), "that is the sum; divide by the number of pixels."),
        (lambda a, b: np.abs(a.astype(float) - b), "one number, please: the mean over all pixels."),
    ]
    expect_function(answer, cases, name="error", mistakes=mistakes)
    return "floats first, then the difference, then `abs`, then the mean."


def overlap(answer):
    """A function (mask, other) of two masks: intersection over union."""
    masks = np.random.default_rng(7).random((3, 8, 9)) < np.array([0.5, 0.3, 0.6])[:, None, None]
    cases = [((masks[0], masks[1]),), ((masks[2], masks[0]),)]
    cases = [((a, b), (a & b).sum() / (a | b).sum()) for ((a, b),) in cases]
    mistakes = [
        (lambda a, b: (a | b).sum() / (a & b).sum(), "upside down: the intersection *over* the union."),
        (lambda a, b: 2 * (a & b).sum() / (a.sum() + b.sum()), "that is Dice; divide by the union."),
        (
            lambda a, b: (a & b).sum() / (a.sum() + b.sum()),
            "the sum of both counts what they share twice; the union counts it once.",
        ),
        (lambda a, b: (a & b).sum() / a.sum(), "that is the part of the first mask that is covered."),
        (lambda a, b: (a & b).sum() / b.sum(), "that is the part of the second mask that is covered."),
        (lambda a, b: (a == b).mean(), "that also counts the background on which both agree."),
        (lambda a, b: (a & b).mean(), "divided by the whole picture; divide by the union."),
        (lambda a, b: (a & b).sum(), "that counts the intersection; divide by the union."),
        (lambda a, b: (a ^ b).sum() / (a | b).sum(), "`^` is where they differ; `&` is what they share."),
    ]
    expect_function(answer, cases, name="overlap", mistakes=mistakes)
    return "and Dice = 2 IoU / (1 + IoU): the two rank masks alike, Dice with the larger number."


def find(answer, fixed, moving, degrees, shift):
    """What undoes a turn and a shift, found by mutual information: degrees, and two pixels."""
    if hasattr(answer, "x"):
        raise Wrong("that is all that `minimize` has to report; the setting is its `.x`.")
    answer = plain(answer)
    if not isinstance(answer, np.ndarray) or answer.shape != (3,) or answer.dtype.kind not in "iuf":
        raise Wrong("three numbers, please: the angle in degrees and two shifts in pixels, as in `.x`.")
    if not np.isfinite(answer).all():
        raise Wrong("the optimiser returned a NaN; does your cost return one number for every setting?")
    if np.abs(answer).max() < 0.1:
        raise Wrong(
            "the search has hardly left its start: Nelder–Mead's first steps from a zero are tiny, and the "
            'histogram does not feel them; use `method="Powell"`.'
        )
    right = np.array([-degrees, *(-_turn(-degrees) @ np.asarray(shift, dtype=float))])
    far = np.abs(answer - right)
    if far[0] <= NOT_FOUND["degrees"] and far[1:].max() <= NOT_FOUND["pixels"]:
        return f"off by {far[0]:.2f} degrees and {far[1:].max():.2f} pixels, in spite of the other contrast."
    for order in ((0, 2, 1), (2, 0, 1), (2, 1, 0)):
        if np.allclose(answer[list(order)], right, atol=NOT_FOUND["pixels"]):
            raise Wrong("the three numbers are in another order: the angle, the shift along i, along j.")
    if np.allclose(answer, [degrees, *shift], atol=NOT_FOUND["pixels"]):
        raise Wrong("that is the motion that was *done*; find the one that undoes it.")
    scores = {
        name: (mutual_information(fixed, moved), mse(fixed, moved))
        for name, at in (("answer", answer), ("start", np.zeros(3)), ("right", right))
        for moved in [_move(moving, at[0], at[1:])]
    }
    if scores["answer"][0] < scores["start"][0]:
        raise Wrong("mutual information has *fallen*: `minimize` minimises, so return the negative of it.")
    if scores["answer"][1] < scores["right"][1]:
        raise Wrong("that is where the mean squared error is small; use mutual information.")
    raise Wrong("that is no good match; start at zeros, and hand `move` the angle first, then two shifts.")


def safe(answer):
    """A function (measure, subject): the row, or a row with the reason if measuring raises an error."""
    if answer is None or answer is ...:
        raise Unanswered("`safe` is still empty.")

    def damaged(reason, kind):
        def measure(subject):
            raise kind(reason)

        return measure

    def good(subject):
        return {"participant_id": subject, "brain_vol": 1001.5}

    cases = [
        ((good, "sub-0007"), good("sub-0007")),
        *(
            ((damaged(reason, kind), label), {"participant_id": label, "error": reason})
            for label, reason, kind in (
                ("sub-0008", "the file ends too early", ValueError),
                ("sub-0009", "there is no such file", FileNotFoundError),
                ("sub-0010", "the mask is empty", RuntimeError),
            )
        ),
    ]
    mistakes = [
        (
            lambda measure, subject: _caught(measure, subject, lambda error: repr(error)),
            "`repr` puts the kind of error around the message; `str(error)` is the message.",
        ),
        (
            lambda measure, subject: _caught(measure, subject, lambda error: "error"),
            "a row that says only “error” helps nobody; put the message into it, `str(error)`.",
        ),
    ]
    kept = None
    with suppress(Exception):  # expect_function says what is wrong with that
        kept = answer(damaged("the file ends too early", ValueError), "sub-0008")
    if isinstance(kept, dict) and isinstance(kept.get("error"), BaseException):
        raise Wrong("that keeps the error itself, which no table can store; `str(error)` is its message.")
    try:
        expect_function(answer, cases, name="safe", mistakes=mistakes)
    except Wrong as wrong:
        if " raises " in str(wrong):
            raise Wrong(f"an error gets out and stops the whole run. {wrong}") from None
        raise
    interrupted = damaged("stop", KeyboardInterrupt)
    try:
        answer(interrupted, "sub-0011")
    except KeyboardInterrupt:
        return "a row for everybody, with a reason where there are no numbers."
    raise Wrong(
        "that also swallows Ctrl+C, as a bare `except:` does, and no one can stop it: `except Exception`."
    )


def within(answer, table):
    """Pearson's correlation of brain_vol and age among people without, and with, the disease: two numbers."""
    age, brain = (np.asarray(table[name], dtype=float) for name in ("age", "brain_vol"))
    ill = np.asarray(table["alzheimers"], dtype=bool)
    healthy_r, ill_r = (np.corrcoef(age[group], brain[group])[0, 1] for group in (~ill, ill))
    every = np.corrcoef(age, brain)[0, 1]
    ratio = brain / np.asarray(table["skull_vol"], dtype=float)
    mistakes = [
        (every, "that is everybody together; one number for each group, please."),
        ((every, every), "that is everybody together, twice; take each group's own rows."),
        ((ill_r, healthy_r), "the healthy first, please: the two groups are exchanged."),
        (
            tuple(stats.spearmanr(age[group], brain[group])[0] for group in (~ill, ill)),
            "those are rank correlations; Pearson's, please, which `corr` computes by itself.",
        ),
        (
            tuple(np.corrcoef(age[group], ratio[group])[0, 1] for group in (~ill, ill)),
            "that is the ratio to the skull; `brain_vol`, please.",
        ),
        ((healthy_r**2, ill_r**2), "those are squares: the share of the variance; r itself, please."),
    ]
    expect(answer, (healthy_r, ill_r), mistakes=mistakes, atol=0.005)
    return f"{healthy_r:.2f} among the healthy, {ill_r:.2f} among the ill, {every:.2f} together."


def effect(answer, healthy, ill):
    """Hedges' g of two samples, ill minus healthy: float."""
    a, b = np.asarray(ill, dtype=float), np.asarray(healthy, dtype=float)
    n = len(a) + len(b)
    difference = a.mean() - b.mean()
    variance = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (n - 2)
    d = difference / np.sqrt(variance)
    expected = d * (1 - 3 / (4 * n - 9))
    mistakes = [
        (d, "that is Cohen's d; multiply by the correction for small samples."),
        (difference, "that is the difference of the means; in which unit? Divide by the pooled SD."),
        (difference / variance, "divided by the variance; take its root, the standard deviation."),
        (stats.ttest_ind(a, b).statistic, "that is t, which grows with the number of people; g does not."),
        (stats.ttest_ind(b, a).statistic, "that is t, which grows with the number of people; g does not."),
        *(
            (round(expected, n), "rounded, it cannot be told from Cohen's d; all digits, please.")
            for n in (1, 2)
        ),
        (-d, "ill minus healthy, so that a loss is negative; and the small-sample correction is missing."),
        (
            difference / np.concatenate([a, b]).std(ddof=1),
            "that standard deviation is of all together, and holds the difference itself; pool the two.",
        ),
    ]
    expect(answer, expected, mistakes=mistakes, rtol=3e-4)
    return f"the groups lie {abs(expected):.2f} standard deviations apart, which no number of people changes."


def adjust(answer, table, everybody):
    """Effect of the disease on grey matter, adjusted for age, sex and skull, and its interval: 3 numbers."""
    import statsmodels.formula.api as smf

    def fitted(formula, rows=table, alpha=0.05):
        fit = smf.ols(formula, rows).fit()
        return np.array([fit.params["alzheimers[T.True]"], *fit.conf_int(alpha).loc["alzheimers[T.True]"]])

    formula = "gray_matter_vol ~ alzheimers + age + sex + skull_vol"
    expected = fitted(formula)
    mistakes = [
        (
            fitted("gray_matter_vol ~ alzheimers"),
            "nothing is adjusted for: age, sex and skull are missing.",
        ),
        (fitted("gray_matter_vol ~ alzheimers + age"), "sex and head size are missing."),
        (fitted("gray_matter_vol ~ alzheimers + age + sex"), "head size is missing: `skull_vol`."),
        (fitted("gray_matter_vol ~ alzheimers + age + skull_vol"), "sex is missing."),
        (fitted("gray_matter_vol ~ alzheimers + sex + skull_vol"), "age is missing."),
        (
            fitted(formula.replace("gray_matter", "brain")),
            "that is the whole brain; grey matter, please.",
        ),
        (fitted(formula, everybody), "that is everybody; take the people in `older` only."),
        (fitted(formula, alpha=0.1), "that is the 90 % interval."),
        (expected[1:], "the interval is right; put the effect itself before it."),
        (expected[0], "the effect is right; add both ends of its interval."),
        (expected[[0, 2, 1]], "the lower end first."),
    ]
    expect(answer, expected, unit="ml", mistakes=mistakes, atol=0.05)
    low, high = expected[1:]
    return f"{expected[0]:.0f} ml, from {low:.0f} to {high:.0f} ml, for people of one age, sex and head size."


def survivors(answer, t, dof):
    """How many voxels pass a two-sided test at 5 % after Bonferroni's correction: int."""
    t = np.asarray(t, dtype=float)
    p = 2 * stats.t.sf(np.abs(t), dof)
    expected = int(np.count_nonzero(p < 0.05 / t.size))
    mistakes = [
        (
            int(np.count_nonzero(p < 0.05)),
            "those pass uncorrected; one in twenty would by chance.",
        ),
        (
            int(np.count_nonzero(stats.false_discovery_control(p) < 0.05)),
            "those survive control of the false discovery rate; Bonferroni is stricter.",
        ),
        (int(np.count_nonzero(p / 2 < 0.05 / t.size)), "that is a one-sided test: double the p-values."),
        (
            int(np.count_nonzero(stats.t.sf(t, dof) < 0.05 / t.size)),
            "that looks for *more* grey matter only: take the absolute value of t.",
        ),
        (int(np.count_nonzero(2 * stats.norm.sf(np.abs(t)) < 0.05 / t.size)), "that takes t for a normal z."),
        (expected / t.size, "that is a share; how many voxels?"),
    ]
    expect(answer, expected, unit="voxels", mistakes=mistakes, rtol=0)
    return f"{expected} of {t.size} voxels."


def _turn(degrees):
    """Return the (2, 2) matrix that turns from the first axis towards the second."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cos, -sin], [sin, cos]])


def _move(picture, degrees, shift):
    """Return a picture turned about its centre, then shifted, as the lesson's `move` does."""
    back = _turn(-degrees)
    centre = (np.array(picture.shape) - 1) / 2
    return ndi.affine_transform(picture, back, centre - back @ (centre + shift), order=1)


def _caught(measure, subject, say):
    """Return a row, or one with what is said of an error."""
    try:
        return measure(subject)
    except Exception as error:
        return {"participant_id": subject, "error": say(error)}
