"""The files of a data set: found, downloaded, made, verified and repaired.

The cache is one folder or two. ``SLICEWISE_DATA`` names a folder that is searched first; it may be shared by
many, and it may be read-only. What it lacks and cannot take goes into the user's own cache folder.
Published files lie where the catalogue says; simulated data sets lie in ``made``, one folder each, whose
name holds a hash of everything the data depend on; ``terms`` keeps the terms of use that were shown.

Two rules keep the cache sound. Nothing gets its final name before it is whole and verified: it is written
under a temporary name in the same folder and then renamed, which either happens or does not. And the locks
only save work: where a file system has none, processes do the same work twice, to the same result.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import sys
import tarfile
import threading
import time
import zipfile
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import urlsplit

import platformdirs
from tqdm import tqdm

from .dataset import catalogue, record, size_text

TIMEOUT_S = 30  # without a byte from the server
MIN_BYTES_PER_S = 10_000  # on average, after TIMEOUT_S; below this a server is taken for one that stalls
PAUSE_S = 1  # before the second attempt after a fault that may pass
LOCK_WAIT_S = 600
ARCHIVE_LIMIT = 4_000_000_000  # bytes, of an archive and of all that it unpacks to
CONTENTS = "contents.json"  # in each simulated data set: its files, their sizes and hashes

_verified = set()  # (path, bytes, time of change, SHA-256), once per process


class FetchError(RuntimeError):
    """A data set cannot be had; the message says why and what to do."""


# Where things are


def folders():
    """Return the cache folders in the order of search: ``SLICEWISE_DATA`` if it is set, the user's own."""
    # Not pooch.os_cache: on Windows, it would say slicewise twice in the path.
    own = platformdirs.user_cache_path("slicewise", appauthor=False)
    shared = os.environ.get("SLICEWISE_DATA", "").strip()
    if not shared:
        return [own]
    try:
        shared = Path(shared).expanduser().absolute()
    except RuntimeError:
        raise FetchError(
            f"SLICEWISE_DATA is {shared}, a home folder that is not there; name another."
        ) from None
    # os.path, as pathlib raises an error where a folder of somebody else may not be read.
    if os.path.exists(shared) and not os.path.isdir(shared):
        raise FetchError(f"SLICEWISE_DATA is {shared}, which is a file; set it to a folder, or unset it.")
    return [shared, own]


def why_unwritable(folder):
    """Return why no file can be created in ``folder``, which is created if need be; None if one can."""
    # Permissions do not tell all: read-only mounts, full quotas and Windows each have a say. So try.
    # But they are a wish: root, who could write anywhere, leaves a folder alone that nobody may write to.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.stat().st_mode & 0o222:
            return "read-only"
        probe = folder / f".{secrets.token_hex(4)}.part"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def shipped(places):
    """Return the paths of files of installed packages, given as package/path, without an import.

    Raises
    ------
    FetchError
        If the package or a file of it is not there.
    """
    paths = []
    for place in places:
        package, _, inner = place.partition("/")
        spec = find_spec(package)
        path = Path(spec.origin).parent / inner if spec else None
        if path is None or not path.is_file():
            raise FetchError(
                f"{package} does not hold {inner}; install it again, as the constraints file says."
            )
        paths.append(path)
    return paths


def original(name):
    """Return the published files of a data set, in the catalogue's order; download those that are missing.

    Raises
    ------
    FetchError
        If a file is neither in the cache nor to be had.
    """
    show_terms(name)
    files = _files(name)
    missing = [file for file in files if find(file) is None]
    if missing:
        home = home_for(Path(missing[0]["path"]).parent, f"download {name}")
        groups = {}  # the members of one archive come together
        for file in missing:
            groups.setdefault(tuple(file["addresses"]), []).append(file)
        total = sum(file["bytes"] for file in missing)
        with lock(home, name), Bar(f"Downloading {name}", total) as bar:
            for group in groups.values():
                group = [file for file in group if find(file) is None]  # another process may have been faster
                if group:
                    _download(name, group, home, bar)
    return [find(file) for file in files]


def show_terms(name):
    """Print the terms of published data whose owner asks for it, once per user, whoever downloads them."""
    table = record(name, "original")
    if not table.get("show_terms"):
        return
    text = f"{catalogue()[name]['title']}: {table['terms']} See {table['licence_url']}"
    note = folders()[-1] / "terms" / f"{name}.txt"
    with suppress(OSError):
        if note.read_text(encoding="utf-8") == text:
            return
    print(text)
    with suppress(OSError):  # where it cannot be remembered, it is shown again
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(text, encoding="utf-8")


