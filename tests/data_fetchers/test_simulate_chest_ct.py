import hashlib
import logging
from shutil import copy

import dicom2nifti
import imageio.v3 as iio
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom2nifti.exceptions import ConversionValidationError
from scipy import ndimage as ndi

from data_fetchers.simulate import chest_ct

# SHA-256 over the eleven files in the order of their names: the series is the same everywhere
SERIES_HASH = "2b61ed074f6035e4849e3731e808dbdcd5488ebef7fae9017a1a7558637c5400"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chest") / "new" / "series"
    chest_ct.make(folder)
    return folder


@pytest.fixture(scope="module")
def by_name(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


@pytest.fixture(scope="module")
def slices(by_name):
    return sorted(by_name, key=lambda ds: -ds.ImagePositionPatient[2])


@pytest.fixture(scope="module")
def volume(slices):
    return np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in slices])


@pytest.fixture(scope="module")
def truth(folder):
    return chest_ct.load_truth(folder)


@pytest.fixture(scope="module")
def labels(truth):
    """Labels of the slices that have a file."""
    return np.delete(truth["labels"], truth["missing"], axis=0)


@pytest.fixture(scope="module")
def inside(labels):
    """Voxels of a tissue well away from any other, so that blur does not mix them."""

    def eroded(name, mm=2):
        return ndi.binary_erosion(labels == chest_ct.TISSUES[name].label, np.ones((1, 3, 3)), iterations=mm)

    return eroded


def series_hash(folder):
    return hashlib.sha256(b"".join(p.read_bytes() for p in sorted(folder.glob("*.dcm")))).hexdigest()


# ------------------------------------------------------------------------------------------ files and tags


def test_same_bytes_each_time(folder, tmp_path):
    chest_ct.make(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        p.name: p.read_bytes() for p in folder.iterdir()
    }


def test_same_bytes_on_every_machine(folder):
    assert series_hash(folder) == SERIES_HASH


def test_geometry_tags(slices):
    for ds in slices:
        assert (ds.Rows, ds.Columns) == (512, 512)
        assert list(ds.PixelSpacing) == [0.976562, 0.976562]
        assert ds.SliceThickness == 3.75
        assert list(ds.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
        assert list(ds.ImagePositionPatient[:2]) == [-250, -250]
        assert ds.ImagePositionPatient[2] == ds.SliceLocation
        assert (ds.RescaleIntercept, ds.RescaleSlope) == (-1024, 1)
        assert (ds.BitsAllocated, ds.BitsStored, ds.PixelRepresentation) == (16, 16, 0)
        assert (ds.WindowCenter, ds.WindowWidth) == (40, 400)
        assert ds.Modality == "CT"


def test_no_patient(slices):
    for ds in slices:
        assert ds.PatientName == "Simulated^Thorax"
        assert ds.PatientIdentityRemoved == "YES"
        assert ds.PatientBirthDate == ""


def test_identifiers(slices):
    assert len({ds.SOPInstanceUID for ds in slices}) == 11
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({ds[name].value for ds in slices}) == 1
    assert all(ds.SOPInstanceUID.is_valid for ds in slices)
    assert all(int(ds.SOPInstanceUID.removeprefix("2.25.")) < 2**128 for ds in slices)


def test_one_slice_is_missing(slices, truth):
    z = np.array([ds.ImagePositionPatient[2] for ds in slices], float)
    np.testing.assert_allclose(-np.diff(z), [3.27, 3.27, 6.54] + [3.27] * 7, atol=1e-6)
    assert truth["missing_z_mm"] == pytest.approx((z[2] + z[3]) / 2)
    np.testing.assert_allclose(np.delete(truth["slice_z_mm"], truth["missing"]), z)


def test_instance_numbers_fall_with_z_and_skip_the_gap(slices):
    numbers = np.array([ds.InstanceNumber for ds in slices])
    np.testing.assert_array_equal(np.diff(numbers), [1, 1, 2, 1, 1, 1, 1, 1, 1, 1])


def test_mandatory_elements(by_name):
    """Those of DICOM's CT Image IOD: type 1 must have a value, type 2 may be empty."""
    type_1 = """SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality FrameOfReferenceUID
        ImageType PixelSpacing ImageOrientationPatient ImagePositionPatient RescaleIntercept RescaleSlope
        SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit
        PixelRepresentation PixelData"""
    type_2 = """PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName
        StudyID AccessionNumber SeriesNumber Manufacturer PositionReferenceIndicator InstanceNumber
        SliceThickness KVP AcquisitionNumber"""
    for dataset in by_name:
        assert all(dataset[name].value not in ("", None) for name in type_1.split())
        assert all(name in dataset for name in type_2.split())


def test_names_do_not_follow_position(by_name):
    z = np.array([ds.ImagePositionPatient[2] for ds in by_name], float)
    assert abs(np.corrcoef(z, np.arange(11))[0, 1]) < 0.5
    assert np.abs(np.diff(z)).min() > 3.3  # no neighbour follows its neighbour


# ------------------------------------------------------------------------------------------ Hounsfield units


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("lung", -900, -790),
        ("fat", -115, -90),
        ("muscle", 40, 62),
        ("aorta", 35, 50),
        ("heart muscle", 40, 56),
        ("foam", -940, -860),
    ],
)
def test_hounsfield_of_tissues(name, low, high, inside, volume, truth):
    where = inside(name)
    assert where.sum() > 200
    true = np.delete(truth["hounsfield"], truth["missing"], axis=0)[where].mean()
    assert low < true < high
    assert volume[where].mean() == pytest.approx(true, abs=2)


