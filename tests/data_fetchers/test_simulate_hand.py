import subprocess
import sys
from hashlib import sha256

import imageio.v3 as iio
import numpy as np
import pytest
from scipy import ndimage as ndi

from data_fetchers.simulate import hand

# The published image (RSNA 2017): 480 × 320, 3 to 224, and the percentiles of its grey levels
PERCENTILES = {1: 14, 5: 17, 10: 18, 25: 22, 50: 27, 75: 61, 90: 86, 95: 97, 99: 113}
# SHA-256 over the pixels and over the labels: the radiograph is the same everywhere
IMAGE_HASH = "4c45b4f5553a4f4d00268f50c0b0888965220249497b1d7ca2e5c095ee27181c"
LABELS_HASH = "885ffec2adddb1d6c6794fab0f9ac86a68bd8f161531f1a0ff68d122b7be7f25"

CARPALS = ["capitate", "hamate", "triquetrum", "lunate", "scaphoid", "trapezium", "trapezoid", "pisiform"]
TUBULAR = [f"metacarpal {k}" for k in range(1, 6)] + [
    f"{row} phalanx {k}"
    for row in ("proximal", "middle", "distal")
    for k in range(1, 6)
    if (row, k) != ("middle", 1)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hand") / "new" / "radiograph"
    hand.make(folder)
    return folder


@pytest.fixture(scope="module")
def image(folder):
    return iio.imread(folder / "hand.png")


@pytest.fixture(scope="module")
def truth(folder):
    return hand.load_truth(folder)


@pytest.fixture(scope="module")
def mask_of(truth):
    """Mask of a bone by name, growth plate included."""
    label = {name: label for label, name in truth["bone_names"].items()}
    return lambda name: truth["bones"] == label[name]


def otsu(values):
    """Grey level that splits whole numbers into the two classes of least variance within."""
    count = np.bincount(values)
    level = np.arange(len(count))
    below, above = np.cumsum(count), len(values) - np.cumsum(count)
    total = np.cumsum(count * level)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    return np.nanargmax(between)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


# ------------------------------------------------------------------------------------------ the file


def test_png_is_read_as_the_published_one(folder, image):
    assert image.shape == (480, 320)
    assert image.dtype == np.uint8
    assert (image.min(), image.max()) == (3, 224)
    assert sorted(path.name for path in folder.iterdir()) == ["hand.png", "truth.npz"]


def test_same_bytes_each_time(folder, tmp_path):
    hand.make(tmp_path)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_same_bytes_in_another_process(folder, tmp_path):
    code = "import sys; from data_fetchers.simulate import hand; hand.make(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_same_pixels_on_every_machine(image, truth):
    assert sha256(image.tobytes()).hexdigest() == IMAGE_HASH
    assert sha256(truth["bones"].tobytes()).hexdigest() == LABELS_HASH


# ------------------------------------------------------------------------------------------ grey levels


def test_histogram_is_that_of_the_published_image(image):
    found = np.percentile(image, list(PERCENTILES))
    np.testing.assert_allclose(found, list(PERCENTILES.values()), atol=4)


def test_noise(image, truth):
    """As published: SD 1.2 to 1.6 beside the hand, about 2 in soft tissue; neighbours not correlated."""
    noise = image - truth["noise_free"]
    beside = ~ndi.binary_dilation(truth["soft_tissue"], iterations=12)
    beside[:, :70] = False  # the marker
    soft = ndi.binary_erosion(truth["soft_tissue"] & ~truth["bone"], iterations=3)

    def spread(mask):
        values = noise[mask]
        return values[np.abs(values) < 15].std()  # without dust

    assert 1.1 < spread(beside) < 1.7
    assert 1.7 < spread(soft) < 2.6
    patch = noise[20:60, 260:310]
    assert abs(np.corrcoef(patch[:, 1:].ravel(), patch[:, :-1].ravel())[0, 1]) < 0.25


def test_heel_effect(truth):
    """The rays on the right are weaker; the published image is 9 levels brighter there at the top."""
    grey = truth["noise_free"]
    assert 5 < grey[14:30, 300:316].mean() - grey[14:30, 4:20].mean() < 12


def test_lead_is_brightest(image, truth):
    lead = image > 170  # no bone of the published image is as bright
    inside = lead & truth["soft_tissue"]
    assert inside.sum() < 8  # dust
    assert 150 < lead.sum() < 600
    assert truth["noise_free"][truth["soft_tissue"]].max() < 150
    assert truth["noise_free"].max() > 190


# ------------------------------------------------------------------------------------------ truth


def test_truth_is_complete(truth):
    for name in ("bone", "soft_tissue"):
        assert truth[name].shape == (480, 320)
        assert truth[name].dtype == bool
    assert truth["bones"].dtype == np.uint8
    assert truth["noise_free"].shape == (480, 320)
    assert truth["pixel_mm"] == hand.PIXEL_MM
    assert truth["bone_names"][0] == "background"
    assert set(np.unique(truth["bones"])) == set(truth["bone_names"])
    assert not (truth["bone"] & ~truth["soft_tissue"]).any()
    assert not (truth["bone"] & (truth["bones"] == 0)).any()
    assert ndi.label(truth["soft_tissue"])[1] == 1


def test_twenty_seven_bones_and_the_forearm(truth):
    assert len(CARPALS) + len(TUBULAR) == 27
    assert set(truth["bone_names"].values()) == {"background", "radius", "ulna", *CARPALS, *TUBULAR}


@pytest.mark.parametrize("name", [*CARPALS, *TUBULAR, "radius", "ulna"])
def test_bone_is_one_piece_of_likely_size(name, mask_of):
    mask = mask_of(name)
    assert ndi.label(mask, np.ones((3, 3)))[1] == 1
    area = mask.sum() * hand.PIXEL_MM**2
    assert 25 < area < 1200


@pytest.mark.parametrize("ray", range(1, 6))
def test_lengths_fall_along_the_ray(ray, mask_of):
    def length(name):
        at = np.argwhere(mask_of(name)) * hand.PIXEL_MM
        return np.ptp((at - at.mean(axis=0)) @ np.linalg.svd(at - at.mean(axis=0), full_matrices=False)[2][0])

    rows = ["metacarpal", "proximal phalanx", "middle phalanx", "distal phalanx"]
    lengths = [length(f"{row} {ray}") for row in rows if (row, ray) != ("middle phalanx", 1)]
    assert lengths == sorted(lengths, reverse=True)
    assert 9 < lengths[-1] < lengths[0] < 60


def test_anatomy_of_a_left_hand(truth, mask_of):
    """Seen from behind, fingers up, the thumb of a left hand lies to the right, and so does the radius."""
    column = {name: np.nonzero(mask_of(name))[1].mean() for name in truth["bone_names"].values()}
    row = {name: np.nonzero(mask_of(name))[0].mean() for name in truth["bone_names"].values()}
    assert column["radius"] > column["ulna"]
    for kind in ("metacarpal", "proximal phalanx", "distal phalanx"):
        across = [column[f"{kind} {k}"] for k in range(1, 6)]
        assert across == sorted(across, reverse=True)
    for first, second in (
        ("hamate", "capitate"), ("capitate", "trapezoid"), ("trapezoid", "trapezium"),
        ("triquetrum", "lunate"), ("lunate", "scaphoid"),
    ):  # fmt: skip
        assert column[first] < column[second]
    assert row["capitate"] < row["lunate"] < row["radius"]
    assert mask_of("radius")[-1].any()
    assert mask_of("ulna")[-1].any()
    for k in range(2, 6):
        assert row[f"distal phalanx {k}"] < row[f"metacarpal {k}"]


# ------------------------------------------------------------------------------------------ physics


def test_bone_brighter_than_soft_tissue_brighter_than_air(truth):
    grey = truth["noise_free"]
    soft = truth["soft_tissue"] & ~truth["bone"]
    beside = ~truth["soft_tissue"]
    beside[:, :70] = False
    for rows in (slice(40, 160), slice(180, 300), slice(310, 420)):
        means = [grey[rows][mask[rows]].mean() for mask in (beside, soft, truth["bone"])]
        assert means[0] + 10 < means[1] < means[2] - 10


def test_otsu_finds_the_hand(image, truth):
    """Bone is left out of the histogram: with it the level cuts the fingers, as in the published image."""
    counted = ~truth["bone"]
    counted[280:390, :60] = False  # the marker
    found = ndi.gaussian_filter(image.astype(float), 1) > otsu(image[counted])
    found[280:390, :60] = False
    assert dice(ndi.binary_fill_holes(found), truth["soft_tissue"]) > 0.9


def test_local_threshold_finds_the_bones(truth):
    """Within the hand, what is brighter than its surroundings is bone."""
    grey = truth["noise_free"].astype(float)
    inside = truth["soft_tissue"].astype(float)
    around = ndi.gaussian_filter(grey * inside, 9) / np.maximum(ndi.gaussian_filter(inside, 9), 1e-3)
    found = (grey > around + 2) & ndi.binary_erosion(truth["soft_tissue"], iterations=5)
    assert dice(found, truth["bone"]) > 0.75


@pytest.mark.parametrize("ray", range(1, 6))
@pytest.mark.parametrize("bone", ["metacarpal", "proximal phalanx"])
def test_cortex_is_brighter_than_marrow(bone, ray, truth, mask_of):
    """Across the middle of a shaft: two bright edges and a darker cavity."""
    mask = mask_of(f"{bone} {ray}") & truth["bone"]
    at = np.argwhere(mask)
    middle = at.mean(axis=0)
    along = np.linalg.svd(at - middle, full_matrices=False)[2][0]
    u = (at - middle) @ along
    v = (at - middle) @ [-along[1], along[0]]
    half_length = np.ptp(u) / 2
    shaft = np.abs(u - (u.max() + u.min()) / 2) < 0.22 * half_length
    grey = truth["noise_free"][tuple(at[shaft].T)]
    v = v[shaft] - np.median(v[shaft])
    edge = np.abs(v)
    cavity = grey[edge < 0.25 * edge.max()].mean()
    cortex = max(
        grey[(edge > low) & (edge <= low + 0.2 * edge.max())].mean()
        for low in np.arange(0.4, 0.8, 0.1) * edge.max()
    )
    assert cortex > cavity + 2


@pytest.mark.parametrize("name", [*TUBULAR, "radius", "ulna"])
def test_growth_plate_is_darker_than_both_sides(name, truth, mask_of):
    """Along the axis through the plate, a dip between shaft and epiphysis."""
    centre = truth["growth_plates"][name]
    assert mask_of(name)[tuple(np.rint(centre).astype(int))]
    at = np.argwhere(mask_of(name))
    if name in ("radius", "ulna"):
        along = np.array([1.0, 0.0])
    else:
        along = np.linalg.svd(at - at.mean(axis=0), full_matrices=False)[2][0]
    across = np.array([-along[1], along[0]])
    # Mean over a few lines, so that one trabecula does not decide
    u, v = np.meshgrid(np.arange(-4, 4.01, 0.25), np.linspace(-2, 2, 9), indexing="ij")
    points = centre[:, None, None] + u * along[:, None, None] + v * across[:, None, None]
    profile = ndi.map_coordinates(truth["noise_free"].astype(float), points, order=1).mean(axis=1)
    u = u[:, 0]
    plate = profile[np.abs(u) <= 1].min()
    assert profile[u < -1].max() > plate + 4
    assert profile[u > 1].max() > plate + 4


def test_growth_plates_lie_at_the_right_ends(truth, mask_of):
    """At the distal end of metacarpals 2 to 5 and of the forearm, at the proximal end of the others."""
    for name, (row, _) in truth["growth_plates"].items():
        middle = np.argwhere(mask_of(name))[:, 0].mean()
        distal = name in ("radius", "ulna", *(f"metacarpal {k}" for k in range(2, 6)))
        assert (row < middle) == distal
    assert set(truth["growth_plates"]) == {*TUBULAR, "radius", "ulna"}
