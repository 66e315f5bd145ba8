import json
import warnings

import nibabel as nib
import nilearn.datasets
import numpy as np
import pytest
from phantoms import straight
from pictures import IMAGES
from scipy.ndimage import gaussian_filter
from unpacking import codes_of, values_of, volume_of

from helpers import SliceViewer
from helpers.viewing import scene as module
from helpers.viewing.scene import build_scene, colours, detail, pack_layers, windows_of
from helpers.viewing.slices import PLANES, colour_table, overlay_style, plane_slice
from helpers.viewing.volume import as_overlay, as_volume

RNG = np.random.default_rng(0)
PAGE = 2_500_000


def scene_of(image, overlay=None, most_bytes=None):
    """Return both parts of what the browser gets."""
    volume = as_volume(image)
    layers = [("image", "intensity", volume)]
    if overlay is not None:
        overlay = as_overlay(volume, overlay)
        layers.append((overlay_style(overlay.data).kind, "overlay", overlay))
    scene = build_scene(layers, planes=PLANES, windows=windows_of(volume))
    return scene | pack_layers(layers, most_bytes)


def without_bytes(scene):
    return scene | {"layers": [layer | {"voxels": len(layer["voxels"])} for layer in scene["layers"]]}


@pytest.mark.parametrize("name", IMAGES)
def test_a_scene_is_plain_values_and_bytes(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scene = scene_of(*IMAGES[name]())
    plain = without_bytes(scene)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain  # so no tuples, numpy numbers or NaN
    assert all(type(layer["voxels"]) is bytes for layer in scene["layers"])
    assert scene["note"] is None


@pytest.mark.parametrize("name", IMAGES)
def test_the_same_image_gives_the_same_scene(name):
    image = IMAGES[name]()
    assert scene_of(*image) == scene_of(*image)


@pytest.mark.parametrize(
    ("image", "names"),
    [
        (straight("LPS"), ["i → L", "j → P", "k → S"]),
        (np.zeros((3, 4, 5)), ["i", "j", "k"]),
        (np.zeros((3, 4)), ["row", "column", "k"]),
    ],
)
def test_axes_say_where_they_lead(image, names):
    assert [axis["name"] for axis in scene_of(image)["axes"]] == names


@pytest.mark.parametrize("radiological", [False, True])
def test_the_geometry_of_a_plane_leads_to_the_pixels_of_plane_slice(radiological):
    """As viewer.js cuts: rows and columns from the axes and flips alone."""
    volume = as_volume(nib.Nifti1Image(RNG.normal(size=(4, 5, 6)), straight("PSL").affine))
    scene = build_scene(
        [("image", "intensity", volume)], planes=PLANES, windows={}, radiological=radiological
    )
    index = (1, 3, 2)
    for plane in scene["planes"]:
        cut = np.moveaxis(volume.data, (plane["across"], plane["up"], plane["along"]), (0, 1, 2))
        cut = cut[index[plane["across"]]]
        cut = cut[:: -1 if plane["flipUp"] else 1, :: -1 if plane["flipAlong"] else 1]
        wanted = plane_slice(volume, plane["name"], index[plane["across"]], 0, radiological)
        np.testing.assert_array_equal(cut, wanted)


def test_world_and_voxels_are_inverse():
    scene = scene_of(straight("PIR"))
    np.testing.assert_allclose(np.array(scene["affine"]) @ scene["inverse"], np.eye(4), atol=1e-12)


def test_ct_windows_are_offered_for_ct_alone():
    names = [window[0] for window in scene_of(IMAGES["CT"]()[0])["windows"]]
    usual = ["automatic", "2nd to 98th percentile", "full range"]
    assert names == [*usual, "CT brain", "CT soft tissue", "CT lung", "CT bone"]
    assert [window[0] for window in scene_of(straight())["windows"]] == ["automatic", "full range"]
    assert scene_of(IMAGES["colours"]()[0])["windows"] == []


@pytest.mark.parametrize("kind", [float, np.float32, np.int16, ">u4"])
def test_a_narrower_window_is_offered(kind):
    data = RNG.permutation(np.arange(1001)).astype(kind).reshape(7, 11, 13)
    windows = windows_of(as_volume(data))
    assert list(windows) == ["automatic", "2nd to 98th percentile", "full range"]
    assert windows["2nd to 98th percentile"] == (20, 980)
    assert windows["automatic"] == (5, 995)
    assert windows["full range"] == (0, 1000)


@pytest.mark.parametrize(
    "data",
    [
        np.tile([2, 3], 500),  # the same as the automatic one
        np.arange(1000) % 100 == 0,
        np.append(np.zeros(990), np.arange(10)),  # all in one value
        np.full(1000, np.nan),
        np.full(1000, 7),
    ],
    ids=["two values", "mask", "sparse", "NaN", "constant"],
)
def test_no_window_is_offered_that_adds_none(data):
    assert list(windows_of(as_volume(data.reshape(10, 10, 10)))) == ["automatic", "full range"]


def test_colour_maps_are_bytes_as_text():
    table = np.frombuffer(json.loads(f'"{colours("magma")}"').encode(), np.uint8)
    assert len(table) == 1024  # 768 bytes as base64
    assert colours("magma") != colours("gray")
    assert colour_table("magma").shape == (256, 3)


@pytest.mark.parametrize("name", [name for name in IMAGES if name != "tiny"])
def test_detail_is_the_plane_itself(name):
    image, overlay = IMAGES[name]()
    volumes = [as_volume(image)]
    if overlay is not None:
        volumes.append(as_overlay(volumes[0], overlay))
    for n, volume in enumerate(volumes):
        labels = n == 1 and overlay_style(volume.data).kind == "labels"
        index, time = tuple(size // 2 for size in volume.shape), volumes[0].n_times - 1
        planes = detail(volume, PLANES, index, time, False, labels)
        for plane, layer in zip(PLANES, planes, strict=True):
            across = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
            where = index[volume.axes[across]], min(time, volume.n_times - 1)
            wanted = plane_slice(volume, plane, *where)
            assert layer["shape"] == [wanted.shape[1], wanted.shape[0], 1, 1]
            pixels = codes_of(layer)[..., 0, 0].T
            if volume.is_colour:
                np.testing.assert_array_equal(pixels & 255, wanted["R"])
                continue
            found = values_of(layer)[pixels]
            finite = np.isfinite(wanted) & (np.abs(wanted.astype(float)) < 1e307)
            atol = 0 if layer["exact"] else layer["slope"] * 0.501
            np.testing.assert_allclose(found[finite], wanted[finite], rtol=1e-12, atol=atol)
            np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
            assert layer["exact"] or not labels


# What a page may take.


def test_what_is_too_large_is_made_coarser_and_says_so():
    data = RNG.normal(size=(60, 61, 62)).astype(np.float32)
    sizes, steps = [], []
    for most_bytes in (10**7, 300_000, 60_000, 9_000, 100):
        scene = scene_of(data, most_bytes=most_bytes)
        layer = scene["layers"][0]
        assert len(layer["voxels"]) <= most_bytes
        found = volume_of(layer, data.shape)
        assert found.shape == (60, 61, 62, 1)
        sizes.append(len(layer["voxels"]))
        steps.append((layer["step"], layer["bytes"]))
        drawn = f"one voxel in {layer['step']} along each axis" if layer["step"] > 1 else "every voxel"
        shades = f" in {layer['shades']} shades" * (layer["shades"] < 256)
        coarser = layer["step"] > 1 or layer["shades"] < 256
        assert scene["note"] == (f"To load quickly, {drawn} is drawn{shades}." if coarser else None)
    assert sizes == sorted(sizes, reverse=True)
    assert steps[:2] == [(1, 2), (1, 1)]  # first shorter codes, then fewer voxels
    assert [step for step, _ in steps[2:]] == sorted({step for step, _ in steps[2:]})


def test_the_larger_of_two_layers_is_made_coarser():
    image = nib.Nifti1Image(RNG.normal(size=(40, 40, 40)), np.eye(4))
    mask = np.zeros((40, 40, 40), bool)
    mask[10:30, 10:30, 10:30] = True
    scene = scene_of(image, mask, most_bytes=40_000)
    assert [layer["step"] for layer in scene["layers"]] == [2, 1]
    assert scene["note"] == (
        "To load quickly, one voxel in 2 along each axis of the image is drawn in 64 shades."
    )


@pytest.mark.parametrize(
    ("thinned", "page", "words"),
    [
        ((), True, None),
        ((), False, None),
        (("intensity",), True, "To load quickly, one voxel in 2 along each axis of the image is drawn."),
        (
            ("overlay",),
            False,
            "While you move, one voxel in 2 along each axis of the overlay is drawn; at rest, all of them.",
        ),
        (
            ("intensity", "overlay"),
            False,
            "While you move, one voxel in 2 along each axis is drawn; at rest, all of them.",
        ),
        (("displacement i",), False, None),
        (
            ("intensity", "overlay", "displacement i"),
            True,
            "To load quickly, one voxel in 2 along each axis is drawn.",
        ),
    ],
)
def test_the_note_names_an_image_only_where_not_all_are_meant(thinned, page, words, monkeypatch):
    names = {"intensity": "image", "overlay": "labels", "displacement i": "field"}
    volume = as_volume(RNG.integers(0, 9, (6, 6, 6)))

    def pack(data, step=1, **options):
        name = next(left)
        return usual(data, step=2 if name in thinned else step, **options)

    usual, left = module.pack, iter(names)
    monkeypatch.setattr(module, "pack", pack)
    packed = pack_layers([(role, name, volume) for name, role in names.items()], 10**6 if page else None)
    assert packed["note"] == words


def test_labels_stay_labels_however_little_they_may_take():
    labels = gaussian_filter(RNG.normal(size=(30, 30, 30)), 2) > 0
    labels = (labels * RNG.choice([7, 2035, 14175], (30, 30, 30))).astype(np.float32)
    scene = scene_of(np.zeros((30, 30, 30)), labels, most_bytes=2000)
    layer = scene["layers"][1]
    assert layer["step"] > 1
    assert set(np.unique(volume_of(layer, labels.shape))) <= {0, 7, 2035, 14175}


def test_times_are_never_thinned_and_end_the_search():
    scene = scene_of(RNG.normal(size=(2, 2, 2, 500)), most_bytes=10)
    assert scene["layers"][0]["shape"] == [1, 1, 1, 500]


@pytest.fixture(scope="module")
def brain():
    return nilearn.datasets.load_mni152_template(resolution=1)


def body(shape):
    """Return noisy tissue in air, as whole Hounsfield units."""
    i, j, _ = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    noise = RNG.normal(0, 20, shape).astype(np.float32)
    return np.where(i**2 + j**2 < 0.8, noise + 40, np.float32(-1000)).astype(np.int16)


@pytest.mark.parametrize("masked", [False, True])
def test_a_brain_of_one_mm_fits_a_page_with_all_its_voxels(masked, brain):
    viewer = SliceViewer(brain, np.asanyarray(brain.dataobj) > 0.5 if masked else None)
    page = viewer.to_html()
    assert len(page.encode()) <= PAGE
    assert "one voxel in" not in page


@pytest.mark.parametrize("kind", ["map", "CT", "EPI", "noise", "labels"])
def test_whatever_is_shown_fits_a_page(kind, brain):
    if kind == "map":
        data = np.asanyarray(brain.dataobj)
        coarse = RNG.normal(size=[-(-size // 8) for size in data.shape])
        smooth = np.kron(coarse, np.ones((8, 8, 8)))[tuple(map(slice, data.shape))]
        viewer = SliceViewer(brain, np.where(data > 0.1, data * smooth, 0).astype(np.float32))
    elif kind == "CT":
        viewer = SliceViewer(nib.Nifti1Image(body((256, 256, 90)), np.diag([1.5, 1.5, 2, 1])))
    elif kind == "EPI":
        viewer = SliceViewer(RNG.normal(1000, 50, (64, 64, 30, 40)).astype(np.float32))
    elif kind == "labels":  # a million, whose values are long as text
        labels = np.arange(10.0**6).repeat(2).reshape(100, 100, 200) * 2**40
        viewer = SliceViewer(RNG.normal(size=labels.shape), labels)
        assert viewer._roles[1] == "labels"
    else:
        viewer = SliceViewer(RNG.normal(size=(900, 900, 3)))
    page = viewer.to_html()
    assert len(page.encode()) <= PAGE
    assert '"note": "To load quickly, ' in page
