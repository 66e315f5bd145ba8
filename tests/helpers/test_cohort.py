"""Cohorts: rows true to the images, kept whole or not at all; nothing lost, whatever breaks."""

import errno
import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import distributed
import loky
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_fetchers import fetch_oasis_subjects
from helpers import cohort
from helpers.cohort import Subject, find_subjects, measure_cohort, measure_subject
from tests.lessonfile import ROOT

N = 24
SCRIPT = ROOT / "lessons" / "cohort_array.sh"
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None
needs_fork = pytest.mark.skipif(FORK is None, reason="what a test changes reaches a worker only by a fork")


@pytest.fixture(scope="module")
def heads():
    """Return a simulated cohort; it knows its truth."""
    return fetch_oasis_subjects("bundled", n_subjects=N)


@pytest.fixture(scope="module")
def folder(heads):
    return heads.images["t1"][0].parents[1]


@pytest.fixture(scope="module")
def plain(folder):
    """Return the table of the first eight subjects, measured in a plain loop."""
    return measure_cohort(find_subjects(folder)[:8])


@pytest.fixture
def quick(monkeypatch):
    """Measure without registration, and count how often."""
    calls = []

    def measures(paths):
        calls.append(paths.label)
        size = float(len(paths.t1.read_bytes()))
        return dict(zip(cohort.MEASURES, (2 * size, 4 * size, size, size, 2 * size, 0.9), strict=True))

    monkeypatch.setattr(cohort, "_measures", measures)
    return calls


def toys(folder, n):
    """Write small files and return subjects of them, whose rows are kept."""
    for number in range(n):
        (folder / f"{number}.nii").write_bytes(b"x" * (number + 1))
    (folder / "rows").mkdir(exist_ok=True)
    return [
        Subject(f"sub-{number:02d}", folder / f"{number}.nii", row=folder / "rows" / f"sub-{number:02d}.json")
        for number in range(n)
    ]


def changed(source, path, data=None, affine=None):
    """Write a copy of an image with other contents or another affine."""
    image = nib.load(source)
    data = np.asarray(image.dataobj) if data is None else data
    nib.Nifti1Image(data, image.affine if affine is None else affine).to_filename(path)
    return path


# What is measured


def test_volumes_are_those_of_the_truth(heads, folder):
    subjects = find_subjects(folder)
    with ProcessPoolExecutor(2) as executor:
        table = measure_cohort(subjects, executor, heads.table)
    assert table.columns.tolist() == [*heads.table.columns, *cohort.MEASURES, "error"]
    assert table["error"].isna().all() and (table["quality"] > 0.9).all()
    pd.testing.assert_frame_equal(table[heads.table.columns], heads.table)
    np.testing.assert_allclose(table["brain_vol"], table["gray_matter_vol"] + table["white_matter_vol"])
    np.testing.assert_allclose(table["skull_vol"], table["brain_vol"] + table["csf_vol"])
    truth = pd.DataFrame(heads.truth)
    for name, least, most in (
        ("skull_vol", 0.99, 0.08),
        ("brain_vol", 0.97, 0.07),
        ("csf_vol", 0.98, 0.12),
        ("gray_matter_vol", 0.94, 0.08),
        ("white_matter_vol", 0.9, 0.08),
    ):
        assert np.corrcoef(table[name], truth[name])[0, 1] > least, name
        assert 0 < (table[name] / truth[name]).mean() - 1 < most, name


def test_this_method_gives_this_row(plain):
    """If this fails because the method has changed, raise METHOD: no kept row of the old one may be used."""
    assert cohort.METHOD == 1
    row = plain.loc[0, list(cohort.MEASURES)].astype(float)
    expected = {
        "brain_vol": 958.75,
        "skull_vol": 1353.1,
        "gray_matter_vol": 555.91,
        "white_matter_vol": 402.84,
        "csf_vol": 394.39,
        "quality": 0.97988,
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=2e-3), name


