"""The simulated OASIS table: the published statistics, and the effects that its truth states."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from data_fetchers.simulate import oasis_volumes

VOLUMES = ["brain_vol", "gray_matter_vol", "white_matter_vol", "csf_vol", "skull_vol"]
TISSUES = VOLUMES[1:4]

# Of the published table, rounded.
CORRELATIONS = {
    ("brain_vol", "gray_matter_vol"): 0.958,
    ("brain_vol", "white_matter_vol"): 0.926,
    ("brain_vol", "csf_vol"): -0.372,
    ("gray_matter_vol", "white_matter_vol"): 0.778,
    ("gray_matter_vol", "csf_vol"): -0.398,
    ("white_matter_vol", "csf_vol"): -0.289,
    ("brain_vol", "skull_vol"): 0.655,
    ("gray_matter_vol", "skull_vol"): 0.559,
    ("white_matter_vol", "skull_vol"): 0.696,
    ("csf_vol", "skull_vol"): 0.298,
}
MEAN_AND_SD = {
    "age": (50.9, 25.2),
    "brain_vol": (989.1, 138.2),
    "gray_matter_vol": (556.0, 83.2),
    "white_matter_vol": (433.1, 63.2),
    "csf_vol": (29.8, 20.7),
    "skull_vol": (1470.0, 161.8),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oasis_volumes")
    oasis_volumes.make(folder)
    return folder


@pytest.fixture(scope="module")
def table(folder):
    return pd.read_csv(folder / "oasis_all_volumes.csv")


def regress(y, *terms):
    """Return the coefficients of a linear model and their standard errors."""
    design = np.stack([np.ones(len(y)), *terms], axis=1).astype(float)
    coefficients, residue, *_ = np.linalg.lstsq(design, y)
    variance = residue[0] / (len(y) - design.shape[1])
    return coefficients, np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))


def test_two_processes_make_the_same_bytes(folder, tmp_path, start_python):
    code = f"from data_fetchers.simulate import oasis_volumes as o; o.make({str(tmp_path)!r})"
    process = start_python(code, tmp_path / "cache")
    assert process.wait(60) == 0
    for name in ("oasis_all_volumes.csv", "truth.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_form_is_that_of_the_published_table(folder, table):
    head = "ID,age,sex,alzheimers,brain_vol,skull_vol,gray_matter_vol,white_matter_vol,csf_vol"
    lines = (folder / "oasis_all_volumes.csv").read_text().splitlines()
    assert lines[0] == head and len(lines) == 426
    form = re.compile(r"SIM_\d{4},\d\d,[FM],(True|False),\d{3,4}\.\d{1,3},\d{4}\.\d{1,8}(,\d+\.\d{1,3}){3}")
    assert all(form.fullmatch(line) for line in lines[1:])
    assert table["alzheimers"].dtype == bool and table["age"].dtype == np.int64
    assert table["ID"].is_unique and not table.isna().any(axis=None)
    np.testing.assert_allclose(
        table["brain_vol"], table["gray_matter_vol"] + table["white_matter_vol"], atol=1e-6
    )
    assert (table["brain_vol"] + table["csf_vol"] < table["skull_vol"]).all()


def test_groups(table):
    groups = table.groupby(["alzheimers", "sex"])["age"].agg(["count", "min", "max"])
    assert groups.loc[False].to_numpy().tolist() == [[208, 18, 94], [124, 18, 90]]
    assert groups.loc[True].to_numpy().tolist() == [[54, 62, 96], [39, 64, 90]]
    young = table["age"] < 30
    assert young.mean() == pytest.approx(0.36, abs=0.02)


def test_means_and_spread(table):
    for name, (mean, sd) in MEAN_AND_SD.items():
        assert table[name].mean() == pytest.approx(mean, rel=0.015), name
        assert table[name].std() == pytest.approx(sd, rel=0.06), name
    ratio = table["brain_vol"] / table["skull_vol"]
    assert ratio.mean() == pytest.approx(0.674, abs=0.01) and ratio.std() == pytest.approx(0.0713, abs=0.005)


@pytest.mark.parametrize(("pair", "published"), CORRELATIONS.items())
def test_correlations(table, pair, published):
    assert table[list(pair)].corr().iloc[0, 1] == pytest.approx(published, abs=0.03)


def test_t_statistics_over_all_ages(table):
    patients, healthy = table[table["alzheimers"]], table[~table["alzheimers"]]
    t = stats.ttest_ind(patients["brain_vol"], healthy["brain_vol"]).statistic
    assert t == pytest.approx(-10.27, rel=0.1)
    ratios = (group["brain_vol"] / group["skull_vol"] for group in (patients, healthy))
    assert stats.ttest_ind(*ratios).statistic == pytest.approx(-15.31, rel=0.1)


def test_most_of_the_raw_difference_is_age(table):
    raw, _ = regress(table["brain_vol"], table["alzheimers"])
    adjusted, error = regress(table["brain_vol"], table["alzheimers"], table["age"])
    assert raw[1] == pytest.approx(-149.1, abs=14.5)  # published: with this standard error
    assert adjusted[1] == pytest.approx(-26.8, abs=13.4) and error[1] == pytest.approx(13.4, rel=0.1)
    head_too, _ = regress(
        table["brain_vol"],
        table["alzheimers"],
        table["age"],
        table["age"] ** 2,
        table["sex"] == "M",
        table["skull_vol"],
    )
    assert head_too[1] == pytest.approx(-51.5, abs=7.7)
    ratio, _ = regress(table["brain_vol"] / table["skull_vol"], table["alzheimers"], table["age"])
    assert ratio[1] == pytest.approx(-0.0404, abs=0.0057)


def test_grey_matter_falls_early_and_white_matter_late(table):
    healthy = table[~table["alzheimers"]]
    part = healthy[TISSUES].div(healthy["skull_vol"], axis=0)
    means = part.groupby(pd.cut(healthy["age"], [17, 25, 60, 100])).mean().to_numpy()
    drops = -np.diff(means, axis=0) / means[0]
    gray, white, csf = drops.T
    assert (gray > 0.03).all() and gray[0] > 0.05
    assert abs(white[0]) < 0.03 and white[1] > 0.07
    assert (csf < 0).all()


@pytest.mark.parametrize("name", TISSUES)
def test_a_regression_finds_the_truth(folder, table, name):
    truth = oasis_volumes.load_truth(folder)
    effect = truth[name]
    first, last = truth["bends_years"]
    age, decades = table["age"], (table["age"] - 50) / 10
    head_size = np.log(table["skull_vol"] / truth["mean_skull_ml"])
    found, error = regress(
        np.log(table[name]),
        table["sex"] == "M",
        table["alzheimers"],
        np.minimum(age - first, 0) / 10,
        np.clip(age - first, 0, last - first) / 10,
        np.maximum(age - last, 0) / 10,
        head_size,
        head_size * decades,
    )
    true = [effect["level"], effect["male"], effect["alzheimers"], *effect["decade"], *effect["head_size"]]
    assert (np.abs(found - true) < 2.5 * error).all()


def test_truth_of_the_skull(folder, table):
    truth = oasis_volumes.load_truth(folder)["skull_vol"]
    found, _ = regress(
        np.log(table["skull_vol"]), table["sex"] == "M", (table["age"] - 50) / 10, table["alzheimers"]
    )
    np.testing.assert_allclose(
        found, [truth[key] for key in ("level", "male", "decade", "alzheimers")], atol=1e-9
    )
