"""The files of a data set: found, downloaded, made, verified and repaired.

The cache is one folder or two. ``SLICEWISE_DATA`` names a folder that is searched first; it may be shared by
many, and it may be read-only. What it lacks and cannot take goes into the user's own cache folder.
Published files lie where the catalogue says; simulated data sets lie in ``made``, one folder each, whose
name holds a hash of everything the data depend on.

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
import sys
import threading
import time
from contextlib import contextmanager
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
from tqdm import tqdm

from .dataset import record

TIMEOUT_S = 30  # without a byte from the server
LOCK_WAIT_S = 600
CONTENTS = "contents.json"  # in each simulated data set: its files, their sizes and hashes

_verified = set()  # (path, bytes, time of change, SHA-256), once per process


class FetchError(RuntimeError):
    """A data set cannot be had; the message says why and what to do."""


# Where things are


def folders():
    """Return the cache folders in the order of search: ``SLICEWISE_DATA`` if it is set, the user's own."""
    own = platformdirs.user_cache_path("slicewise", appauthor=False)
    shared = os.environ.get("SLICEWISE_DATA")
    if not shared:
        return [own]
    shared = Path(shared).expanduser().absolute()
    if shared.exists() and not shared.is_dir():
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
    files = _files(name)
    missing = [file for file in files if find(file) is None]
    if missing:
        home = _home(Path(missing[0]["path"]).parent, f"download {name}")
        total = sum(file["bytes"] for file in missing)
        with _lock(home, name), _Bar(f"Downloading {name}", total) as bar:
            for file in missing:
                if find(file) is None:  # another process may have been faster
                    _download(name, file, home / file["path"], bar)
    return [find(file) for file in files]


def made(name):
    """Return the folder of a simulated data set; make it if it is not there.

    Raises
    ------
    FetchError
        If it cannot be written, or what it is made from is not there.
    """
    table = record(name, "bundled")
    found = find_made(name)
    if found:
        return found
    home = _home(Path("made"), f"make {name}")
    with _lock(home, name):
        found = find_made(name)
        if found:
            return found
        folder = home / "made" / _made_name(name)
        temporary = folder.with_name(_temporary_name(folder.name))
        try:
            temporary.mkdir()
            with _Bar(f"Making {name}, once"):
                simulator = import_module(f"data_fetchers.simulate.{table['simulator']}")
                simulator.make(temporary, *shipped(table["inputs"]))
                _write_contents(temporary)
            if folder.exists():  # damaged, or it would have been found
                shutil.rmtree(folder)
            _rename_folder(temporary, folder)
        except OSError as error:
            raise FetchError(f"Could not make {name}: {_cause(error, folder)}; {_disk_remedy()}") from error
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
    # os.path, as pathlib raises an error where a folder of somebody else may not be read.
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


def find_made(name):
    """Return the folder of a simulated data set, whole and of this version; None if nowhere."""
    return next((folder for folder in made_candidates(name) if is_whole(folder)), None)


def made_candidates(name):
    """Return the folders of this version of a simulated data set that exist, whole or not."""
    places = (folder / "made" / _made_name(name) for folder in folders())
    return [place for place in places if os.path.isdir(place)]


def is_whole(folder):
    """Tell whether a simulated data set holds every file that was made, unchanged."""
    try:
        contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all(is_right(folder / name, file) for name, file in contents.items())


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
        found.update((folder / "made").glob(f".{name}-*.part"))
        for path in (folder / file["path"] for file in _files(name)):
            found.update(path.parent.glob(f".{path.name}.*.part"))
    return sorted(found)


def repair(name):
    """Delete what is damaged or left over of a data set, wherever we may; return what was deleted.

    Raises
    ------
    FetchError
        If something cannot be deleted from a folder that takes files.
    """
    deleted = []
    for folder in folders():
        if why_unwritable(folder):
            continue
        with _lock(folder, name):  # under the lock, no leftover belongs to a process at work
            for path in damaged(name, "bundled") + damaged(name, "original") + leftovers(name):
                if path.is_relative_to(folder):
                    try:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                    except OSError as error:
                        raise FetchError(
                            f"Could not delete {path} ({error.strerror}); delete it by hand."
                        ) from error
                    deleted.append(path)
    return deleted


def _files(name):
    """Return the published files of a data set; none if it has no source of its own for them."""
    return record(name, "original").get("files", [])


def _made_name(name):
    """Return the folder's name: the data set's, and a hash of all that its bytes depend on."""
    table = record(name, "bundled")
    sources = [Path(__file__).with_name("simulate") / f"{table['simulator']}.py", *shipped(table["inputs"])]
    parts = [_sha256(path) for path in sources]
    parts += [
        f"{package} {metadata.version(package)}" for package in ("numpy", "scipy", "nibabel", "pydicom")
    ]
    return f"{name}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"


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


