"""A simulated table of brain volumes with the statistics of the published OASIS table, but no row of it.

Each of 425 simulated people has an age, a sex and a diagnosis. Their volumes follow from a model on the
logarithmic scale, where effects are ratios: head size depends on sex; grey matter, white matter and fluid
depend on head size, on age by straight lines that bend at 30 and 60 years, on sex and on disease; what is
left is random and correlated. What is not modelled: repeated scans (the 425 rows of the published table are
406 people, 19 of whom are in it twice; here every row is another person), scanner effects, and any
dependence of the disease's effect on age or sex.

Written files: ``oasis_all_volumes.csv``, ``truth.json``.

Sources
-------
The numbers of the model were fitted to summary statistics (quantiles of age, regression coefficients,
residual standard deviations and correlations) of the published table, which derives from OASIS-1: Marcus et
al. 2007, doi 10.1162/jocn.2007.19.9.1498.
"""

import csv
import json
from pathlib import Path

import numpy as np

SEED = 9  # most seeds give the published correlations to within 0.03, this one to within 0.02

# (Alzheimer's, sex) → people, and the 0, 5, …, 100 % quantiles of their age in years.
AGES = {
    (False, "F"): (
        208,
        (18, 20, 20, 20, 22, 22, 23, 25, 28, 40, 46, 50, 54, 59, 65, 70, 73, 78, 81, 88, 94),
    ),
    (False, "M"): (
        124,
        (18, 19, 20, 21, 21, 22, 22, 23, 24, 25, 28, 30, 34, 43, 48, 51, 59, 68, 73, 80, 90),
    ),
    (True, "F"): (
        54,
        (62, 66, 67, 69, 71, 72, 72, 73, 73, 75, 77, 78, 78, 79, 80, 81, 83, 84, 87, 90, 96),
    ),
    (True, "M"): (
        39,
        (64, 66, 68, 70, 70, 71, 72, 73, 75, 75, 77, 78, 79, 80, 81, 82, 82, 84, 86, 88, 90),
    ),
}
BENDS_YEARS = (30, 60)

# Effects on the logarithm of the skull's volume in ml. That of age is one of birth cohort, not of ageing;
# that of disease one of who came to the study. Both are small, and the correlations show them.
SKULL = {"level": 7.238, "male": 0.122, "decade": -0.0053, "alzheimers": 0.0148, "sd": 0.0894}
MEAN_SKULL_ML = 1450.0

# Effects on the logarithm of each tissue's volume in ml. ``level``: a healthy woman of 30 with MEAN_SKULL_ML;
# ``head_size``: exponent of the skull's volume, and how much it grows with each decade after 50;
# ``decade``: of age, up to 30, from 30 to 60, and after 60.
TISSUES = {
    "gray_matter_vol": {
        "level": 6.341,
        "male": 0.0274,
        "head_size": (0.578, 0.0),
        "alzheimers": -0.0583,
        "decade": (-0.102, -0.0247, -0.0299),
        "sd": (0.052, 0.068),
    },
    "white_matter_vol": {
        "level": 6.1245,
        "male": -0.0118,
        "head_size": (0.916, 0.0),
        "alzheimers": -0.0568,
        "decade": (0.0089, -0.0023, -0.067),
        "sd": (0.059, 0.089),
    },
    "csf_vol": {
        "level": 2.734,
        "male": 0.0469,
        "head_size": (1.95, 0.3),
        "alzheimers": 0.1809,
        "decade": (0.0455, 0.130, 0.280),
        "sd": (0.326, 0.326),
    },
}  # ``sd``: of what is left, before and after 60
CORRELATION = ((1.0, 0.38, -0.31), (0.38, 1.0, -0.35), (-0.31, -0.35, 1.0))  # of what is left

COLUMNS = (
    "ID",
    "age",
    "sex",
    "alzheimers",
    "brain_vol",
    "skull_vol",
    "gray_matter_vol",
    "white_matter_vol",
    "csf_vol",
)


def make(folder):
    """Write the table and its truth.

    Parameters
    ----------
    folder : Path
        An existing folder.

    Notes
    -----
    Volumes are in ml. Brain volume is the sum of grey and white matter, as in the published table.
    """
    folder = Path(folder)
    rng = np.random.default_rng(SEED)
    age, male, alzheimers = _people(rng)
    skull, tissues = _volumes(rng, age, male, alzheimers)

    # Grey, white and fluid are counts of cubic millimetres; the skull is an estimate with all its digits.
    gray, white, csf = np.round(tissues, 3)
    brain, skull = np.round(gray + white, 3), np.round(skull, 8)
    identifiers = [f"SIM_{number:04d}" for number in range(1, len(age) + 1)]
    sexes = np.where(male, "M", "F").tolist()
    numbers = (array.tolist() for array in (alzheimers, brain, skull, gray, white, csf))
    with open(folder / "oasis_all_volumes.csv", "w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(zip(identifiers, age.tolist(), sexes, *numbers, strict=True))

    truth = {
        "bends_years": BENDS_YEARS,
        "mean_skull_ml": MEAN_SKULL_ML,
        "skull_vol": SKULL,
        **TISSUES,
        "correlation": CORRELATION,
    }
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="ascii")


