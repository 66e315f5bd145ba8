"""Downloads, verification and sharing between processes; the faults have a table of their own."""

import hashlib
import shutil
import stat
import threading
import time

import pytest

from data_fetchers import FetchError, cache, dataset, fetch_epi
from tests.data_fetchers import faults

CONTENT = bytes(range(256)) * 2000
PATH = "toy/toy.bin"


@pytest.fixture
def toy(monkeypatch):
    """A data set of one file; returns a function that sets its addresses."""
    file = {
        "path": PATH,
        "bytes": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "addresses": [],
    }
    record = {"title": "Toy", "lessons": [1], "bundled": {"shipped": []}, "original": {"files": [file]}}
    faults.set_record(monkeypatch, "toy", record)

    def set_addresses(*addresses):
        file["addresses"] = list(addresses)
        return file

    return set_addresses


def files_in(*folders):
    """Everything in the folders but the locks, which stay, empty."""
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in found if path.suffix != ".lock"]


def failure(name="toy"):
    """Return the one sentence that a fetch fails with."""
    with pytest.raises(FetchError) as caught:
        cache.original(name)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and message[0].isupper()
    return message


def test_download_once_then_no_network(server, toy, folders):
    toy(server.answer("/good", CONTENT))
    assert cache.original("toy") == [folders[0] / PATH]
    assert (folders[0] / PATH).read_bytes() == CONTENT
    cache.original("toy")
    assert server.asked == ["/good"]
    assert files_in(*folders) == [folders[0] / PATH]


def test_download_puts_nothing_on_stderr(server, toy, folders, start_python, monkeypatch):
    monkeypatch.setenv("SLICEWISE_PAGE", "1")  # no bar either, as it would on a busy machine
    process = start_python(faults.fetch_toy(toy(server.answer("/good", CONTENT))), folders[0])
    assert process.communicate() == (f"{len(CONTENT)}\n", "")


def test_shared_file_is_for_all_to_read(server, toy, tmp_path):
    toy(server.answer("/good", CONTENT))
    (tmp_path / "any").touch()
    assert cache.original("toy")[0].stat().st_mode == (tmp_path / "any").stat().st_mode


@pytest.mark.parametrize("n_bytes, shown", [(0, "toy:   0%"), (500, "toy:  50%")])
def test_progress_shows_while_nothing_comes(capsys, n_bytes, shown):
    with cache.Bar("Downloading toy", 1000) as bar:
        bar.update(n_bytes)
        assert printed_until(shown, capsys)


def printed_until(text, capsys):
    """Return what is printed on stderr until a text is there, or half a minute is over."""
    printed, end = "", time.monotonic() + 30
    while text not in printed and time.monotonic() < end:
        time.sleep(0.05)
        printed += capsys.readouterr().err
    return printed if text in printed else ""


@pytest.mark.parametrize("wait, shown", [(0.0, False), (0.8, True)])
def test_progress_shows_on_a_wait_only(server, toy, capsys, monkeypatch, wait, shown):
    if not shown:
        monkeypatch.setattr("tqdm.std.time", lambda: 0.0)  # however long it takes
    toy(server.answer("/good", CONTENT, wait=wait))
    cache.original("toy")
    assert ("Downloading toy" in capsys.readouterr().err) == shown


def test_a_clock_is_cleared_when_it_is_over(capsys):
    with cache.Bar("Making toy, once"):
        shown = printed_until("Making toy, once", capsys)
    shown += capsys.readouterr().err
    assert "Making toy, once" in shown
    assert shown.split("\r")[-2].strip() == "" and shown.endswith("\r")


def test_a_website_shows_no_progress(monkeypatch, capfd):
    monkeypatch.setenv("SLICEWISE_PAGE", "1")
    with cache.Bar("Making toy, once"):
        time.sleep(1.2)
    assert capfd.readouterr() == ("", "")


def test_file_laid_into_the_users_own_folder_is_found(toy, folders):
    toy()
    (folders[1] / "toy").mkdir(parents=True)
    (folders[1] / PATH).write_bytes(CONTENT)
    assert cache.original("toy") == [folders[1] / PATH]


