"""A series put together by its headers; what is wrong with one is a row of the table of faults."""

import nibabel as nib
import numpy as np
import pytest

from data_fetchers import FetchError
from data_fetchers.dicom import assemble
from tests.data_fetchers.faults import dicom_file

ROW, COLUMN = np.array([0.8, 0.6, 0.0]), np.array([0.0, 0.0, -1.0])
NORMAL = np.cross(ROW, COLUMN)


def oblique(folder, n_slices, numbers=range(9), **changes):
    """Write slices of an oblique plane, 5 mm apart; return their paths."""
    paths = []
    for k in range(n_slices):
        content = dicom_file(
            k,
            0,
            ImagePositionPatient=list(np.array([10.0, 20.0, 30.0]) + 5 * k * NORMAL),
            ImageOrientationPatient=[*ROW, *COLUMN],
            InstanceNumber=numbers[k],
            **changes,
        )
        paths.append(folder / f"{k}.dcm")
        paths[-1].write_bytes(content)
    return paths


def test_affine_leads_each_voxel_to_where_the_header_says(tmp_path):
    data, affine, times_ms = assemble(oblique(tmp_path, 3))
    assert data.shape == (6, 4, 3, 1) and data.dtype == np.uint16 and times_ms.shape == (3, 1)
    for i, j, k in ((0, 0, 0), (5, 3, 2), (2, 1, 1)):
        # PixelSpacing is (between rows, between columns) = (2, 3) mm; DICOM counts to left and back.
        left_back_up = np.array([10.0, 20.0, 30.0]) + 3 * i * ROW + 2 * j * COLUMN + 5 * k * NORMAL
        np.testing.assert_allclose(nib.affines.apply_affine(affine, [i, j, k]), left_back_up * [-1, -1, 1])
        assert data[i, j, k, 0] == 10 * k


def test_order_of_files_does_not_matter(tmp_path):
    paths = oblique(tmp_path, 4)
    expected = assemble(paths)
    for shuffled in (paths[::-1], paths[2:] + paths[:2]):
        for one, other in zip(assemble(shuffled), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_slices_begin_where_the_instance_numbers_do(tmp_path):
    data, affine, _ = assemble(oblique(tmp_path, 3, numbers=[9, 8, 7]))
    assert data[0, 0, :, 0].tolist() == [20, 10, 0]
    np.testing.assert_allclose(affine[:3, 2], -5 * NORMAL * [-1, -1, 1])
    np.testing.assert_allclose(affine[:3, 3], (np.array([10, 20, 30]) + 10 * NORMAL) * [-1, -1, 1])


def test_single_slice_takes_its_thickness_from_the_header(tmp_path):
    data, affine, _ = assemble(oblique(tmp_path, 1))
    assert data.shape == (6, 4, 1, 1)
    np.testing.assert_allclose(nib.affines.voxel_sizes(affine), [3, 2, 8])


def test_stored_values_are_rescaled(tmp_path):
    data, *_ = assemble(oblique(tmp_path, 2, RescaleSlope=2, RescaleIntercept=-1024))
    assert data[0, 0, :, 0].tolist() == [-1024, -1004]


def test_frames_without_trigger_time_follow_the_instance_number(tmp_path):
    for name, number in (("a", 7), ("b", 3)):
        content = dicom_file(0, number, TriggerTime=None, InstanceNumber=number)
        (tmp_path / f"{name}.dcm").write_bytes(content)
    data, _, times_ms = assemble(sorted(tmp_path.iterdir()))
    assert data[0, 0, 0].tolist() == [3, 7] and times_ms.tolist() == [[0, 0]]


def test_no_file():
    with pytest.raises(FetchError, match="There is no DICOM file to read"):
        assemble([])


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(FetchError, match="gone.dcm is damaged: it is not a whole DICOM image"):
        assemble([tmp_path / "gone.dcm"])
