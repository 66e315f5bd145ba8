import hashlib
import subprocess
import sys

import imageio.v3 as iio
import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy import ndimage as ndi

from data_fetchers.simulate import cardiac_cine

N_FRAMES, N_SLICES = 20, 11
MIDDLE = 5
SEED = (128, 128)

# Elements that DICOM's MR Image IOD demands: type 1 must have a value, type 2 may be empty.
TYPE_1 = """
    SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality FrameOfReferenceUID ImageType
    ScanningSequence SequenceVariant PixelSpacing ImageOrientationPatient ImagePositionPatient SamplesPerPixel
    PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelData
"""
TYPE_2 = """
    PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID
    AccessionNumber SeriesNumber Manufacturer PositionReferenceIndicator InstanceNumber SliceThickness
    ScanOptions MRAcquisitionType RepetitionTime EchoTime EchoTrainLength TriggerTime
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cine") / "new" / "stack"
    cardiac_cine.make(folder)
    return folder


@pytest.fixture(scope="module")
def by_folder(folder):
    """Data sets, one list of frames per folder in the order of the folders' names."""
    return {
        sub.name: [pydicom.dcmread(path) for path in sorted(sub.glob("*.dcm"))]
        for sub in sorted(folder.iterdir())
        if sub.is_dir()
    }


@pytest.fixture(scope="module")
def stack(by_folder, truth):
    """Data sets, one list of frames per slice from the base."""
    return [by_folder[name] for name in truth["folders"]]


@pytest.fixture(scope="module")
def everything(stack):
    return [ds for frames in stack for ds in frames]


@pytest.fixture(scope="module")
def images(stack):
    """(time, slice, row, column)"""
    return np.stack([[ds.pixel_array for ds in frames] for frames in stack], axis=1)


@pytest.fixture(scope="module")
def truth(folder):
    return cardiac_cine.load_truth(folder)


def segment(image):
    """Label map of one frame, as a beginner makes it."""
    labels, _ = ndi.label(ndi.binary_closing(ndi.median_filter(image, 3) > 60))
    return labels


def object_at(image, seed):
    """Object under the seed, bool; empty if the seed lies on background."""
    labels = segment(image)
    return (labels == labels[tuple(seed)]) & (labels > 0)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def interior(mask, pixels=2):
    """Pixels of each slice's mask away from its border."""
    return ndi.binary_erosion(mask, np.ones((1, 1, 3, 3)), iterations=pixels)


# ------------------------------------------------------------------------------------------ files and tags


def test_same_bytes_in_a_new_process(folder, tmp_path):
    code = f"from data_fetchers.simulate import cardiac_cine; cardiac_cine.make({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True)

    def digests(root):
        files = (path for path in root.rglob("*") if path.is_file())
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    assert digests(tmp_path) == digests(folder)
    assert len(digests(folder)) == N_SLICES * N_FRAMES + 1


def test_one_folder_per_slice(by_folder):
    assert list(by_folder) == [f"SIM_{k:03d}" for k in range(N_SLICES)]
    for frames in by_folder.values():
        assert len(frames) == N_FRAMES
        assert len({tuple(ds.ImagePositionPatient) for ds in frames}) == 1
        numbers = [ds.InstanceNumber for ds in frames]
        assert np.diff(numbers).tolist() == [1] * (N_FRAMES - 1)
        times = [float(ds.TriggerTime) for ds in frames]
        assert np.diff(times).min() > 0


def test_folders_do_not_follow_position(by_folder):
    place = [np.dot(frames[0].ImagePositionPatient, cardiac_cine.NORMAL) for frames in by_folder.values()]
    steps = np.diff(place)
    assert steps.min() < 0 < steps.max()


def test_mandatory_elements(everything):
    for ds in everything:
        assert ds.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == pydicom.uid.MRImageStorage
        assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
        for name in TYPE_1.split():
            assert not ds[name].is_empty, name
        for name in TYPE_2.split():
            assert name in ds, name
        for element in ds:
            if element.VR == "DS":
                assert all(len(str(value)) <= 16 for value in np.atleast_1d(element.value)), element.keyword


def test_identifiers(everything):
    assert len({ds.SOPInstanceUID for ds in everything}) == N_SLICES * N_FRAMES
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({ds[name].value for ds in everything}) == 1
    assert all(ds.SOPInstanceUID.is_valid for ds in everything)
    assert all(int(ds.SOPInstanceUID.removeprefix("2.25.")) < 2**128 for ds in everything)