def test_second_address_when_the_first_is_bad(server, toy):
    for bad in (server.address + "/nowhere", server.answer("/wrong", CONTENT[::-1])):
        toy(bad, server.answer("/good", CONTENT))
        (path,) = cache.original("toy")
        path.unlink()
    assert server.asked == ["/nowhere", "/good", "/wrong", "/good"]


def test_terms_are_shown_once_to_each_user(server, toy, folders, capsys, monkeypatch):
    def shown(**said):
        table = dataset.catalogue()["toy"]
        faults.set_record(monkeypatch, "toy", {**table, "original": {**table["original"], **said}})
        cache.original("toy")
        return capsys.readouterr().out

    toy(server.answer("/good", CONTENT))
    assert shown(terms="Do not sell it.", licence_url="https://example.org/terms") == ""  # nobody asks for it
    # Somebody else has downloaded it, and still the terms hold for this user.
    assert shown(show_terms=True) == "Toy: Do not sell it. See https://example.org/terms\n"
    assert server.asked == ["/good"]
    (folders[0] / PATH).unlink()
    assert shown() == ""
    assert "lend" in shown(terms="Do not sell or lend it.")


def test_pause_before_the_second_attempt(server, toy, monkeypatch):
    pauses = []
    monkeypatch.setattr(cache, "PAUSE_S", 7)
    monkeypatch.setattr(cache.time, "sleep", pauses.append)
    toy(server.answer_in_turn("/file", faults.Answer(status=503), faults.Answer(CONTENT)))
    cache.original("toy")
    assert pauses.count(7) == 1


def test_address_that_is_none(toy):
    toy("nonsense")
    with pytest.raises(FetchError, match=r"the request to None failed \(MissingSchema\)"):
        cache.original("toy")


def test_changed_file_is_noticed_in_the_same_process(server, toy):
    toy(server.answer("/good", CONTENT))
    (path,) = cache.original("toy")
    path.write_bytes(CONTENT[:-1] + b"!")
    assert cache.original("toy")[0].read_bytes() == CONTENT
    assert server.asked == ["/good", "/good"]


@pytest.mark.parametrize("obstacle", ["no write bit", "file in the way"])
def test_shared_folder_that_takes_nothing(server, toy, folders, obstacle):
    folders[0].mkdir()
    if obstacle == "no write bit":
        folders[0].chmod(0o555)
    else:
        (folders[0] / "toy").touch()
    toy(server.answer("/good", CONTENT))
    assert cache.original("toy") == [folders[1] / PATH]
    folders[0].chmod(0o755)


