"""The command line: what it prints and the exit status."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_fetchers import cache, dataset
from data_fetchers.__main__ import main
from tests.data_fetchers import faults


@pytest.fixture
def one_file(folders, monkeypatch, server):
    """The original EPI replaced by two small files, the first of which lies in the cache."""
    files, contents = [], {}
    for name in ("anatomy", "run"):
        img = nib.Nifti1Image(np.full((2, 2, 2), ord(name[0]), np.int16), np.eye(4))
        content = contents[name] = img.to_bytes()
        address = server.answer(f"/{name}", content)
        sha256 = hashlib.sha256(content).hexdigest()
        files.append(
            {"path": f"pair/{name}.nii", "bytes": len(content), "sha256": sha256, "addresses": [address]}
        )
    faults.set_files(monkeypatch, "epi", files)
    path = folders[0] / "pair" / "anatomy.nii"
    path.parent.mkdir(parents=True)
    path.write_bytes(contents["anatomy"])
    return path


def test_list_is_an_aligned_table(one_file, capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "LESSONS", "SOURCE", "STATE", "SIZE", "LICENCE"]
    starts = {line.index(word) for line, word in zip(lines, ["SOURCE"] + ["bundled"] * 3, strict=False)}
    assert len(starts) == 1
    epi = [line for line in lines if line.startswith("epi")]
    assert "made when needed   44.4 MB" in epi[0] and "1 of 2 files here" in epi[1]
    assert "5.1 MB" in lines[1] and all(len(line) < 110 for line in lines)
    assert {line.split()[0] for line in lines[1:]} == set(dataset.catalogue())


def test_where_names_the_folders_in_order(folders, capsys):
    folders[0].mkdir()
    folders[0].chmod(0o555)
    assert main(["where"]) == 0
    folders[0].chmod(0o755)
    assert capsys.readouterr().out.splitlines() == [
        f"{folders[0]}  (takes no files: read-only)",
        f"{folders[1]}  (writable)",
    ]


@pytest.mark.parametrize("command", ["list", "where", "check", "repair"])
def test_command_on_an_empty_cache_creates_nothing(command, folders, capsys):
    assert main([command]) == 0
    assert "wrong" not in (said := capsys.readouterr().out) or "othing is wrong" in said
    assert not folders[0].exists() and not folders[1].exists()


def test_check_and_repair_of_a_damaged_file(one_file, capsys, server):
    whole = one_file.read_bytes()
    one_file.write_bytes(b"damaged")
    half = one_file.with_name(f".{one_file.name}.1-abc.part")
    half.touch()
    assert main(["check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Found 1 fault: run `python -m data_fetchers repair`."
    assert any(line.startswith(f"{one_file} is damaged") for line in lines)
    assert any(line.startswith("1 unfinished") for line in lines)

    del server.answers["/run"]  # repair goes on where something cannot be had
    assert main(["repair"]) == 1
    out, err = capsys.readouterr()
    assert f"Deleted {one_file}" in out and f"Deleted {half}" in out
    assert "Could not download pair/run.nii" in err and "404" in err
    assert one_file.read_bytes() == whole and not half.exists()
    assert main(["check"]) == 0


def test_damaged_file_in_a_folder_of_others(one_file, folders, capsys):
    one_file.write_bytes(b"damaged")
    folders[0].chmod(0o555)
    assert main(["repair"]) == 1
    folders[0].chmod(0o755)
    assert "not yours to delete" in capsys.readouterr().err
    assert one_file.exists()


def test_get(made, capsys):
    assert main(["get", "motor_map", "brain_t1"]) == 0
    assert capsys.readouterr().out.count("<Dataset") == 2


def test_get_without_network_tells_and_goes_on(made, capsys, monkeypatch):
    files = dataset.catalogue()["epi"]["original"]["files"]
    nowhere = {"addresses": ["http://nowhere.invalid/"]}
    faults.set_files(monkeypatch, "epi", [{**file, **nowhere} for file in files])
    assert main(["get", "epi", "motor_map"]) == 1
    out, err = capsys.readouterr()
    assert out.count("<Dataset") == 2 and "the network is not reachable" in err


def test_get_original_of_what_has_none(capsys, monkeypatch):
    # A teacher who fills a folder with originals wants there what stands in for them too.
    monkeypatch.setenv("SLICEWISE_SOURCE", "original")
    assert main(["get", "motor_map"]) == 0
    assert capsys.readouterr().out.startswith("<Dataset motor_map")


def test_repair_deletes_what_older_versions_made(made, capsys):
    old = made / "made" / f"epi-{'0' * 16}"
    old.mkdir()
    (old / "run.nii.gz").touch()
    assert main(["check"]) == 0
    assert "1 simulated by an older version of the course; `repair` deletes them." in capsys.readouterr().out
    assert main(["repair"]) == 0
    assert f"Deleted {old}" in capsys.readouterr().out and not old.exists()
    assert cache.find_made("epi")


def test_get_unknown(capsys):
    assert main(["get", "elephant"]) == 1
    assert capsys.readouterr().err.startswith("There is no data set 'elephant'; choose from brain_t1, ")


@pytest.mark.parametrize("arguments", [["get"], ["get", "--all", "epi"], [], ["dance"]])
def test_misuse(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: python -m data_fetchers" in capsys.readouterr().err


def test_repair_remakes_damaged_simulated_data(made, tmp_path, monkeypatch, capsys):
    from data_fetchers.simulate import epi

    whole = Path(cache.find_made("epi"))
    monkeypatch.setenv("SLICEWISE_DATA", str(tmp_path / "copy"))
    shutil.copytree(whole, tmp_path / "copy" / "made" / whole.name)
    (tmp_path / "copy" / "made" / whole.name / "run.nii.gz").write_bytes(b"")
    files = [path for path in whole.iterdir() if path.name != cache.CONTENTS]
    monkeypatch.setattr(epi, "make", lambda folder, *_: [shutil.copy(path, folder) for path in files])
    assert main(["check"]) == 1
    assert main(["repair"]) == 0
    assert main(["check"]) == 0
    assert "epi, bundled: ready (44." in capsys.readouterr().out


def test_wrong_source_in_the_environment_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("SLICEWISE_SOURCE", "bogus")
    assert main(["get", "oasis_volumes"]) == 1
    assert "There is no source 'bogus' in SLICEWISE_SOURCE" in capsys.readouterr().err


def test_source_in_capitals_and_with_spaces_is_understood(monkeypatch, capsys):
    monkeypatch.setenv("SLICEWISE_SOURCE", " BUNDLED ")
    assert main(["get", "oasis_volumes"]) == 0
    assert capsys.readouterr().out.startswith("<Dataset oasis_volumes, bundled")


def test_reader_that_has_seen_enough_gets_no_traceback():
    command = f"{sys.executable} -m data_fetchers list | head -n 1"
    run = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert run.stderr == "" and run.stdout.startswith("NAME")


def test_where_tells_of_a_folder_that_cannot_be_created(folders, monkeypatch, capsys):
    folders[0].touch()
    monkeypatch.setenv("SLICEWISE_DATA", str(folders[0] / "inner" / "data"))
    assert main(["where"]) == 0
    assert "inner/data  (takes no files: " in capsys.readouterr().out


def test_place_for_simulated_data_that_takes_none_is_a_fault(folders, capsys):
    folders[0].mkdir()
    (folders[0] / "made").touch()
    assert main(["check"]) == 1
    assert "takes no simulated data" in capsys.readouterr().out