def test_no_patient(everything):
    for ds in everything:
        assert ds.PatientName == "Simulated^Heart"
        assert ds.PatientIdentityRemoved == "YES"
        assert ds.PatientBirthDate == ""


def test_pixels(everything, images):
    for ds in everything:
        assert (ds.Rows, ds.Columns) == (256, 256)
        assert list(ds.PixelSpacing) == [1.367188, 1.367188]
        assert (ds.BitsAllocated, ds.BitsStored, ds.PixelRepresentation) == (16, 16, 0)
    assert images.dtype == np.uint16
    assert images.max() == 255


def test_slices_are_ten_millimetres_apart_and_eight_thick(stack):
    place = np.array([frames[0].ImagePositionPatient for frames in stack], float)
    np.testing.assert_allclose(np.linalg.norm(np.diff(place, axis=0), axis=1), 10, atol=1e-3)
    location = np.array([frames[0].SliceLocation for frames in stack], float)
    np.testing.assert_allclose(np.diff(location), 10, atol=1e-3)
    assert {float(frames[0].SpacingBetweenSlices) for frames in stack} == {10.0}
    assert {float(frames[0].SliceThickness) for frames in stack} == {8.0}


def test_planes_are_oblique_and_stacked_along_their_normal(stack):
    cosines = np.array(stack[0][0].ImageOrientationPatient, float)
    row, column = cosines[:3], cosines[3:]
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(column) == pytest.approx(1, abs=1e-5)
    assert row @ column == pytest.approx(0, abs=1e-5)
    assert np.abs(cosines).max() < 0.95  # along no axis of the patient
    first, last = (np.array(frames[0].ImagePositionPatient, float) for frames in (stack[0], stack[-1]))
    np.testing.assert_allclose((last - first) / 100, np.cross(column, row), atol=1e-4)


def test_base_to_apex_leads_down_to_the_left_and_front(stack):
    first, last = (np.array(frames[0].ImagePositionPatient, float) for frames in (stack[0], stack[-1]))
    left, back, up = last - first
    assert left > 40
    assert back < 0
    assert up < -60


def test_affine_leads_from_voxel_to_patient(stack, truth):
    ds = stack[7][0]
    column, row = 100, 140
    cosines = np.array(ds.ImageOrientationPatient, float) * 1.367188
    lps = np.array(ds.ImagePositionPatient, float) + column * cosines[:3] + row * cosines[3:]
    ras = nib.affines.apply_affine(truth["affine"], [column, row, 7])
    np.testing.assert_allclose(ras, lps * [-1, -1, 1], atol=1e-3)
    np.testing.assert_allclose(nib.affines.voxel_sizes(truth["affine"]), [1.367188, 1.367188, 10], rtol=1e-5)


def test_trigger_times(stack, truth):
    told = np.array([[float(ds.TriggerTime) for ds in frames] for frames in stack]).T
    np.testing.assert_allclose(told, truth["trigger_time_ms"])
    for frames in stack:
        step = float(frames[1].TriggerTime) - float(frames[0].TriggerTime)
        assert step * N_FRAMES == pytest.approx(frames[0].NominalInterval, abs=0.1)


def test_imageio_reads_a_frame(folder, truth, images):
    sub = folder / truth["folders"][MIDDLE]
    path = sorted(sub.glob("*.dcm"))[3]
    np.testing.assert_array_equal(iio.imread(path, plugin="pydicom", raw=True), images[3, MIDDLE])
    assert iio.improps(path, plugin="pydicom").spacing == (1.367188, 1.367188)
    header = iio.immeta(path, plugin="pydicom")
    assert header["SpacingBetweenSlices"] == 10
    assert header["SliceThickness"] == 8


# ------------------------------------------------------------------------------------------ grey values


def test_signal_of_tissues(images, truth):
    blood = images[interior(truth["lv_mask"])]
    wall = images[interior(truth["myocardium"])]
    assert 85 < np.median(blood) < 135
    assert 22 < np.median(wall) < 45
    assert np.median(blood) > 2.8 * np.median(wall)
    lung = images[:, MIDDLE, 120:150, 180:205]
    assert 1 < lung.mean() < 4


def test_coils_make_the_front_of_the_ventricle_brighter(images, truth):
    blood = interior(truth["lv_mask"])[0, MIDDLE] & (images[0, MIDDLE] > 60)
    row = np.nonzero(blood)[0]
    value = images[0, MIDDLE][blood]
    assert value[row < 116].mean() > 1.3 * value[row > 144].mean()


