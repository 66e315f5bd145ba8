"""The faults that a fetch must survive; ``python tests/data_fetchers/faults.py`` prints what becomes of each.

One row per fault: what the user is told, and what the cache holds afterwards. A row is sound if the user is
told one sentence with the cause and the remedy, or the fault is overcome, and if the cache holds nothing but
files with the published hash. All of it happens for real, against a web server on this machine: bytes
are withheld, disks are full, processes are killed.
"""

import errno
import hashlib
import http.server
import io
import os
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import warnings
import zipfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import imageio.v3 as iio
import nibabel as nib
import numpy as np
import pydicom
import pytest

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

import data_fetchers  # noqa: E402
from data_fetchers import FetchError, __main__, cache, dataset  # noqa: E402

CONTENT = bytes(range(256)) * 2000
PATH = "toy/toy.bin"


# The web server, and processes of their own


class Answer(NamedTuple):
    """What the server sends; `length` may promise more than the body; `wait` s halfway, `drip` s per byte."""

    body: bytes = b""
    status: int = 200
    length: int | None = None
    wait: float = 0.0
    drip: float = 0.0
    location: str | None = None


class Server:
    """A web server on this machine; `answers` holds what it sends by path, `asked` the paths asked for."""

    def __init__(self):
        self.answers, self.asked = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                answers = outer.answers.get(self.path, [Answer(status=404)])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                self.send_response(answer.status)
                length = len(answer.body) if answer.length is None else answer.length
                self.send_header("Content-Length", str(length))
                if answer.location:
                    self.send_header("Location", answer.location)
                self.end_headers()
                with_pauses = [answer.body[: len(answer.body) // 2], answer.body[len(answer.body) // 2 :]]
                if answer.drip:
                    with_pauses = [answer.body[i : i + 1] for i in range(len(answer.body))]
                try:
                    for i, part in enumerate(with_pauses):
                        time.sleep(answer.drip or answer.wait * i)
                        self.wfile.write(part)
                        self.wfile.flush()
                except OSError:  # the client has had enough
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path, body=b"", **how):
        """Set the answer to a path, see `Answer`; return its address."""
        return self.answer_in_turn(path, Answer(body, **how))

    def answer_in_turn(self, path, *answers):
        """Set the answers to a path, of which the last is repeated; return its address."""
        self.answers[path] = list(answers)
        return self.address + path

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def start_python(code, folder):
    """Start a Python process with its own cache folder."""
    environment = os.environ | {"SLICEWISE_DATA": str(folder), "XDG_CACHE_HOME": str(folder) + "-own"}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# A place for one fault


def set_record(patch, name, table):
    """Give a data set another record: of its own, as nobody can change the catalogue."""
    changed = {**dataset.catalogue(), name: table}
    for module in (dataset, cache, data_fetchers, __main__):
        patch.setattr(module, "catalogue", lambda: changed)


def set_files(patch, name, files):
    """Give a data set other published files."""
    table = dataset.catalogue()[name]
    set_record(patch, name, {**table, "original": {**table["original"], "files": files}})


class Place:
    """Two empty cache folders, a server, and a data set, “toy”, of one file that the server may have."""

    def __init__(self, folder, server, patch):
        self.shared, self.own, self.server, self.patch = folder / "shared", folder / "own", server, patch
        self.published = []
        patch.setenv("SLICEWISE_DATA", str(self.shared))
        patch.delenv("SLICEWISE_SOURCE", raising=False)
        patch.setenv("NO_PROXY", "*")
        patch.setattr(cache.platformdirs, "user_cache_path", lambda *_, **__: self.own)
        patch.setattr(cache, "_verified", set())
        patch.setattr(cache, "show_terms", lambda name: None)
        patch.setattr(cache, "PAUSE_S", 0)

    def toy(self, *addresses, contents=None, members=False):
        """Set the data set's addresses; `contents` by path for others than the one file."""
        contents = contents or {PATH: CONTENT}
        self.published = [catalogue_entry(path, content, addresses) for path, content in contents.items()]
        if members:
            self.published = [file | {"member": Path(file["path"]).name} for file in self.published]
        record = {"title": "Toy", "lessons": [1], "bundled": {}, "original": {"files": self.published}}
        set_record(self.patch, "toy", record)

    def publish(self, name, contents):
        """Give a data set other published files, which lie in the cache already: path → content."""
        self.published = [
            catalogue_entry(path, content, ["http://nowhere.invalid/"]) for path, content in contents.items()
        ]
        set_files(self.patch, name, self.published)
        for path, content in contents.items():
            (self.shared / path).parent.mkdir(parents=True, exist_ok=True)
            (self.shared / path).write_bytes(content)

    def fails(self, *says, fetch=None):
        """Fetch, and return the sentence with which that fails, which must say all these."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                got = fetch() if fetch else cache.original("toy")
            except FetchError as error:
                told = str(error)
            else:
                raise AssertionError(f"nothing is told, and {got} is returned")
        assert "\n" not in told and told.endswith(".") and not re.search(r"[.!?] [A-Z]", told), told
        for text in says:
            assert text in told, f"“{text}” is not in: {told}"
        return told

    def works(self):
        """Fetch, and return in words that it went well."""
        paths = cache.original("toy")
        for path, file in zip(paths, self.published, strict=True):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"], path
        return "(nothing: the file comes)"

    def cache_holds(self):
        """Return in words what the cache holds; fail if it is anything but published files."""
        sound = 0
        found = [path for folder in (self.shared, self.own) for path in folder.rglob("*") if path.is_file()]
        for path in found:
            if path.suffix == ".lock":
                continue
            matching = [file for file in self.published if path.match(file["path"])]
            assert matching and cache.is_right(path, matching[0]), f"left in the cache: {path}"
            sound += 1
        return f"{sound} verified file{'s' * (sound != 1)}" if sound else "nothing"


def catalogue_entry(path, content, addresses):
    """Return a file as the catalogue holds it."""
    sha256 = hashlib.sha256(content).hexdigest()
    return {"path": path, "bytes": len(content), "sha256": sha256, "addresses": list(addresses)}


class Row(NamedTuple):
    fault: str
    told: str
    cache: str
    ok: bool


FAULTS = {}


def fault(name, *arguments):
    """Register a function of a place, and perhaps arguments, that causes a fault and returns what is told."""

    def register(function):
        FAULTS[name] = lambda place: function(place, *arguments)
        return function

    return register


@contextmanager
def a_place():
    """Give a `Place`, and take it away."""
    server = Server()
    try:
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            yield Place(Path(folder), server, patch)
    finally:
        server.close()


def row(name):
    """Cause a fault; return its row."""
    with a_place() as place:
        try:
            told = FAULTS[name](place)
            holds = place.cache_holds()
        except Exception as error:  # a row that is not ok tells why, and the next one has its turn
            return Row(name, f"{type(error).__name__}: {error}", "?", False)
        return Row(name, told.replace(str(place.shared.parent), "…"), holds, True)


# The network and the server

ONLY_ONE_ADDRESS = ("Could not download toy/toy.bin: ", "get toy`", "SLICEWISE_SOURCE=bundled")


@fault("no network")
def _(place):
    def unreachable(*_):
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    place.toy("http://127.0.0.1:9/toy", "http://127.0.0.2:9/toy")
    place.patch.setattr(socket.socket, "connect", unreachable)
    return place.fails("the network is not reachable; connect once and run", *ONLY_ONE_ADDRESS)


@fault("the name of the server cannot be resolved")
def _(place):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    place.toy("http://raw.example.org/toy")
    place.patch.setattr(socket, "getaddrinfo", unknown)
    return place.fails("the network is not reachable; connect once and run", *ONLY_ONE_ADDRESS)


@fault("the server refuses the connection")
def _(place):
    place.toy("http://127.0.0.1:9/toy")
    return place.fails("127.0.0.1 refuses the connection", *ONLY_ONE_ADDRESS)


@fault("403", 403, "403 Forbidden", 1)
@fault("404: the file has moved", 404, "404 Not Found", 1)
@fault("500 again and again", 500, "500 Internal Server Error", 2)
def _(place, status, says, n_asked):
    place.toy(place.server.answer("/toy", status=status))
    told = place.fails(f"127.0.0.1 answers {says}; try again later", *ONLY_ONE_ADDRESS)
    assert place.server.asked == ["/toy"] * n_asked
    return told


@fault("500, then 200")
def _(place):
    place.toy(place.server.answer_in_turn("/toy", Answer(status=500), Answer(CONTENT)))
    return place.works()


@fault("a redirect to the file")
def _(place):
    place.server.answer("/new", CONTENT)
    place.toy(place.server.answer("/toy", status=302, location="/new"))
    return place.works()


@fault("redirects in a circle")
def _(place):
    place.toy(place.server.answer("/toy", status=302, location="/toy"))
    return place.fails("sends the request round in circles", *ONLY_ONE_ADDRESS)


@fault("the server stalls in the middle of the file")
def _(place):
    place.patch.setattr(cache, "TIMEOUT_S", 0.4)  # elsewhere a busy machine may take its time
    place.toy(place.server.answer("/toy", CONTENT, wait=30.0))
    return place.fails("127.0.0.1 did not answer within 0.4 s", *ONLY_ONE_ADDRESS)


@fault("the server takes the request and never answers")
def _(place):
    place.patch.setattr(cache, "TIMEOUT_S", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place.toy(f"http://127.0.0.1:{silent.getsockname()[1]}/toy")
        return place.fails("127.0.0.1 did not answer within 0.4 s", *ONLY_ONE_ADDRESS)


@fault("the server sends drop by drop")
def _(place):
    place.patch.setattr(cache, "TIMEOUT_S", 2)
    place.patch.setattr(cache, "MIN_BYTES_PER_S", 10_000_000)
    drops = CONTENT[:100]
    place.toy(place.server.answer("/toy", drops, drip=0.05), contents={PATH: drops})
    return place.fails("what 127.0.0.1 sent came too slowly, below 10.0 MB per second", *ONLY_ONE_ADDRESS)


@fault("the file is cut, at every tenth of it")
def _(place):
    told = set()
    for tenth in range(10):
        part = CONTENT[: len(CONTENT) * tenth // 10]
        place.toy(place.server.answer("/toy", part, length=len(CONTENT)))
        told.add(place.fails("the connection to 127.0.0.1 broke off", *ONLY_ONE_ADDRESS))
        place.cache_holds()
        place.toy(place.server.answer("/toy", part))  # the server is sure that this is all
        place.fails("is not the published file (its SHA-256 differs)", *ONLY_ONE_ADDRESS)
        place.cache_holds()
    (only,) = told
    return only


@fault("wrong content of the right length", CONTENT[::-1], "is not the published file (its SHA-256 differs)")
@fault("a file without an end", CONTENT * 20, "is not the published file (it is larger)")
@fault("a web page instead of data", b"\n<!DOCTYPE html><html>Log in</html>", "is a web page, perhaps")
@fault("a web page larger than the file", b"<html>" + CONTENT, "is a web page, perhaps")
def _(place, content, says):
    place.toy(place.server.answer("/toy", content))
    return place.fails(f"what 127.0.0.1 sent {says}", *ONLY_ONE_ADDRESS)


@fault("wrong content at the first address, right at the second")
def _(place):
    place.toy(place.server.answer("/wrong", CONTENT[::-1]), place.server.answer("/right", CONTENT))
    return place.works()


# The disk and the folders


@fault("the disk is full")
def _(place):
    place.toy(place.server.answer("/toy", CONTENT))
    with small_disk(place.shared, 300_000):
        told = place.fails(
            "Could not download toy/toy.bin: the disk", "is full", "make room, or set SLICEWISE_DATA"
        )
        place.cache_holds()
    return told


@contextmanager
def small_disk(folder, n_bytes):
    """Give ``folder`` little room: a disk of its own where that is allowed, else a limit of this process."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
    if (
        os.geteuid() == 0
        and sys.platform == "linux"
        and subprocess.run(mount, capture_output=True).returncode == 0
    ):
        try:
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    else:
        import resource  # not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@fault("the disk is full while data are made")
def _(place):
    with small_disk(place.shared, 300_000):
        says = "Could not make breathing_mr: the disk", "is full", "make room, or set SLICEWISE_DATA"
        told = place.fails(*says, fetch=lambda: data_fetchers.fetch_breathing_mr("bundled"))
        place.cache_holds()
    return told


@fault("a share of the disk that is used up")
def _(place):
    place.patch.setattr(os, "geteuid", lambda: 1000)  # so the limit is tried where a disk was above
    return FAULTS["the disk is full"](place)


@fault("a read-only cache")
def _(place):
    place.toy(place.server.answer("/toy", CONTENT))
    for folder in (place.shared, place.own):
        folder.mkdir()
        folder.chmod(0o555)
    told = place.fails(
        "no cache folder takes files", "read-only", "set SLICEWISE_DATA to a folder that you may write to"
    )
    for folder in (place.shared, place.own):
        folder.chmod(0o755)
    return told


@fault("SLICEWISE_DATA is a file")
def _(place):
    place.toy(place.server.answer("/toy", CONTENT))
    place.shared.touch()
    return place.fails("which is a file; set it to a folder, or unset it")


@fault("the user's own cache folder is a file")
def _(place):
    place.patch.delenv("SLICEWISE_DATA")
    place.toy(place.server.answer("/toy", CONTENT))
    place.own.touch()
    told = place.fails("no cache folder takes files", "set SLICEWISE_DATA to a folder that you may write to")
    place.own.unlink()
    return told


@fault("a wrong file was put into SLICEWISE_DATA by hand")
def _(place):
    place.toy(place.server.address + "/nowhere")
    wrong = place.shared / PATH
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(CONTENT[::-1])
    told = place.fails(
        f"{wrong}, which is there, is not the published file and is never used", *ONLY_ONE_ADDRESS
    )
    assert (
        wrong.read_bytes() == CONTENT[::-1]
    )  # it is not ours to delete, unless the right one takes its place
    place.toy(place.server.answer("/toy", CONTENT))
    place.works()
    return told


# Several processes, and dead ones


def fetch_toy(file):
    """Return code that fetches the one file, as another process does it."""
    return (
        "from data_fetchers import cache, dataset\n"
        f"toy = {{'bundled': {{}}, 'original': {{'files': [{file!r}]}}}}\n"
        "dataset.catalogue = cache.catalogue = lambda: {'toy': toy}\n"
        "print(cache.original('toy')[0].stat().st_size)"
    )


@fault("eight processes want the file at once")
def _(place):
    place.toy(place.server.answer("/toy", CONTENT, wait=0.5))
    processes = [start_python(fetch_toy(place.published[0]), place.shared) for _ in range(8)]
    printed = [process.communicate(timeout=60) for process in processes]
    assert {out.strip() for out, _ in printed} == {str(len(CONTENT))}, printed
    assert place.server.asked == ["/toy"], place.server.asked
    return "(nothing: one downloads, all have it)"


@fault("a process is killed in the middle of the file")
def _(place):
    place.toy(place.server.answer("/toy", CONTENT, wait=20.0))
    process = start_python(fetch_toy(place.published[0]), place.shared)
    end = time.monotonic() + 30
    while (
        not any(path.stat().st_size for path in place.shared.glob("toy/.*.part/*")) and time.monotonic() < end
    ):
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert cache.find(place.published[0]) is None and len(cache.leftovers("toy")) == 1
    place.server.answer("/toy", CONTENT)
    told = place.works()  # no lock outlived its process
    assert len(cache.repair("toy")) == 1
    return told


# Archives


def zipped(members, links=()):
    """Return a zip archive: name → content; those in `links` are symbolic links to their content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o120777 if name in links else 0o100644) << 16
            archive.writestr(info, content)
    return packed.getvalue()


def tarred(members, links=()):
    """Return the same as a tar.gz archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if name in links:
                info.type, info.linkname = tarfile.SYMTYPE, content.decode()
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def each_kind(place, says, members, links=()):
    """Fetch from an archive of both kinds; return what is told, which must be the same."""
    told = set()
    for pack in (zipped, tarred):
        place.toy(place.server.answer("/toy", pack(members, links)), members=True)
        told.add(place.fails(f"what 127.0.0.1 sent is an archive {says}", *ONLY_ONE_ADDRESS))
        assert place.cache_holds() == "nothing"
    assert not (place.shared.parent / "evil").exists() and not Path("/evil-of-slicewise").exists()
    (only,) = told
    return only


@fault("a sound archive")
def _(place):
    contents = {PATH: CONTENT, "toy/second.bin": CONTENT[::-1]}
    for pack in (zipped, tarred):
        packed = pack(
            {Path(path).name: content for path, content in contents.items()} | {"more": b"not named"}
        )
        place.toy(place.server.answer("/toy", packed), contents=contents, members=True)
        told = place.works()
        for path in contents:
            (place.shared / path).unlink()
    assert place.server.asked == ["/toy"] * 2  # one archive, two members
    place.works()
    return told


@fault("an archive with ../", "../../evil")
@fault("an archive with an absolute path", "/evil-of-slicewise")
@fault("an archive with an absolute path of Windows", "C:\\evil")
def _(place, path):
    return each_kind(
        place, f"with the path {path}, which leads out of its folder", {"toy.bin": CONTENT, path: b"!"}
    )


@fault("an archive with a link in place of the file")
def _(place):
    return each_kind(place, "in which toy.bin is a link", {"toy.bin": b"/etc/passwd"}, links=("toy.bin",))


@fault("a bomb: a member of the archive without an end")
def _(place):
    return each_kind(
        place, "in which toy.bin is not the published file (it is larger)", {"toy.bin": bytes(10**8)}
    )


@fault("a bomb: an archive that unpacks to more than a disk holds")
def _(place):
    place.patch.setattr(cache, "ARCHIVE_LIMIT", 10**6)
    says = "that unpacks to more than 1000000 bytes"
    return each_kind(place, says, {"toy.bin": CONTENT, "zeros": bytes(10**7)})


@fault("an archive without the file")
def _(place):
    return each_kind(place, "without toy.bin", {"other.bin": CONTENT})


@fault("a damaged archive")
def _(place):
    for pack in (zipped, tarred):
        whole = pack({"toy.bin": np.random.default_rng(0).bytes(len(CONTENT))})
        for packed in (whole[: len(whole) // 2], whole[:10], b"", CONTENT):
            place.toy(place.server.answer("/toy", packed), members=True)
            told = place.fails("what 127.0.0.1 sent is a damaged archive", *ONLY_ONE_ADDRESS)
            place.cache_holds()
    return told


# Files that are damaged though their hash is right

NOT_WHOLE = "is damaged: it "
GET_AGAIN = "; delete it and get it again."


def epi_with(change, suffix=".nii"):
    """Return a fault: the run of the EPI changed so."""

    def damage(place):
        img = nib.Nifti1Image(np.arange(1000, dtype=np.int16).reshape(10, 10, 10), np.eye(4))
        content = img.to_bytes()
        files = {"pair/anatomy.nii": content, f"pair/run{suffix}": change(content)}
        place.publish("epi", files)
        return place.fails(
            f"run{suffix} {NOT_WHOLE}", GET_AGAIN, fetch=lambda: data_fetchers.fetch_epi("original")
        )

    return damage


def with_shape(content, *shape):
    """Return a NIfTI file whose header claims another shape."""
    header = nib.Nifti1Header(content[:348])
    header["dim"][1:4] = shape
    return header.binaryblock + content[348:]


def packed(content):
    """Return bytes as gzip packs them."""
    import gzip

    return gzip.compress(content, mtime=0)


FAULTS["a NIfTI file cut short"] = epi_with(lambda content: content[:-100])
FAULTS["a NIfTI file cut short in its header"] = epi_with(lambda content: content[:200])
FAULTS["a packed NIfTI file cut short"] = epi_with(lambda content: packed(content)[:-100], ".nii.gz")
FAULTS["a NIfTI file with a wrong magic"] = epi_with(lambda content: content[:344] + b"nope" + content[348:])
FAULTS["a NIfTI file that is none"] = epi_with(lambda content: b"<html></html>" * 200)
FAULTS["a NIfTI file of absurd size"] = epi_with(lambda content: with_shape(content, 32767, 32767, 32767))
FAULTS["a NIfTI file of negative size"] = epi_with(lambda content: with_shape(content, -10, -10, 10))


def png(shape):
    """Return a picture as PNG."""
    return iio.imwrite("<bytes>", np.arange(np.prod(shape), dtype=np.uint8).reshape(shape), extension=".png")


def absurd_png():
    """Return a small PNG that claims to be of 60000 × 60000 pixels."""
    import struct
    import zlib

    content = png((20, 20))
    header = b"IHDR" + struct.pack(">II", 60000, 60000) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


@fault("a picture cut short", png((200, 200))[:-200], "cannot be read to the end")
@fault("a picture that is none", b"GIF" + png((20, 20))[3:], "cannot be read to the end")
@fault("a picture of absurd size", absurd_png(), "cannot be read to the end")
@fault("a picture in colour", png((20, 20, 3)), "is not a grey picture")
def _(place, content, says):
    place.publish("hand_radiograph", {"hand/hand.png": content})
    fetch = data_fetchers.fetch_hand_radiograph
    return place.fails(f"hand.png {NOT_WHOLE}{says}", GET_AGAIN, fetch=lambda: fetch("original"))


TABLE = ",".join(data_fetchers.OASIS_COLUMNS).encode() + b"\n" + b"A,70,F,True,1,2,3,4,5\n" * 3


@fault("a table cut short", TABLE[:-8], "lacks values")
@fault("a table without a row", TABLE.splitlines()[0], "lacks values")
@fault("a table with other columns", TABLE.replace(b"age", b"height", 1), "does not have the columns")
@fault("a table that is none", b"\x00\xff\xfe" * 50, "")
def _(place, content, says):
    place.publish("oasis_volumes", {"oasis/oasis_all_volumes.csv": content})
    fetch = data_fetchers.fetch_oasis_volumes
    return place.fails(f"oasis_all_volumes.csv {NOT_WHOLE}{says}", GET_AGAIN, fetch=lambda: fetch("original"))


@fault("nilearn cannot download")
def _(place):
    from nilearn import datasets

    def broken(**_):
        raise ConnectionError("a page of text\nand more")

    place.patch.setattr(datasets, "fetch_oasis_vbm", broken)
    says = ("Could not download oasis_subjects with nilearn", "SLICEWISE_SOURCE=bundled")
    return place.fails(*says, fetch=lambda: data_fetchers.fetch_oasis_subjects("original", 2))


# A DICOM series


def dicom_file(slice_, frame, series="1.2.3", **changes):
    """Return one image of a series of slices 10 mm apart, 20 ms between frames, as bytes.

    Its pixels, 4 × 6, hold 10 × slice + frame.
    """
    ds = pydicom.Dataset()
    ds.SOPClassUID, ds.Modality = pydicom.uid.MRImageStorage, "MR"
    ds.SOPInstanceUID = f"{series}.{slice_ + 1}.{frame + 1}"
    ds.SeriesInstanceUID = series
    ds.ImagePositionPatient = [1, 2, 10 * slice_]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [2, 3], 8
    ds.TriggerTime, ds.InstanceNumber = 20 * frame, 10 * slice_ + frame
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 4, 6, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelData = np.full((4, 6), 10 * slice_ + frame, np.uint16).tobytes()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    written = io.BytesIO()
    ds.save_as(written, enforce_file_format=True)
    return written.getvalue()


def series(n_slices=4, n_frames=3):
    """Return a sound series, name → content; the names tell slice and frame."""
    return {f"{k}-{t}.dcm": dicom_file(k, t) for k in range(n_slices) for t in range(n_frames)}


SOUND = series()


def cine(place, files):
    """Return a function that fetches these files as the cine MRI."""
    place.publish("cardiac_cine", {f"heart/{name}": content for name, content in files.items()})
    return lambda: data_fetchers.fetch_cardiac_cine("original")


def without(*names):
    """Return the series without these files."""
    return {name: content for name, content in SOUND.items() if name not in names}


@fault("a DICOM file cut short", SOUND["1-1.dcm"][:-20], "is not a whole DICOM image")
@fault("a DICOM file cut short in its header", SOUND["1-1.dcm"][:400], "is not a whole DICOM image")
@fault(
    "a DICOM file with a wrong magic",
    SOUND["1-1.dcm"].replace(b"DICM", b"NOPE"),
    "is not a whole DICOM image",
)
@fault("a DICOM file that is none", b"<html>", "is not a whole DICOM image")
@fault(
    "a DICOM file of absurd size", dicom_file(1, 1, Rows=65535, Columns=65535), "is not a whole DICOM image"
)
@fault(
    "a DICOM file without position", dicom_file(1, 1, ImagePositionPatient=None), "is not a whole DICOM image"
)
@fault(
    "a DICOM file in an impossible direction",
    dicom_file(1, 1, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
    "states an impossible",
)
def _(place, content, says):
    fetch = cine(place, SOUND | {"1-1.dcm": content})
    return place.fails(f"1-1.dcm {NOT_WHOLE}{says}", GET_AGAIN, fetch=fetch)


@fault(
    "a DICOM series with files twice", SOUND | {"test.dcm": SOUND["3-2.dcm"], "copy.dcm": SOUND["0-0.dcm"]}
)
@fault(
    "a DICOM series with shuffled names",
    {
        f"{i}.dcm": content
        for i, (_, content) in enumerate(sorted(SOUND.items(), key=lambda item: item[0][::-1]))
    },
)
def _(place, files):
    image = cine(place, files)().image
    expected = 10 * np.arange(4)[:, None] + np.arange(3)
    np.testing.assert_array_equal(np.asarray(image.dataobj), np.broadcast_to(expected, (6, 4, 4, 3)))
    np.testing.assert_allclose(image.affine, [[-3, 0, 0, -1], [0, -2, 0, -2], [0, 0, 10, 0], [0, 0, 0, 1]])
    return "(nothing: the image is right)"


@fault(
    "a DICOM series with a stray slice",
    SOUND | {"5.dcm": dicom_file(7, 1)},
    "5.dcm lies at a slice position of 1 image,",
)
@fault(
    "a DICOM series with a frame too few", without("2-1.dcm"), "2-0.dcm lies at a slice position of 2 images,"
)
@fault(
    "a DICOM series with a frame twice, the same",
    SOUND | {f"{k}-9.dcm": dicom_file(k, 1, SOPInstanceUID=f"9.{k}.1") for k in range(4)},
    "show the same place and time; leave one out",
)
@fault(
    "a DICOM series with a frame twice, not the same",
    SOUND | {"x.dcm": dicom_file(3, 0, SOPInstanceUID="1.2.3.1.1")},
    "claim to be one image but differ; leave out",
)
@fault(
    "a DICOM series mixed with another",
    SOUND | {"x.dcm": dicom_file(1, 1, series="1.2.4")},
    "x.dcm is of another series than the rest (1 of 13",
)
@fault(
    "a DICOM series with a scout",
    SOUND | {"x.dcm": dicom_file(5, 1, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])},
    "x.dcm is of another orientation than the rest",
)
@fault(
    "a DICOM series with an image of another size",
    SOUND | {"x.dcm": dicom_file(5, 1, PixelSpacing=[1, 1])},
    "x.dcm is of another size than the rest",
)
@fault(
    "a DICOM series with a slice missing",
    without("1-0.dcm", "1-1.dcm", "1-2.dcm") | {f"4-{t}.dcm": dicom_file(4, t) for t in range(3)},
    "it is 20.00 mm, where other slices are 10.00 mm apart: a slice is missing",
)
def _(place, files, says):
    return place.fails(says, fetch=cine(place, files))


def main(names):
    """Print a row for each fault; return 1 if one is not sound."""
    status = Counter()
    print("| fault | what the user is told | the cache afterwards | ok? |\n|---|---|---|---|")
    for name in names:
        found = row(name)
        print(f"| {found.fault} | {found.told} | {found.cache} | {'yes' if found.ok else 'NO'} |", flush=True)
        status[found.ok] += 1
    print(f"\n{status[True]} of {len(names)} are sound.")
    return int(status[False] > 0)


if __name__ == "__main__":
    sys.exit(main(FAULTS))