def test_scanner_and_file_change_little(folder, tmp_path, plain):
    """Not the order and direction of the axes, the place in the scanner, or the unit of the intensities."""
    t1 = find_subjects(folder)[0].t1
    image = nib.load(t1)
    turned = image.as_reoriented(nib.orientations.axcodes2ornt(tuple("PIL")))
    moved = nib.affines.from_matvec(np.eye(3), (0, 40, -300)) @ turned.affine
    data = np.asarray(turned.dataobj, np.float32)[..., None] * 7.5
    nib.Nifti1Image(data, moved).to_filename(tmp_path / "turned.nii")
    row = measure_subject(Subject("sub-0001", tmp_path / "turned.nii"))
    for name in cohort.MEASURES:
        assert row[name] == pytest.approx(plain.loc[0, name], rel=0.01), name


def test_mask_takes_the_place_of_the_template(heads, folder, tmp_path):
    labels = np.asarray(nib.load(heads.images["labels"][0]).dataobj)
    mask = changed(
        heads.images["labels"][0], tmp_path / "mask.nii", ((labels > 0) & (labels < 4)).astype("u1")
    )
    row = measure_subject(find_subjects(folder)[0]._replace(mask=mask))
    assert row["skull_vol"] == pytest.approx(heads.truth["skull_vol"][0], rel=0.01)
    assert row["brain_vol"] == pytest.approx(heads.truth["brain_vol"][0], rel=0.08)


# Bad input: each is a row with one sentence, and the rest completes


BAD_IMAGES = {
    "missing": (lambda image, path: None, "bad.nii is not in .*; fetch it, or leave the subject out."),
    "a folder": (lambda image, path: path.mkdir(), "cannot be read"),
    "no image": (lambda image, path: path.write_text("no image"), "cannot be read as an image"),
    "cut off": (lambda image, path: path.write_bytes(image.to_bytes()[:9000]), "cannot be read as an image"),
    "2D": (lambda image, path: save(path, np.ones((64, 64))), r"shape \(64, 64\); a single 3D volume"),
    "4D": (lambda image, path: save(path, np.ones((9, 9, 9, 2))), r"shape \(9, 9, 9, 2\); a single 3D"),
    "NaN": (lambda image, path: save(path, with_nan(image), image.affine), "NaN or infinity in 3 voxels"),
    "constant": (lambda image, path: save(path, np.ones((50, 50, 50))), "the same value in every voxel"),
    "flat affine": (lambda i, p: save(p, floats(i), np.diag([3, 3, 0, 1])), "affine that leads nowhere"),
    "metres": (lambda i, p: save(p, floats(i), np.diag([0.003, 0.003, 0.003, 1])), "covers 0 × 0 × 0 mm"),
    "slab": (lambda i, p: save(p, floats(i)[..., :20], i.affine), "covers 192 × 234 × 60 mm"),
    "half a head": (lambda i, p: save(p, floats(i)[:, :39], i.affine), "does not fit .* stretched by 1"),
    "no vertex": (lambda i, p: save(p, floats(i)[..., :44], i.affine), "does not fit .* stretched by 1"),
    "noise": (lambda i, p: save(p, np.random.default_rng(0).random(i.shape), i.affine), "does not fit"),
    "negative": (lambda i, p: save(p, 255 - floats(i), i.affine), "does not fit|as T1 does|no white"),
}  # fmt: skip


def save(path, data, affine=None):
    affine = np.diag([3.0, 3.0, 3.0, 1.0]) if affine is None else affine
    header = nib.Nifti1Header()
    header.set_sform(affine, 1)
    nib.Nifti1Image(data.astype(np.float32), None, header).to_filename(path)


def floats(image):
    return np.asarray(image.dataobj, np.float32)