def _download(name, file, target, bar):
    """Download one file of the catalogue to ``target``, from the first address that has it."""
    from pooch import HTTPDownloader  # here, as it is slow to import and seldom needed
    from requests import RequestException

    causes = []
    for address in file["addresses"]:
        progress = _Part(bar, file["bytes"])
        part = target.with_name(_temporary_name(target.name))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "xb") as out:
                HTTPDownloader(progressbar=progress, chunk_size=65536, timeout=TIMEOUT_S)(address, out, None)
            if is_right(part, file):
                os.replace(part, target)
                return
            progress.reset()
            host = urlsplit(address).hostname
            causes.append(f"what {host} sent is not the published file (its SHA-256 differs)")
        except RequestException as error:
            progress.reset()
            causes.append(_network_cause(error, address))
        except OSError as error:
            cause = _cause(error, target.parent)
            raise FetchError(f"Could not download {file['path']}: {cause}; {_disk_remedy()}") from error
        finally:
            part.unlink(missing_ok=True)
    when = "connect once" if causes[-1] == _NO_NETWORK else "try again later"
    raise FetchError(
        f"Could not download {file['path']}: {', and '.join(dict.fromkeys(causes))}; {when} and run "
        f"`python -m data_fetchers get {name}`, or use the simulated data with SLICEWISE_SOURCE=bundled."
    )


_NO_NETWORK = "the network is not reachable"


def _network_cause(error, address):
    """Return in words why a request failed."""
    import requests
    import urllib3

    host = urlsplit(address).hostname
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, requests.HTTPError):
        return f"{host} answers {error.response.status_code} {error.response.reason}".rstrip()
    if isinstance(error, requests.Timeout) or "Read timed out" in str(error):
        return f"{host} did not answer within {TIMEOUT_S} s"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the secure connection to {host} failed"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the network's proxy refused"
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return f"{host} refuses the connection" if "refused" in str(reason) else _NO_NETWORK
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return f"the connection to {host} broke off"
    return f"the request to {host} failed ({type(error).__name__})"


def _cause(error, place):
    """Return in words why a file could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk that holds {place} is full"
    return f"{place} cannot be written ({error.strerror or error})"


def _disk_remedy():
    return "make room, or set SLICEWISE_DATA to a folder on another disk."


# Shared between processes


def _home(inner, purpose):
    """Return the first cache folder whose subfolder ``inner`` takes files."""
    reasons = {folder: why_unwritable(folder) or why_unwritable(folder / inner) for folder in folders()}
    home = next((folder for folder, reason in reasons.items() if reason is None), None)
    if home is None:
        listed = "; ".join(f"{folder}: {reason}" for folder, reason in reasons.items())
        raise FetchError(
            f"Could not {purpose}: no cache folder takes files ({listed}); set SLICEWISE_DATA to a folder "
            "that you may write to."
        )
    return home


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
def _lock(folder, name):
    """Hold the lock of one data set in one cache folder; wait for whoever has it.

    The operating system owns the lock, so it ends with the process that holds it, however that ends: no
    lock is ever stale. The empty lock file stays; to delete it would let a third process lock a new one.
    """
    with _open_lock(folder / f".{name}.lock") as file:
        end = time.monotonic() + LOCK_WAIT_S
        with _Bar(f"Waiting for another process to finish {name}"):
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
        return open(path, "ab")
    except PermissionError:
        return open(path, "rb")


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


class _Bar:
    """A progress bar that shows after half a second, and a clock where there is nothing to count."""

    def __init__(self, text, total=None):
        style = {"unit": "B", "unit_scale": True} if total else {"bar_format": "{desc} ({elapsed})"}
        # In a notebook, what comes on stderr looks like a fault.
        stream = sys.stdout if _in_notebook() else sys.stderr
        self._bar = tqdm(desc=text, total=total, delay=0.5, leave=False, file=stream, **style)
        self._over = threading.Event()
        self._ticker = None if total else threading.Thread(target=self._tick, daemon=True)

    def __enter__(self):
        if self._ticker:
            self._ticker.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        if self._ticker:
            self._ticker.join()
        self._bar.close()

    def _tick(self):
        while not self._over.wait(0.5):
            self._bar.refresh()

    def update(self, n):
        """Count ``n`` more bytes."""
        self._bar.update(n)


def _in_notebook():
    """Tell whether this runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class _Part:
    """The share of one file in the bar of all, with the methods that pooch calls."""

    def __init__(self, bar, n_bytes):
        self._bar, self._n_bytes, self._seen = bar, n_bytes, 0

    def update(self, n):
        step = min(n, self._n_bytes - self._seen)  # pooch counts in whole chunks
        self._seen += step
        self._bar.update(step)

    def reset(self):
        self.update(-self._seen)

    def close(self):
        pass