def test_threads_download_once(server, toy):
    toy(server.answer("/good", CONTENT, wait=0.3))
    threads = [threading.Thread(target=cache.original, args=("toy",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == ["/good"]


def test_without_locks_the_result_is_the_same(server, toy, monkeypatch):
    monkeypatch.setattr(cache, "_try_lock", lambda _: True)
    toy(server.answer("/good", CONTENT, wait=0.3))
    threads = [threading.Thread(target=cache.original, args=("toy",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.original("toy")[0].read_bytes() == CONTENT
    assert cache.leftovers("toy") == []


def test_lock_file_of_another_user(tmp_path, monkeypatch):
    def only_to_read(path, mode):
        if mode == "ab":
            open(path, mode).close()
            raise PermissionError
        return open(path, mode)

    monkeypatch.setattr(cache, "open", only_to_read, raising=False)
    with cache._open_lock(tmp_path / "lock") as file:
        assert cache._try_lock(file.fileno())


def test_process_that_holds_a_lock_for_too_long(server, toy, folders, monkeypatch):
    monkeypatch.setattr(cache, "LOCK_WAIT_S", 0.2)
    toy(server.answer("/good", CONTENT))
    folders[0].mkdir()
    with cache.lock(folders[0], "toy"):
        assert "Another process has been busy with toy" in failure()
    cache.original("toy")


def test_eight_processes_make_the_same_simulated_data(eight):
    folder, printed = eight
    assert len({out for out, _ in printed}) == 1 and "run.nii.gz" in printed[0][0], printed
    assert len([path for path in (folder / "made").iterdir() if path.is_dir()]) == 1
    errors = "".join(error for _, error in printed)
    assert errors.count("Making epi, once (00:00)") <= 1  # the others waited


def test_killed_while_making(folders, start_python):
    process = start_python("import data_fetchers; data_fetchers.fetch_epi('bundled')", folders[0])
    end = time.monotonic() + 60
    while not list(folders[0].glob("made/.epi-*.part/run.nii.gz")) and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert cache.find_made("epi") is None
    assert len(cache.leftovers("epi")) == 1
    assert cache.repair("epi") and cache.leftovers("epi") == []  # no lock outlived its process
    assert files_in(*folders) == []


def test_damaged_simulated_data_are_made_again(made, monkeypatch, tmp_path):
    # A simulator that costs nothing takes the place of the real one.
    from data_fetchers.simulate import epi

    monkeypatch.setenv("SLICEWISE_DATA", str(tmp_path / "new"))
    monkeypatch.setattr(epi, "make", lambda folder, *_: (folder / "run.nii.gz").write_bytes(b"run"))
    folder = cache.made("epi")
    assert folder.name == next((made / "made").glob("epi-*")).name
    (folder / "run.nii.gz").write_bytes(b"ruin")
    assert cache.find_made("epi") is None and cache.damaged("epi", "bundled") == [folder]
    assert (cache.made("epi") / "run.nii.gz").read_bytes() == b"run"


def test_new_version_of_a_package_makes_anew(monkeypatch):
    before = cache._made_name("epi")
    assert cache._made_name("epi") == before
    monkeypatch.setattr(cache.metadata, "version", lambda _: "99")
    assert cache._made_name("epi") != before


def test_simulated_data_in_a_shared_folder_are_used(made):
    mode = stat.S_IMODE(made.stat().st_mode)
    made.chmod(0o555)
    assert all(path.is_relative_to(made) for path in fetch_epi().paths)
    made.chmod(mode)


def test_package_without_its_files():
    with pytest.raises(FetchError, match="nilearn does not hold gone.nii; install it again"):
        cache.shipped(["nilearn/gone.nii"])
    with pytest.raises(FetchError, match="install it again"):
        cache.shipped(["no_such_package/gone.nii"])


@pytest.mark.parametrize(
    "contents", ["", "[]", "null", "{}", '{"participants.tsv": 1}', '{"../evil": {}}', "[" * 5000]
)
def test_damaged_list_of_contents_is_no_whole_data_set(made, contents, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(next(made.glob("made/epi-*")), copy)
    assert cache.is_whole(copy)
    (copy / cache.CONTENTS).write_text(contents)
    assert not cache.is_whole(copy)


def test_stray_file_makes_a_data_set_damaged_but_a_hidden_one_does_not(made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(next(made.glob("made/epi-*")), copy)
    (copy / ".DS_Store").touch()
    assert cache.is_whole(copy)
    (copy / "run_9.nii.gz").touch()
    assert not cache.is_whole(copy)


def test_without_locks_a_data_set_that_came_meanwhile_stays(folders, monkeypatch):
    """Another process finishes while this one makes the same: its files are not pulled away from readers."""
    first = cache.made("oasis_volumes")
    before = (first / cache.CONTENTS).stat().st_ino
    monkeypatch.setattr(cache, "find_made", lambda *_: None)  # it was not there when this process looked
    assert cache.made("oasis_volumes") == first
    assert (first / cache.CONTENTS).stat().st_ino == before


def test_home_folder_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("SLICEWISE_DATA", "~nobody-of-this-name/data")
    with pytest.raises(FetchError, match="a home folder that is not there"):
        cache.folders()


def test_lock_that_cannot_be_opened_is_named(folders):
    (folders[0] / ".oasis_volumes.lock").mkdir(parents=True)
    with pytest.raises(FetchError, match=r"Could not open .*\.oasis_volumes\.lock .*; delete it by hand\.$"):
        cache.made("oasis_volumes")


def test_link_in_place_of_a_data_set_is_replaced(folders, tmp_path):
    place = folders[0] / "made" / cache._made_name("oasis_volumes")
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path)
    assert cache.is_whole(cache.made("oasis_volumes"))
    assert not place.is_symlink() and tmp_path.is_dir()