def with_nan(image):
    data = floats(image).copy()
    data[30, 30, 28:31] = np.nan, np.inf, -np.inf
    return data


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_bad_image_becomes_a_row(kind, folder, tmp_path):
    make, message = BAD_IMAGES[kind]
    make(nib.load(find_subjects(folder)[0].t1), tmp_path / "bad.nii")
    bad = Subject("sub-bad", tmp_path / "bad.nii", row=tmp_path / "sub-bad.json")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        measure_subject(bad)
    table = measure_cohort([bad, Subject("sub-gone", tmp_path / "gone.nii")])
    assert table.loc[0, list(cohort.MEASURES)].isna().all() and table["error"].notna().all()
    error = table.loc[0, "error"]
    assert "bad.nii" in error and error.endswith(".") and "\n" not in error
    assert bad.row.exists()


BAD_MASKS = {
    "empty": (lambda data: np.zeros_like(data), "empty mask"),
    "labels": (lambda data: data, "other values than 0 and 1"),
    "NaN": (lambda data: np.where(data > 0, np.nan, 0), "other values than 0 and 1"),
    "other grid": (lambda data: data[1:] > 0, "does not lie on the grid"),
}


@pytest.mark.parametrize("kind", BAD_MASKS)
def test_bad_mask_becomes_a_row(kind, heads, folder, tmp_path):
    make, message = BAD_MASKS[kind]
    labels = nib.load(heads.images["labels"][0])
    save(tmp_path / "mask.nii", make(floats(labels)), labels.affine)
    table = measure_cohort([find_subjects(folder)[0]._replace(mask=tmp_path / "mask.nii")])
    assert message in table.loc[0, "error"] and "mask.nii" in table.loc[0, "error"]


def test_labels_and_participants(tmp_path, quick):
    subjects = toys(tmp_path, 5)
    subjects[3] = subjects[3]._replace(label="sub-01")
    people = pd.DataFrame(
        {"age": [30, 40, 50, 50], "participant_id": ["sub-02", "sub-00", "sub-04", "sub-04"]}
    )
    table = measure_cohort(subjects, participants=people)
    assert table["participant_id"].tolist() == ["sub-00", "sub-01", "sub-02", "sub-01", "sub-04"]
    assert table["error"].isna().tolist() == [True, False, True, False, False]
    assert table["error"][1] == table["error"][3]
    assert "sub-01 is the label of 2 images (1.nii, 3.nii)" in table["error"][1]
    assert "sub-04 has 2 rows in the table of participants" in table["error"][4]
    assert table["age"].tolist()[:3:2] == [40, 30]
    table = measure_cohort(subjects[:1], participants=people[people["age"] != 40])
    assert "sub-00 has no rows in the table of participants" in table["error"][0]


def test_table_without_a_column_is_refused_at_once(tmp_path, quick):
    with pytest.raises(ValueError, match="no column participant_id in .*, only subject, age"):
        measure_cohort(toys(tmp_path, 2), participants=pd.DataFrame({"subject": ["sub-00"], "age": [30]}))
    with pytest.raises(ValueError, match="column brain_vol of .* is named as a result"):
        measure_cohort(
            toys(tmp_path, 2), participants=pd.DataFrame({"participant_id": ["sub-00"], "brain_vol": [1]})
        )
    assert quick == []
    (tmp_path / "participants.tsv").write_text("subject\tage\n")
    with pytest.raises(ValueError, match="no column participant_id in .*participants.tsv, only subject, age"):
        find_subjects(tmp_path)
    with pytest.raises(FileNotFoundError, match="no participants.tsv"):
        find_subjects(tmp_path / "rows")


def test_a_fault_of_ours_sinks_one_subject_only(tmp_path, quick, monkeypatch):
    measures = cohort._measures

    def faulty(paths):
        if paths.label == "sub-01":
            raise MemoryError("no room")
        return measures(paths)

    monkeypatch.setattr(cohort, "_measures", faulty)
    table = measure_cohort(toys(tmp_path, 3))
    assert table["error"].notna().tolist() == [False, True, False]
    assert "MemoryError: no room" in table["error"][1]


