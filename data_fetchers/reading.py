"""Files read with care: what is damaged gets one sentence that names the file, the cause and the remedy.

The hashes of the cache keep damaged files away from here; what remains are files that other packages keep,
and the day on which a hash is wrong. DICOM series have a module of their own, `data_fetchers.dicom`.
"""

import math

from .cache import FetchError


def damaged(path, why):
    """Return the error that says that ``path`` is damaged and ``why``, which completes “it …”."""
    return FetchError(f"{path} is damaged: it {why}; delete it and get it again.")


def nifti(path):
    """Return a NIfTI image, whose data are not read yet but are all there.

    Parameters
    ----------
    path : Path
        A ``.nii`` or ``.nii.gz`` file.

    Raises
    ------
    FetchError
        If it is no NIfTI file, or its size is not what its header says.
    """
    import nibabel as nib

    try:
        img = nib.load(path)
        # A gzip file keeps the size of its content modulo 2³²: nothing is read, no absurd memory asked for.
        says = img.dataobj.offset + math.prod(img.shape) * img.get_data_dtype().itemsize
        holds = _size_inside(path)
    except Exception as error:  # damage leads a reader anywhere
        raise damaged(path, "is not a whole NIfTI image") from error
    if min(img.shape, default=0) < 1 or holds not in (says, says % 2**32):
        shape = " × ".join(map(str, img.shape))
        raise damaged(path, f"does not hold the {shape} voxels, {says} bytes, of which its header speaks")
    return img


def picture(path):
    """Return a grey picture, (row, column) uint8.

    Raises
    ------
    FetchError
        If it cannot be read to the end, or is not a grey picture of 8 bits.
    """
    import imageio.v3 as iio

    try:
        image = iio.imread(path)
    except Exception as error:
        raise damaged(path, "cannot be read to the end as a picture") from error
    if image.ndim != 2 or image.dtype != "uint8":
        raise damaged(path, f"is not a grey picture of 8 bits but {image.dtype} {image.shape}")
    return image


def table(path, columns, separator=","):
    """Return a table as a pandas DataFrame, of these columns in this order.

    Raises
    ------
    FetchError
        If it cannot be read, lacks a column, or lacks a value in one of them.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, sep=separator)[list(columns)]
    except KeyError as error:
        raise damaged(path, f"does not have the columns {', '.join(columns)}") from error
    except Exception as error:
        raise damaged(path, "cannot be read as a table") from error
    if len(frame) == 0 or frame.isna().any(axis=None):
        raise damaged(path, "lacks values")
    return frame


def _size_inside(path):
    """Return the size of a file, or of what is packed in it (modulo 2³²)."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        size = file.seek(-4 if packed else 0, 2)
        return int.from_bytes(file.read(4), "little") if packed else size