def made(name, *arguments):
    """Return the folder of a simulated data set; make it if it is not there.

    Parameters
    ----------
    name : str
        The data set.
    *arguments
        What its simulator wants besides folder and inputs, numbers.

    Raises
    ------
    FetchError
        If it cannot be written, or what it is made from is not there.
    """
    table = record(name, "bundled")
    found = find_made(name, *arguments)
    if found:
        return found
    home = home_for(Path("made"), f"make {name}")
    with lock(home, name):
        found = find_made(name, *arguments)
        if found:
            return found
        folder = home / "made" / _made_name(name, *arguments)
        temporary = folder.with_name(_temporary_name(folder.name))
        try:
            temporary.mkdir()
            with Bar(f"Making {name}, once"):
                simulator = import_module(f"data_fetchers.simulate.{table['simulator']}")
                simulator.make(temporary, *shipped(table["inputs"]), *arguments)
                _write_contents(temporary)
            if is_whole(folder):  # where there are no locks, another process may have been faster
                return folder
            if os.path.lexists(folder):  # damaged: out of the way in one step, then deleted
                away = folder.with_name(_temporary_name(folder.name))
                os.rename(folder, away)
                _delete(away)
            _rename_folder(temporary, folder)
        except OSError as error:
            raise FetchError(
                f"Could not make {name}: {_cause(error, folder)}; {_disk_remedy(error)}"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        if not is_whole(folder):
            raise FetchError(f"Could not make {name}: {folder} changed meanwhile; try again.")
    return folder


# Found and verified


def find(file):
    """Return where a file of the catalogue lies, whole, in the cache; None if nowhere."""
    return next((path for path in candidates(file) if is_right(path, file)), None)


def candidates(file):
    """Return the places of a file of the catalogue that exist, right or wrong."""
    return [path for path in (folder / file["path"] for folder in folders()) if os.path.isfile(path)]


def is_right(path, file):
    """Tell whether ``path`` has the size and the SHA-256 that ``file`` states; hashed once per process."""
    try:
        stat = path.stat()
        key = (path, stat.st_size, stat.st_mtime_ns, file["sha256"])
        if key in _verified:
            return True
        if stat.st_size != file["bytes"] or _sha256(path) != file["sha256"]:
            return False
    except OSError:  # vanished, or not ours to read
        return False
    _verified.add(key)
    return True


def find_made(name, *arguments):
    """Return the folder of a simulated data set, whole and of this version; None if nowhere.

    Without arguments, that of any.
    """
    wanted = _made_name(name, *arguments)
    places = (path for path in made_candidates(name) if path.name == wanted or not arguments)
    return next(filter(is_whole, places), None)


def made_candidates(name):
    """Return the folders of this version of a simulated data set that exist, whole or not."""
    return [path for path in _made_folders(name) if path.name.startswith(_made_name(name))]


def outdated(name):
    """Return the folders of other versions of a simulated data set: nothing will read them again."""
    if "simulator" not in record(name, "bundled"):
        return []
    return [path for path in _made_folders(name) if not path.name.startswith(_made_name(name))]


def is_whole(folder):
    """Tell whether a simulated data set holds every file that was made, unchanged."""
    try:
        contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
        # No more and no fewer: a stray file must not be read. Hidden ones are the operating system's.
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file()}
        return there == {CONTENTS, *contents} and all(
            is_right(folder / name, file) for name, file in contents.items()
        )
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return False  # damaged in whatever way


def damaged(name, source):
    """Return the files, or the folder of simulated data, of one source that are in the cache but wrong."""
    if source == "original":
        return [path for file in _files(name) for path in candidates(file) if not is_right(path, file)]
    if "simulator" in record(name, source):
        return [folder for folder in made_candidates(name) if not is_whole(folder)]
    return []


def leftovers(name):
    """Return unfinished downloads and makings of a data set: of processes killed, or still at work."""
    found = set()
    for folder in folders():
        found.update(_glob(folder / "made", f".{name}-*.part"))
        for path in (folder / file["path"] for file in _files(name)):
            found.update(_glob(path.parent, f".{path.name}.*.part"))
    return sorted(found)