def test_full_disk_becomes_a_row(tmp_path, quick, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    subjects = toys(tmp_path, 2)
    monkeypatch.setattr(os, "fsync", full)
    assert measure_cohort(subjects)["error"].str.contains("No space left").all()
    assert list((tmp_path / "rows").iterdir()) == []
    monkeypatch.undo()


# Rows that are kept


def test_finds_subjects_as_bids_lays_them_out(tmp_path):
    for name in ("sub-b/anat/sub-b_T1w.nii", "sub-c/sub-c_T1w.nii.gz", "sub-c/sub-c_T1w.nii.gz.part"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in (
        "sub-d/ses-1/sub-d_ses-1_T1w.nii",
        "sub-d/ses-2/sub-d_ses-2_T1w.nii",
        "sub-e/sub-e_dseg.nii",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "participants.tsv").write_text("age\tparticipant_id\n1\tsub-c\n2\tsub-a\n3\tsub-d\n")
    subjects = find_subjects(tmp_path, tmp_path / "out" / "rows")
    assert [(paths.label, paths.t1.relative_to(tmp_path).as_posix()) for paths in subjects] == [
        ("sub-c", "sub-c/sub-c_T1w.nii.gz"),
        ("sub-a", "sub-a/sub-a_T1w.nii.gz"),
        ("sub-d", "sub-d/ses-1/sub-d_ses-1_T1w.nii"),
        ("sub-d", "sub-d/ses-2/sub-d_ses-2_T1w.nii"),
        ("sub-b", "sub-b/anat/sub-b_T1w.nii"),
        ("sub-e", "sub-e/sub-e_T1w.nii.gz"),
    ]
    assert subjects[0].row == tmp_path / "out" / "rows" / "sub-c.json" and subjects[0].row.parent.is_dir()
    errors = measure_cohort(subjects, participants=cohort.read_participants(tmp_path))["error"]
    for text, error in zip(
        ("read", "not in", "label of 2", "label of 2", "no rows", "no rows"), errors, strict=True
    ):
        assert text in error


def test_row_is_measured_once_and_again_when_stale(tmp_path, quick, monkeypatch):
    (paths,) = toys(tmp_path, 1)
    row = measure_subject(paths)
    assert measure_subject(paths) == row and len(quick) == 1
    moved = paths._replace(t1=tmp_path / "elsewhere.nii")
    shutil.copy(paths.t1, moved.t1)
    os.utime(moved.t1, (0, 0))
    assert measure_subject(moved) == row and len(quick) == 1
    stale = (
        lambda: paths.t1.write_bytes(b"another image"),
        lambda: monkeypatch.setattr(cohort, "METHOD", 2),
        lambda: paths.row.write_text(paths.row.read_text()[:-20]),
        lambda: paths.row.write_text("[1, 2]"),
        lambda: paths.row.write_text(paths.row.read_text().replace("sub-00", "sub-99")),
        lambda: paths.row.write_text(paths.row.read_text().replace("quality", "beauty")),
        lambda: cohort._failed(paths, "it rained"),
        lambda: paths.row.unlink(),
    )
    for number, spoil in enumerate(stale, start=2):
        spoil()
        fresh = measure_subject(paths)
        assert len(quick) == number and measure_subject(paths) == fresh and len(quick) == number
    mask = tmp_path / "mask.nii"
    mask.write_bytes(b"mask")
    measure_subject(paths._replace(mask=mask))
    assert len(quick) == number + 1


@needs_fork
def test_a_kill_before_the_rename_leaves_no_row(tmp_path, quick):
    (paths,) = toys(tmp_path, 1)

    def die(*_):
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        measure_subject(paths)

    process = FORK.Process(target=die)
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    left = list(paths.row.parent.iterdir())
    assert [path.name[:13] for path in left] == [".sub-00.json."] and not paths.row.exists()
    assert measure_cohort([paths])["error"].isna().all() and paths.row.exists()


def test_many_writers_leave_one_whole_row(tmp_path, quick):
    (paths,) = toys(tmp_path, 1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: (paths.row.unlink(missing_ok=True), measure_subject(paths)), range(40)))
    assert [path.name for path in paths.row.parent.iterdir()] == [paths.row.name]
    assert measure_subject(paths)["brain_vol"] == 2


# Executors


@pytest.mark.parametrize("kind", ["threads", "loky"])
def test_executor_changes_nothing(kind, folder, plain):
    if kind == "threads":
        with ThreadPoolExecutor(2) as executor:
            table = measure_cohort(find_subjects(folder)[:8], executor)
    else:
        executor = loky.get_reusable_executor(2)
        table = measure_cohort(find_subjects(folder)[:8], executor)
        executor.shutdown()
    pd.testing.assert_frame_equal(table, plain)


def kill_when(folder, number, pid):
    """Kill a process as soon as a folder holds so many rows; return the thread that waits for it."""

    def watch():
        end = time.monotonic() + 60
        while len(list(folder.glob("*.json"))) < number and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_dask_loses_nothing_when_a_worker_is_killed(folder, tmp_path, plain):
    subjects = find_subjects(folder, tmp_path)[:8]
    quiet = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, **quiet) as cluster,
        distributed.Client(cluster) as client,
    ):
        before = set(client.run(os.getpid).values())
        thread = kill_when(tmp_path, 2, min(before))
        table = measure_cohort(subjects, client.get_executor())
        thread.join()
        client.wait_for_workers(2, timeout=120)
        assert min(before) not in client.run(os.getpid).values()
    pd.testing.assert_frame_equal(table, plain)