def test_histogram(images):
    low, middle, high, top = np.percentile(images, [50, 75, 95, 99])
    assert low <= 1
    assert 7 < middle < 16
    assert 65 < high < 90
    assert 125 < top < 165


def test_noise_between_frames(images):
    still = images[:, MIDDLE, 140:180, 40:60].astype(float)  # liver: does not move
    noise = np.diff(still, axis=0) / np.sqrt(2)
    assert 1.0 < noise.std() < 1.7


def test_noise_is_one_sided_in_air(images):
    air = images[:, MIDDLE, 58:66, 100:120].astype(float)
    rayleigh = cardiac_cine.NOISE * np.sqrt(np.pi / 2)  # the mean of Rician noise without signal
    assert air.mean() == pytest.approx(rayleigh, rel=0.1)
    assert air.std() == pytest.approx(rayleigh * np.sqrt(4 / np.pi - 1), rel=0.15)


def test_nothing_beyond_the_field(images):
    y, x = np.mgrid[:256, :256]
    outside = np.hypot(x - 127.5, y - 127.5) > 110
    assert not images[:, :, outside].any()
    assert images[:, :, ~outside].any(axis=(0, 1)).mean() > 0.85


def test_edge_of_the_septum_is_as_soft_as_the_measurement(images, truth):
    """From 10 to 90 % of the step takes 2 to 4.5 mm."""
    mask = truth["lv_mask"][0, MIDDLE]
    centre = truth["lv_centre"][0, MIDDLE]
    widths = []
    for angle in np.deg2rad(np.arange(160, 201, 5)):
        radius = np.arange(0, 45, 0.1)
        at = centre[:, None] + radius * np.array([[np.sin(angle)], [np.cos(angle)]])
        border = radius[ndi.map_coordinates(mask.astype(float), at, order=1) > 0.5].max()
        at = at[:, (radius > border - 4) & (radius < border + 3.5)]
        step = ndi.map_coordinates(images[:4, MIDDLE].mean(axis=0), at, order=1)[::-1]
        low, high = step.min(), np.median(step[-20:])
        step = (step - low) / (high - low)
        widths.append(
            (np.argmax(step > 0.9) - np.nonzero(step[: np.argmax(step > 0.9)] < 0.1)[0].max()) * 0.1
        )
    assert 2.0 < np.median(widths) * 1.367188 < 4.5


# ------------------------------------------------------------------------------------------ truth


def test_truth_is_complete(truth):
    for name in ("lv_mask", "myocardium", "rv_mask"):
        assert truth[name].shape == (N_FRAMES, N_SLICES, 256, 256)
        assert truth[name].dtype == bool
    assert not (truth["lv_mask"] & truth["myocardium"]).any()
    assert not (truth["lv_mask"] & truth["rv_mask"]).any()
    assert not (truth["myocardium"] & truth["rv_mask"]).any()


def test_patient_has_heart_failure(truth):
    """Within the range of the group that the original comes from, whose mean is 234 ml and 33 %."""
    volume = truth["volume_ml"]
    assert truth["ejection_fraction"] == pytest.approx(0.36, abs=0.01)
    assert truth["end_diastolic_ml"] == volume.max() == pytest.approx(230, abs=10)
    assert truth["end_systolic_ml"] == volume.min()
    assert truth["stroke_volume_ml"] == pytest.approx(volume.max() - volume.min())
    assert truth["ejection_fraction"] == pytest.approx(truth["stroke_volume_ml"] / truth["end_diastolic_ml"])
    assert volume.argmax() == 0
    assert 5 <= volume.argmin() <= 9


def test_model_and_voxels_agree(truth):
    """Voxels half filled at border, apex and base cost little: 3 % of the volume, 1 point of the fraction."""
    voxel_ml = 1.367188**2 * 10 / 1000
    counted = truth["lv_mask"].sum(axis=(1, 2, 3)) * voxel_ml
    np.testing.assert_allclose(counted, truth["voxel_volume_ml"])
    np.testing.assert_allclose(counted, truth["volume_ml"], rtol=0.03)
    assert 1 - counted.min() / counted.max() == pytest.approx(truth["ejection_fraction"], abs=0.01)


def test_smooth_volume_does_not_depend_on_the_step():
    coarse = cardiac_cine.true_volumes(step_mm=0.5)
    np.testing.assert_allclose(coarse, cardiac_cine.true_volumes(step_mm=0.125), rtol=2e-3)