def repair(name):
    """Delete what is damaged, left over or outdated of a data set, wherever we may; return what was deleted.

    Raises
    ------
    FetchError
        If something cannot be deleted from a folder that takes files.
    """
    deleted = []
    for folder in folders():
        if not os.path.isdir(folder) or why_unwritable(folder):
            continue
        with lock(folder, name):  # under the lock, no leftover belongs to a process at work
            broken = damaged(name, "bundled") + damaged(name, "original")
            for path in broken + leftovers(name) + outdated(name):
                if path.is_relative_to(folder):
                    try:
                        _delete(path)
                    except OSError as error:
                        cause = error.strerror or error
                        raise FetchError(f"Could not delete {path} ({cause}); delete it by hand.") from error
                    deleted.append(path)
    return deleted


def _files(name):
    """Return the published files of a data set; none if it has no source of its own for them."""
    return record(name, "original").get("files", [])


def _made_name(name, *arguments):
    """Return the folder's name: the data set's, a hash of all that its bytes depend on, the arguments."""
    table = record(name, "bundled")
    modules = [table["simulator"], *table.get("uses", [])]
    sources = [Path(__file__).with_name("simulate") / f"{module}.py" for module in modules]
    sources += shipped(table["inputs"])
    parts = [_sha256(path) for path in sources]
    parts += [
        f"{package} {metadata.version(package)}" for package in ("numpy", "scipy", "nibabel", "pydicom")
    ]
    sha256 = hashlib.sha256(" ".join(parts).encode()).hexdigest()
    return "-".join([name, sha256[:16], *map(str, arguments)])


def _made_folders(name):
    """Return the folders of a simulated data set, of any version."""
    return [path for folder in folders() for path in _glob(folder / "made", f"{name}-*")]


def _glob(folder, pattern):
    """Return the paths in a folder that fit a pattern; none if it is not ours to read."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _delete(path):
    """Delete a file, a link or a whole folder."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _write_contents(folder):
    """Write down the files of ``folder`` with their sizes and hashes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    contents = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in files
    }
    (folder / CONTENTS).write_text(json.dumps(contents, indent=1), encoding="utf-8")


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Downloaded


class _UnusableError(Exception):
    """What a server sent is not what the catalogue says; the message completes “what the server sent …”."""


def _download(name, files, home, bar):
    """Download one file, or all members of one archive, from the first address that has them."""
    from requests import RequestException  # here, as it is slow to import and seldom needed
    from urllib3.exceptions import HTTPError

    (first, *_), causes = files, []
    target = home / first["path"]
    progress = _Part(bar, sum(file["bytes"] for file in files))
    addresses = list(first["addresses"])
    for address in addresses:  # a list that grows: after a fault that may pass, an address is tried once more
        folder = target.with_name(_temporary_name(target.name))
        try:
            folder.mkdir(parents=True)
            for file, path in _retrieve(address, files, folder, progress):
                (home / file["path"]).parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, home / file["path"])
            return
        except _UnusableError as error:
            causes.append(f"what {urlsplit(address).hostname} sent {error}")
        except (RequestException, HTTPError) as error:
            cause, may_pass = _network_cause(error, address)
            causes.append(cause)
            if may_pass and addresses.count(address) == 1:
                addresses.append(address)
                time.sleep(PAUSE_S)
        except ValueError:  # after those of requests: it is pooch's word for a wrong hash
            causes.append(
                f"what {urlsplit(address).hostname} sent is not the published file (its SHA-256 differs)"
            )
        except OSError as error:
            cause = _cause(error, target.parent)
            raise FetchError(f"Could not download {first['path']}: {cause}; {_disk_remedy(error)}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        progress.reset()
    wrong = [
        f"{path}, which is there, is not the published file and is never used" for path in candidates(first)
    ]
    when = "connect once" if causes[-1] == _NO_NETWORK else "try again later"
    raise FetchError(
        f"Could not download {first['path']}: {', and '.join(dict.fromkeys(causes + wrong))}; {when} and run "
        f"`python -m data_fetchers get {name}`, or use the simulated data with SLICEWISE_SOURCE=bundled."
    )


def _retrieve(address, files, folder, progress):
    """Yield (file of the catalogue, where it lies in ``folder``), verified, of what is at an address."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # its news go to stderr, which looks like a fault in a notebook
    packed = "member" in files[0]
    known_hash, limit = (None, ARCHIVE_LIMIT) if packed else (files[0]["sha256"], files[0]["bytes"])
    downloader = partial(_stream, limit, progress)
    whole = pooch.retrieve(address, known_hash, fname="whole", path=folder, downloader=downloader)
    if not packed:
        yield files[0], whole
        return
    for file, content in _members(whole, files):
        (folder / "member").write_bytes(content)
        yield file, folder / "member"