@needs_fork
def test_pool_loses_nothing_when_a_worker_is_killed_from_outside(folder, tmp_path, plain):
    with ProcessPoolExecutor(2, FORK) as executor:
        thread = kill_when(tmp_path, 2, executor.submit(os.getpid).result())
        table = measure_cohort(find_subjects(folder, tmp_path)[:8], executor)
        thread.join()
    pd.testing.assert_frame_equal(table, plain)


@needs_fork
def test_subject_that_kills_its_worker_becomes_a_row(tmp_path, quick, monkeypatch):
    measures, test = cohort._measures, os.getpid()

    def deadly(paths):
        if paths.label in ("sub-03", "sub-04", "sub-25") and os.getpid() != test:
            os.kill(os.getpid(), signal.SIGKILL)
        return measures(paths)

    monkeypatch.setattr(cohort, "_measures", deadly)
    subjects = toys(tmp_path, 30)
    with ProcessPoolExecutor(2, FORK) as executor:
        table = measure_cohort(subjects, executor)
    assert table.index[table["error"].notna()].tolist() == [3, 4, 25]
    assert table["error"][3].startswith("The worker was lost (BrokenProcessPool")
    assert table["gray_matter_vol"].drop([3, 4, 25]).tolist() == [
        n + 1 for n in range(30) if n not in (3, 4, 25)
    ]
    # The reason is kept, and the next run, here in this process, tries again.
    assert "The worker was lost" in subjects[25].row.read_text()
    assert measure_cohort(subjects)["error"].isna().all()


class Unreliable(Executor):
    """Runs calls at once, and loses some of them in the ways in which executors do."""

    def __init__(self, fates):
        self.fates, self.waiting = dict(fates), []

    def submit(self, function, paths, run):
        fates = self.fates.get(int(paths.label.removeprefix("sub-")), [])
        fate, future = (fates.pop(0) if fates else "done"), Future()
        if fate == "refused":
            raise RuntimeError("cannot schedule new futures after shutdown")
        if fate == "cancelled":
            future.cancel()
            future.set_running_or_notify_cancel()
        elif fate == "lost":
            future.set_exception(OSError("KilledWorker"))
        else:
            delay = threading.Timer(random.random() / 200, lambda: future.set_result(function(paths, run)))
            delay.start()
        return future