def test_area_in_polar_coordinates_is_that_of_the_outline():
    for height in (-20.0, 10.0, 38.0, 42.0):
        centre = cardiac_cine.lv_axis(height)
        radius = cardiac_cine.lv_section(height)[0]
        outline = cardiac_cine.below_base(cardiac_cine.around(centre, radius), height, centre)
        x, y = np.moveaxis(outline, -1, 0)
        polygon = 0.5 * np.abs((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(axis=1))
        np.testing.assert_allclose(polygon * 1.367188**2, cardiac_cine.lv_area(height), rtol=0.02, atol=15)


def test_wall_keeps_its_volume_and_thickens(truth):
    wall = []
    heights = np.arange(-62, 30, 0.5)
    for emptying in (0.0, 1.0):
        state = np.array([emptying])
        # The same piece of wall: the same share of the way from the apex to the base
        length = cardiac_cine.base_height(state) - cardiac_cine.apex_height(state)
        stretch = length / (cardiac_cine.BASE_MM - cardiac_cine.APEX_MM)
        at = cardiac_cine.apex_height(state) + (heights - cardiac_cine.APEX_MM) * stretch
        rings = [cardiac_cine.lv_section(float(u), state)[:2] for u in at.ravel()]
        area = [np.pi * np.mean(outer**2 - inner**2) for inner, outer in rings]
        wall.append((np.sum(area) * 0.5 * stretch.item(), np.mean(rings[120][1] - rings[120][0])))
    (rest, thin), (contracted, thick) = wall
    assert contracted == pytest.approx(rest, rel=1e-3)
    assert 1.1 < thick / thin < 1.5


def test_base_comes_down(truth):
    """The slice next to the base holds the ventricle in diastole and has lost it in systole."""
    area = truth["lv_mask"].sum(axis=(2, 3))
    assert area[0, 1] > 800
    assert area[truth["volume_ml"].argmin(), 1] < 0.1 * area[0, 1]
    assert area[:, 0].max() == 0  # above the valve: atria and aorta only


def test_apex_lies_inside_the_stack(truth):
    area = truth["lv_mask"].sum(axis=(2, 3))
    assert area[0, -1] < 0.1 * area[0].max()
    assert truth["myocardium"][:, -1].any(axis=(1, 2)).all()


def test_breath_holds_shift_the_heart_a_little():
    shift = cardiac_cine.breath_shift() * 1.367188
    assert 0.4 < shift.std() < 1.5


# ------------------------------------------------------------------------------------------ the simple method


def test_simple_method_finds_the_ventricle_in_every_frame(images, truth):
    for frame in range(N_FRAMES):
        found = object_at(images[frame, MIDDLE], SEED)
        rows, columns = ndi.find_objects(found.astype(int))[0]
        assert 100 < rows.start < rows.stop < 160
        assert 110 < columns.start < columns.stop < 170
        assert dice(found, truth["lv_mask"][frame, MIDDLE]) > 0.93


def test_simple_method_misses_the_papillary_muscles(images, truth):
    """It finds less than the truth, which counts them as blood; most in the lower half, where they lie."""
    found = np.array([object_at(image, SEED).sum() for image in images[:, MIDDLE]])
    ratio = found / truth["lv_mask"][:, MIDDLE].sum(axis=(1, 2))
    assert (ratio > 0.85).all()
    assert (ratio < 0.97).all()


def test_simple_method_follows_the_beat(images, truth):
    found = np.array([object_at(image, SEED).sum() for image in images[:, MIDDLE]])
    area = truth["lv_mask"][:, MIDDLE].sum(axis=(1, 2))
    assert np.corrcoef(found, area)[0, 1] > 0.99
    assert abs(int(found.argmin()) - int(area.argmin())) <= 1


def test_simple_method_leaks_into_the_atrium_at_the_base(images, truth):
    """The reason why a threshold alone gives no ejection fraction: no border shows between the chambers."""
    systole = truth["volume_ml"].argmin()
    seed = np.rint(truth["lv_centre"][systole, 2]).astype(int)
    found = object_at(images[systole, 2], seed)
    assert found.sum() > 1.2 * truth["lv_mask"][systole, 2].sum()


def test_there_are_many_other_objects(images):
    counts = [segment(image).max() for image in images[:, MIDDLE]]
    assert min(counts) > 8
    assert max(counts) < 60