def test_bone_is_bright_and_lung_heavier_at_the_back(volume, labels, inside):
    bone = volume[labels == chest_ct.TISSUES["bone cortex"].label]
    assert np.percentile(bone, 90) > 500
    marrow = volume[inside("bone marrow")]
    assert 120 < marrow.mean() < 300
    row = np.nonzero(inside("lung"))[1]
    lung = volume[inside("lung")]
    assert lung[row > 300].mean() > lung[row < 220].mean() + 30


def test_air_and_padding(volume, labels):
    assert volume.min() == -1000
    assert (volume[:, 0, 0] == -1000).all()
    pixel = -250 + 0.976562 * np.arange(512)
    outside = np.hypot(pixel, pixel[:, None]) > 250
    assert (volume[:, outside] == -1000).all()
    air = ndi.binary_erosion(labels == 0, np.ones((1, 5, 5)), iterations=3) & ~outside
    assert -1000 < volume[air].mean() < -985


def test_noise_has_the_measured_strength(volume, truth, inside):
    noise = volume - np.delete(truth["hounsfield"], truth["missing"], axis=0)
    assert 16 < noise[inside("aorta")].std() < 25
    assert abs(noise[inside("aorta", 4)].mean()) < 2
    # Rays through the middle of the body are the weakest.
    assert noise[inside("fat")].std() < noise[inside("aorta")].std()


def test_noise_is_correlated_and_has_no_low_frequencies(volume, truth):
    noise = (volume - np.delete(truth["hounsfield"], truth["missing"], axis=0))[:, 192:320, 192:320]
    spectrum = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))

    def power(low, high):
        return spectrum[(frequency >= low) & (frequency < high)].mean()

    assert power(0.12, 0.2) > 2 * power(0.01, 0.03)
    assert power(0.12, 0.2) > 8 * power(0.4, 0.5)


# ------------------------------------------------------------------------------------------ truth


def test_truth_is_complete(truth):
    assert truth["labels"].shape == truth["hounsfield"].shape == (12, 512, 512)
    assert truth["labels"].dtype == np.uint8
    assert truth["hounsfield"].dtype == np.int16
    assert truth["label_names"] == {tissue.label: name for name, tissue in chest_ct.TISSUES.items()}
    assert set(np.unique(truth["labels"])) == set(truth["label_names"])