def load_truth(folder):
    """Read the model that generated the table.

    Returns
    -------
    dict
        - ``skull_vol``: dict of effects on the natural logarithm of the volume inside the skull, in ml, so
          that 0.02 is about +2 %:

          - ``level``: the logarithm for a healthy woman aged 50;
          - ``male``: what is added for a man;
          - ``alzheimers``: what is added for somebody with the disease;
          - ``decade``: what ten years of age add;
          - ``sd``: standard deviation of what is left;

        - ``gray_matter_vol``: the same for the volume of grey matter, with three differences and one more:

          - ``level``: for a healthy woman aged 30 whose skull holds ``mean_skull_ml``;
          - ``decade``: three numbers, for the years before, between and after the two of ``bends_years``;
          - ``sd``: two numbers, before 60 years and from then on;
          - ``head_size``: exponent of the skull's volume at 50 years, and how much that grows with each
            decade;

        - ``white_matter_vol``: the same as for grey matter;
        - ``csf_vol``: the same for fluid;
        - ``correlation``, (3, 3): of what is left of grey matter, white matter and fluid;
        - ``mean_skull_ml``: the mean volume inside the skull, in ml;
        - ``bends_years``: the two ages, in years, at which the lines bend.
    """
    return json.loads((Path(folder) / "truth.json").read_text(encoding="ascii"))


def age_quantile(alzheimers, sex, part):
    """Return the age in years below which a ``part`` (0–1) of a group's people lie."""
    quantiles = AGES[alzheimers, sex][1]
    return np.interp(part, np.linspace(0.0, 1.0, len(quantiles)), quantiles)


def _people(rng):
    """Return age (int), male (bool) and alzheimers (bool) of all people, shuffled; each (n,)."""
    age, male, alzheimers = [], [], []
    for (ill, sex), (count, _) in AGES.items():
        # Evenly spread over the quantiles: the distribution is the published one, not a draw from it.
        age.append(np.rint(age_quantile(ill, sex, np.linspace(0.0, 1.0, count))).astype(int))
        male.append(np.full(count, sex == "M"))
        alzheimers.append(np.full(count, ill))
    order = rng.permutation(sum(count for count, _ in AGES.values()))
    return tuple(np.concatenate(column)[order] for column in (age, male, alzheimers))


def _volumes(rng, age, male, alzheimers):
    """Return the skull's volume (n,) and those of grey matter, white matter and fluid (3, n) in ml."""
    decades = (age - 50.0) / 10.0
    first, last = BENDS_YEARS
    ages = np.stack([np.minimum(age - first, 0), np.clip(age - first, 0, last - first), age - last]) / 10.0
    ages[2] = np.maximum(ages[2], 0.0)

    residual = _residuals(rng, np.stack([np.ones(age.size), male, alzheimers, decades, *ages[1:]]))
    head_size = (
        SKULL["level"]
        + SKULL["male"] * male
        + SKULL["decade"] * decades
        + SKULL["alzheimers"] * alzheimers
        + SKULL["sd"] * residual[0]
    )
    relative = head_size - np.log(MEAN_SKULL_ML)
    tissues = []
    mixed = np.einsum("ij,jn->in", np.linalg.cholesky(np.array(CORRELATION)), residual[1:])
    for effect, left in zip(TISSUES.values(), mixed, strict=True):
        exponent = effect["head_size"][0] + effect["head_size"][1] * decades
        tissues.append(
            effect["level"]
            + effect["male"] * male
            + exponent * relative
            + effect["alzheimers"] * alzheimers
            + sum(slope * years for slope, years in zip(effect["decade"], ages, strict=True))
            + np.where(age < last, *effect["sd"]) * left
        )
    return np.exp(head_size), np.exp(tissues)


def _residuals(rng, design):
    """Return four rows of random numbers (4, n), of variance 1, orthogonal to one another and to ``design``.

    Plain random numbers would correlate with age, sex and disease by chance, and each seed would
    give other effects; these give the model's effects. They are what Gram and Schmidt leave of the plain.
    """
    rows = np.concatenate([design, rng.standard_normal((4, design.shape[1]))])
    basis = []
    for row in rows:
        for _ in range(2):  # the second pass removes what rounding left
            for other in basis:
                row = row - other * np.sum(row * other)
        basis.append(row / np.sqrt(np.sum(row * row)))
    return np.sqrt(design.shape[1]) * np.array(basis[-4:])