def _stream(limit, progress, address, path, _pooch):
    """Write what lies at an address to a file, ``limit`` bytes at most: a downloader as pooch wants it."""
    import requests

    os.remove(path)  # pooch made it for its owner alone, but a cache may be shared
    # What a server packs for the way would be counted and hashed packed.
    headers = {"Accept-Encoding": "identity"}
    with (
        open(path, "xb") as out,
        requests.get(address, stream=True, timeout=TIMEOUT_S, headers=headers) as response,
    ):
        response.raise_for_status()
        head, start = b"", time.monotonic()
        # read1 gives what has come; any other way to read waits for a whole block, drop by drop. It raises an
        # error if less comes than the server said.
        while out.tell() <= limit and (chunk := response.raw.read1(65536)):
            out.write(chunk)
            progress.update(len(chunk))
            head += chunk[: 500 - len(head)]
            if out.tell() < MIN_BYTES_PER_S * (time.monotonic() - start - TIMEOUT_S):
                raise _UnusableError(f"came too slowly, below {size_text(MIN_BYTES_PER_S)} per second")
        if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
            raise _UnusableError("is a web page, perhaps the network's login, and not the published file")
        if out.tell() > limit:
            raise _UnusableError("is not the published file (it is larger)")


def _members(archive, files):
    """Yield (file of the catalogue, content) of an archive; what the catalogue does not name is not read."""
    wanted, total = {file["member"]: file for file in files}, 0
    try:
        for name, n_bytes, is_file, _ in _entries(archive):  # all of it is judged before any of it is used
            total += n_bytes
            if total > ARCHIVE_LIMIT:
                raise _UnusableError(f"is an archive that unpacks to more than {ARCHIVE_LIMIT} bytes")
            ways = PurePosixPath(name), PureWindowsPath(name)
            if any(way.anchor or ".." in way.parts for way in ways):
                raise _UnusableError(f"is an archive with the path {name}, which leads out of its folder")
            if name in wanted and not is_file:
                raise _UnusableError(f"is an archive in which {name} is a link or a folder")
        for name, _, _, read in _entries(archive):
            file = wanted.pop(name, None)
            if file is None:
                continue
            content = read(file["bytes"] + 1)
            if hashlib.sha256(content).hexdigest() != file["sha256"]:
                differs = "it is larger" if len(content) > file["bytes"] else "its SHA-256 differs"
                raise _UnusableError(f"is an archive in which {name} is not the published file ({differs})")
            yield file, content
    except _UnusableError:
        raise
    except Exception as error:  # damage leads a reader anywhere
        raise _UnusableError("is a damaged archive") from error
    if wanted:
        raise _UnusableError(f"is an archive without {next(iter(wanted))}")


def _entries(archive):
    """Yield (name, stated bytes, whether it is a file, function that reads) of a zip or tar file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                is_file = not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)
                yield info.filename, info.file_size, is_file, lambda n, info=info: opened.open(info).read(n)
    else:
        with tarfile.open(archive) as opened:
            for info in opened:
                yield (
                    info.name,
                    info.size,
                    info.isfile(),
                    lambda n, info=info: opened.extractfile(info).read(n),
                )


_NO_NETWORK = "the network is not reachable"


def _network_cause(error, address):
    """Return in words why a request failed, and whether the fault may pass within a second."""
    import requests
    from urllib3 import exceptions

    host = urlsplit(address).hostname
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, requests.HTTPError):
        status = error.response.status_code
        return f"{host} answers {status} {error.response.reason}".rstrip(), status == 429 or status >= 500
    if isinstance(error, requests.Timeout | exceptions.TimeoutError):
        return f"{host} did not answer within {TIMEOUT_S} s", False
    if isinstance(error, requests.TooManyRedirects):
        return f"{host} sends the request round in circles", False
    if isinstance(error, requests.exceptions.SSLError):
        return f"the secure connection to {host} failed", False
    if isinstance(error, requests.exceptions.ProxyError):
        return "the network's proxy refused", False
    if isinstance(reason, exceptions.NewConnectionError):
        return f"{host} refuses the connection" if "refused" in str(reason) else _NO_NETWORK, False
    if isinstance(error, requests.ConnectionError | exceptions.HTTPError):
        return f"the connection to {host} broke off", True
    return f"the request to {host} failed ({type(error).__name__})", False


def _cause(error, place):
    """Return in words why a file could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk that holds {place} is full, or your share of it"
    return f"{place} cannot be written ({error.strerror or error})"