def test_affine_leads_from_voxel_to_patient(slices, truth):
    ds = slices[5]
    column, row = 100, 300
    x, y, z = np.array(ds.ImagePositionPatient, float)
    step_row, step_column = ds.PixelSpacing
    lps = np.array([x + column * step_column, y + row * step_row, z])
    ras = nib.affines.apply_affine(truth["affine"], [column, row, 6])  # file 5 is slice 6 of the full grid
    np.testing.assert_allclose(ras, lps * [-1, -1, 1], atol=1e-6)


def test_nodule_is_where_the_truth_says(truth):
    mask = truth["labels"] == chest_ct.TISSUES["nodule"].label
    k, j, i = (index.mean() for index in np.nonzero(mask))
    found = nib.affines.apply_affine(truth["affine"], [i, j, k])
    np.testing.assert_allclose(found, truth["nodule_centre_mm"], atol=1.0)
    volume = mask.sum() * abs(np.linalg.det(truth["affine"][:3, :3]))
    assert volume == pytest.approx(4 / 3 * np.pi * truth["nodule_radius_mm"] ** 3, rel=0.12)


def test_truth_beats_the_volume_only_by_noise(volume, truth):
    true = np.delete(truth["hounsfield"], truth["missing"], axis=0)
    assert np.corrcoef(volume.ravel(), true.ravel())[0, 1] > 0.999


def test_anatomy_lies_on_the_right_side(truth):
    """The apex of the heart and the descending aorta lie on the left, where RAS x is negative."""
    for name in ("aorta", "heart muscle"):
        k, j, i = (index.mean() for index in np.nonzero(truth["labels"] == chest_ct.TISSUES[name].label))
        assert nib.affines.apply_affine(truth["affine"], [i, j, k])[0] < 0


# ------------------------------------------------------------------------------------------ readers


def test_imageio_reads_the_stored_values_and_the_header(folder, by_name):
    for path, dataset in zip(sorted(folder.glob("*.dcm")), by_name, strict=True):
        np.testing.assert_array_equal(iio.imread(path, plugin="pydicom", raw=True), dataset.pixel_array)
        header = iio.immeta(path, plugin="pydicom", exclude_applied=False)
        assert header["ImagePositionPatient"] == list(dataset.ImagePositionPatient)
        assert (header["RescaleSlope"], header["RescaleIntercept"]) == (1, -1024)


def test_dicom2nifti_refuses_the_gap(folder, tmp_path, caplog):
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(ConversionValidationError, match="SLICE_INCREMENT_INCONSISTENT"),
    ):
        dicom2nifti.dicom_series_to_nifti(folder, tmp_path / "chest.nii.gz")


def test_dicom2nifti_converts_the_run_of_eight(folder, slices, volume, truth, tmp_path):
    below = tmp_path / "below"
    below.mkdir()
    for ds in slices[3:]:
        copy(ds.filename, below)
    dicom2nifti.dicom_series_to_nifti(below, tmp_path / "chest.nii.gz", reorient_nifti=False)
    img = nib.load(tmp_path / "chest.nii.gz")
    assert img.shape == (512, 512, 8)
    np.testing.assert_allclose(img.header.get_zooms(), (0.976562, 0.976562, 3.27), rtol=1e-5)
    data = np.asarray(img.dataobj)
    # Any voxel of the file lies, by either affine, at the voxel of the truth with the same value.
    to_truth = np.linalg.inv(truth["affine"]) @ img.affine
    for voxel in ([0, 0, 0], [300, 200, 7], [150, 330, 3]):
        i, j, k = np.rint(nib.affines.apply_affine(to_truth, voxel)).astype(int)
        np.testing.assert_allclose(nib.affines.apply_affine(to_truth, voxel), [i, j, k], atol=1e-3)
        assert data[tuple(voxel)] == volume[k - 1, j, i]