FATES = st.lists(st.sampled_from(["done", "cancelled", "lost", "refused"]), min_size=1, max_size=2)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=st.dictionaries(st.integers(0, 11), FATES), window=st.integers(1, 20))
def test_every_subject_has_its_row_in_its_place(fates, window, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(cohort, "WINDOW", window)
    shutil.rmtree(tmp_path / "rows", ignore_errors=True)
    table = measure_cohort(toys(tmp_path, 12), Unreliable({key: list(value) for key, value in fates.items()}))
    assert table["participant_id"].tolist() == [f"sub-{n:02d}" for n in range(12)]
    for n in range(12):
        fate = (*fates.get(n, ()), "done", "done")
        fine = fate[0] == "done" or fate[:2] == ("cancelled", "done")
        assert pd.isna(table["error"][n]) == fine
        if fine:
            assert table["gray_matter_vol"][n] == n + 1


def test_few_subjects_wait_in_the_executor(tmp_path, quick, monkeypatch):
    class Counting(ThreadPoolExecutor):
        now = most = 0

        def submit(self, *arguments):
            self.now += 1
            self.most = max(self.most, self.now)
            future = super().submit(*arguments)
            future.add_done_callback(self.leave)
            return future

        def leave(self, future):
            self.now -= 1

    with Counting(2) as executor:
        table = measure_cohort(toys(tmp_path, 99), executor)
    assert table["error"].isna().all() and 2 <= executor.most <= 8


def test_interrupt_and_resume(tmp_path, quick, monkeypatch):
    measures = cohort._measures

    def interrupted(paths):
        if len(quick) == 4:
            raise KeyboardInterrupt
        return measures(paths)

    monkeypatch.setattr(cohort, "_measures", interrupted)
    subjects = toys(tmp_path, 7)
    with pytest.raises(KeyboardInterrupt):
        measure_cohort(subjects)
    assert len(list((tmp_path / "rows").iterdir())) == 4
    monkeypatch.setattr(cohort, "_measures", measures)
    assert measure_cohort(subjects)["gray_matter_vol"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(quick) == [paths.label for paths in subjects]


def test_interrupt_leaves_nothing_waiting_in_an_executor(tmp_path, quick, monkeypatch):
    begun, over = [], threading.Event()

    class Interrupted:
        def __init__(self, *_, **__): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def update(self):
            raise KeyboardInterrupt

    def slow(paths):
        begun.append(paths.label)
        if len(begun) > 1:
            over.wait(60)
        raise ValueError("slow")

    monkeypatch.setattr(cohort, "tqdm", Interrupted)
    monkeypatch.setattr(cohort, "_measures", slow)
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(KeyboardInterrupt):
            measure_cohort(toys(tmp_path, 20), executor)
        over.set()
    assert len(begun) <= 2


# The command line


def command(*arguments, **options):
    words = [sys.executable, "-m", "helpers.cohort", *map(str, arguments)]
    return subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_levels_participant_and_group(folder, tmp_path, capsys, plain):
    arguments = [str(folder), str(tmp_path / "out")]
    assert cohort.main([*arguments, "participant", "--participant-label", "0002", "sub-0001"]) == 0
    assert "2 subjects, 0 failed" in capsys.readouterr().out
    assert cohort.main([*arguments, "group"]) == 1
    said = capsys.readouterr()
    assert f"{N} subjects, {N - 2} failed" in said.out and "sub-0003 has not been measured" in said.err
    table = pd.read_csv(tmp_path / "out" / "volumes.tsv", sep="\t")
    assert table["error"].notna().sum() == N - 2 and {"age", "sex", "alzheimers"} <= set(table)
    measures = ["participant_id", *cohort.MEASURES]
    pd.testing.assert_frame_equal(table.loc[:1, measures], plain.loc[:1, measures], check_dtype=False)
    assert "n/a" in (tmp_path / "out" / "volumes.tsv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["participant", "--participant-label", "0001", "9999"], "there is no sub-9999 in"),
        (["group", "--participant-label", "0001"], "--participant-label is for the level 'participant'"),
        (["session"], "invalid choice: 'session'"),
    ],
)
def test_wrong_call(arguments, message, folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cohort.main([str(folder), str(tmp_path), *arguments])
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_no_table_of_participants(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cohort.main([str(tmp_path), str(tmp_path / "out"), "participant"])
    assert stop.value.code == 2 and "There is no participants.tsv" in capsys.readouterr().err


def test_help_says_what_a_scheduler_needs(capsys):
    with pytest.raises(SystemExit):
        cohort.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for word in ("--participant-label", "participants.tsv", "volumes.tsv", "exit code", "scheduler"):
        assert word in text


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no interrupt for a child alone")
def test_process_that_is_interrupted_is_resumed(folder, tmp_path, plain):
    heads, rows = tmp_path / "heads", tmp_path / "rows"
    shutil.copytree(folder, heads)
    late = heads / "sub-0003" / "sub-0003_T1w.nii.gz"
    late.unlink()
    os.mkfifo(late)  # whoever reads it waits, however quick the machine is
    # Where the tests run in the background, what they start would not hear an interrupt.
    hears = {"preexec_fn": partial(signal.signal, signal.SIGINT, signal.SIG_DFL)}
    labels = [f"{n:04d}" for n in range(1, 9)]
    run = command(heads, rows, "participant", "--participant-label", *labels, **hears)
    end = time.monotonic() + 120
    while len(list(rows.glob("*.json"))) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in said and "the same command goes on" in said
    times = {path: path.stat().st_mtime_ns for path in rows.glob("*.json")}
    assert sorted(path.stem for path in times) == ["sub-0001", "sub-0002"]
    assert {path.suffix for path in rows.iterdir()} <= {".json", ".part"}
    late.unlink()
    shutil.copy(folder / "sub-0003" / late.name, late)
    pd.testing.assert_frame_equal(measure_cohort(find_subjects(heads, rows)[:8]), plain)
    assert {path: path.stat().st_mtime_ns for path in times} == times


@pytest.mark.skipif(shutil.which("sh") is None, reason="clusters have a shell")
def test_array_script(heads, folder, tmp_path):
    """A folder of 12 subjects, two of them damaged, and the second task of an array."""
    for number in range(1, 13):
        name = f"sub-{number:04d}"
        (tmp_path / "in" / name).mkdir(parents=True)
        shutil.copy(folder / name / f"{name}_T1w.nii.gz", tmp_path / "in" / name)
    shutil.copy(folder / "participants.tsv", tmp_path / "in")
    lines = (tmp_path / "in" / "participants.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "in" / "participants.tsv").write_text("".join(lines[:13]))
    (tmp_path / "in" / "sub-0012" / "sub-0012_T1w.nii.gz").write_bytes(b"damaged")
    assert subprocess.run(["sh", "-n", SCRIPT]).returncode == 0

    def task(number):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        slurm = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(number)}
        words = ["sh", SCRIPT, tmp_path / "in", tmp_path / "out"]
        environment = os.environ | slurm | {"PATH": path, "PYTHONPATH": str(ROOT)}
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)

    run = task(1)
    assert run.returncode == 1 and "2 subjects, 1 failed" in run.stdout, run.stderr
    assert "sub-0012_T1w.nii.gz cannot be read as an image" in run.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sub-0011.json", "sub-0012.json"]
    beyond = task(2)
    assert (beyond.returncode, beyond.stdout, beyond.stderr) == (0, "", "")


def test_lost_is_a_sentence_of_its_own():
    assert "CancelledError" in cohort._lost(CancelledError())