def _disk_remedy(error):
    """Return in words what helps where a file could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "make room, or set SLICEWISE_DATA to a folder on another disk."
    return "delete it by hand, or set SLICEWISE_DATA to a folder that you may write to."


# Shared between processes


def home_for(inner, purpose):
    """Return the first cache folder whose subfolder ``inner`` takes files."""
    reasons = []
    for folder in folders():
        reason = why_unwritable(folder) or why_unwritable(folder / inner)
        if reason is None:
            return folder
        reasons.append(f"{folder}: {reason}")
    raise FetchError(
        f"Could not {purpose}: no cache folder takes files ({'; '.join(reasons)}); set SLICEWISE_DATA to a "
        "folder that you may write to."
    )


def _temporary_name(name):
    return f".{name}.{os.getpid()}-{secrets.token_hex(4)}.part"


def _rename_folder(source, target):
    """Rename a folder; where there are no locks, ``target`` may be there already, and is as good."""
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():
            raise


@contextmanager
def lock(folder, name):
    """Hold the lock of one data set in one cache folder; wait for whoever has it.

    The operating system owns the lock, so it ends with the process that holds it, however that ends: no
    lock is ever stale. The empty lock file stays; to delete it would let a third process lock a new one.
    """
    with _open_lock(folder / f".{name}.lock") as file:
        end = time.monotonic() + LOCK_WAIT_S
        with Bar(f"Waiting for another process to finish {name}"):
            while not _try_lock(file.fileno()):
                if time.monotonic() > end:
                    raise FetchError(
                        f"Another process has been busy with {name} in {folder} for {LOCK_WAIT_S // 60} "
                        "minutes; end it, or wait, and try again."
                    )
                time.sleep(0.05)
        yield  # closing the file gives the lock back


def _open_lock(path):
    """Open a lock file, which is made if need be; to lock the file of another user, reading is enough."""
    try:
        try:
            return open(path, "ab")
        except PermissionError:
            return open(path, "rb")
    except OSError as error:
        raise FetchError(f"Could not open {path} ({error.strerror}); delete it by hand.") from error


def _try_lock(descriptor):
    """Take the lock of an open file; False if another process has it, True too where there are no locks."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True


class Bar:
    """A progress bar that shows after half a second, and a clock where there is nothing to count."""

    def __init__(self, text, total=None):
        style = {"unit": "B", "unit_scale": True} if total else {"bar_format": "{desc} ({elapsed})"}
        # In a notebook, what comes on stderr looks like a fault.
        stream = sys.stdout if _in_notebook() else sys.stderr
        # Where a website is built nobody waits, and each state of the bar would stay on the page.
        hidden = bool(os.environ.get("SLICEWISE_PAGE"))
        self._bar = tqdm(desc=text, total=total, delay=0.5, leave=False, file=stream, disable=hidden, **style)
        self._lock, self._over = threading.Lock(), threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self):
        self._ticker.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._ticker.join()
        self._bar.close()

    def _tick(self):
        while not self._over.wait(0.5):
            self.update(0)  # not refresh: what that shows, close does not clear

    def update(self, n):
        """Count ``n`` more bytes."""
        with self._lock:
            self._bar.update(n)


def _in_notebook():
    """Tell whether this runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class _Part:
    """The share of one download in the bar of all."""

    def __init__(self, bar, n_bytes):
        self._bar, self._n_bytes, self._seen = bar, n_bytes, 0

    def update(self, n):
        """Count ``n`` more bytes."""
        step = min(n, self._n_bytes - self._seen)  # an archive may be larger than what is taken from it
        self._seen += step
        self._bar.update(step)

    def reset(self):
        """Count from zero again."""
        self.update(-self._seen)
