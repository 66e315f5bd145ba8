"""The simulated DICOM files hold to the standard, as the validator dciodvfy sees it.

Debian's package dicom3tools has it, and the continuous integration installs that. Where it is not to be had,
there is no such test; the tests of each simulator look at the mandatory elements themselves.
"""

import shutil
import subprocess

import pytest

import data_fetchers

if shutil.which("dciodvfy"):

    @pytest.mark.parametrize("fetch", [data_fetchers.fetch_chest_ct, data_fetchers.fetch_cardiac_cine])
    def test_validator_finds_no_error(fetch):
        paths = fetch("bundled").paths
        for path in paths[:: max(1, len(paths) // 20)]:
            told = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
            assert "Error" not in told.stderr + told.stdout, f"{path}: {told.stderr}{told.stdout}"
            assert "MRImage" in told.stderr or "CTImage" in told.stderr, "it has not looked at the image"
