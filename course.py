#!/usr/bin/env python3
"""Set up and run Slicewise: ``python3 course.py lab`` is all a learner needs.

Only the standard library is used, and an old Python gets as far as a sentence that says what to do.
The environment lives in ``.venv`` beside this file. A stamp in it, written last, tells a finished
environment from a half-made one and lets the next start do without pip and without a network.
"""

import argparse
import contextlib
import errno
import hashlib
import http.client
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

OLDEST_PYTHON, TOO_NEW_PYTHON = (3, 11), (3, 15)  # as `requires-python` in pyproject.toml says
SUITABLE_PYTHONS = f"3.{OLDEST_PYTHON[1]} to 3.{TOO_NEW_PYTHON[1] - 1}"
GIGABYTES_FOR_SET_UP = 2  # 1.3 GB installed, the rest is pip's downloads while it works
FIRST_LESSON = "01_image_intro.md"
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

REPO = Path(__file__).resolve().parent
LESSONS = REPO / "lessons"
VENV = REPO / ".venv"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = SCRIPTS / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "slicewise.json"
LOG = VENV / "slicewise-install.log"


class Refusal(Exception):
    """One sentence: what is wrong and what to do. Printed without a traceback; exit code 1."""


def command(arguments):
    """Return a command line for this script that can be pasted into the reader's terminal."""
    python = Path(sys.executable or "python3").name.replace(".exe", "")
    typed = sys.argv[0] if Path(sys.argv[0]).name == "course.py" else "course.py"
    return f"{python} {quoted(typed)} {arguments}"


def quoted(path):
    """Quote a path for the shell of this system."""
    return subprocess.list2cmdline([str(path)]) if os.name == "nt" else shlex.quote(str(path))


# Refusals before anything is touched


def refuse_wrong_python(version):
    """Refuse a Python that the packages do not support, and name one on this machine that would do."""
    if OLDEST_PYTHON <= tuple(version[:2]) < TOO_NEW_PYTHON:
        return
    wanted = f"Slicewise needs Python {SUITABLE_PYTHONS}, and this is {version[0]}.{version[1]}"
    other = another_python()
    if other:
        raise Refusal(f"{wanted}: run `{other} {quoted(sys.argv[0])} {' '.join(sys.argv[1:])}` instead.")
    raise Refusal(f"{wanted}: install one of these from python.org, then run `course.py` with it.")


def another_python():
    """Return the newest suitable Python on the PATH that really runs, or None."""
    for minor in range(TOO_NEW_PYTHON[1] - 1, OLDEST_PYTHON[1] - 1, -1):
        name = f"python3.{minor}"
        found = shutil.which(name)
        if found and subprocess.call([found, "-c", ""], **QUIET) == 0:
            return name
    return None


def refuse_missing_venv():
    """Refuse a Python without `venv` or `ensurepip`; Debian and Ubuntu ship them apart."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        remedy = "install your system's package that holds it, or the Python from python.org"
        if shutil.which("apt-get"):
            remedy = f"run `sudo apt install python{version}-venv`"
        raise Refusal(f"This Python {version} lacks `{error.name}`: {remedy}, then start again.") from None


def refuse_unusable_folder(gigabytes):
    """Refuse a folder that cannot be written or has too little room."""
    if not os.access(str(REPO), os.W_OK):
        raise Refusal(f"The folder {REPO} cannot be written: copy it to a place of your own, start it there.")
    free = shutil.disk_usage(str(REPO)).free / 1e9
    if free < gigabytes:
        raise Refusal(
            f"Setting up needs {gigabytes} GB of disk space and {REPO} has {free:.1f} GB left: "
            "free some, or move the folder to a larger disk, then start again."
        )


# The environment


def child_environment():
    """Return the variables for programs run in `.venv`: the user's own set-up neither counts nor changes."""
    leaks = {"PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_PREFIX", "PIP_CONSTRAINT"}
    leaks |= {"JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"}
    state = VENV / "jupyter"
    return dict(
        {name: value for name, value in os.environ.items() if name not in leaks},
        PATH=str(SCRIPTS) + os.pathsep + os.environ.get("PATH", ""),
        VIRTUAL_ENV=str(VENV),
        PYTHONNOUSERSITE="1",
        PYTHONUTF8="1",
        PIP_USER="0",
        JUPYTER_CONFIG_DIR=str(state / "config"),
        JUPYTER_DATA_DIR=str(state / "data"),
        JUPYTER_RUNTIME_DIR=str(state / "runtime"),
        IPYTHONDIR=str(state / "ipython"),
    )


def wanted_packages():
    """Return a hash over everything that decides which packages belong into `.venv`."""
    texts = [(REPO / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"".join(texts)).hexdigest()


def interpreter():
    """Return path, size and time of the base Python of `.venv`, which change when it does; None if gone."""
    try:
        settings = (VENV / "pyvenv.cfg").read_text(encoding="utf-8")
        base = re.search(r"(?m)^executable *= *(.+?)\s*$", settings).group(1)
        stat = os.stat(base)
        PYTHON.stat()
    except (OSError, AttributeError):
        return None
    return [base, stat.st_size, stat.st_mtime_ns]


def read_stamp():
    """Return the stamp of a finished `.venv`, else None."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        return stamp if {"packages", "python", "location", "extras"} <= set(stamp) else None
    except (OSError, ValueError, TypeError):
        return None


def new_stamp(extras):
    """Return the stamp of a `.venv` that has just been finished."""
    facts = {"packages": wanted_packages(), "python": interpreter()}
    return dict(facts, location=str(VENV), extras=sorted(extras))


def write_stamp(stamp):
    """Declare `.venv` finished, in one step."""
    unfinished = STAMP.with_suffix(".new")
    unfinished.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    os.replace(str(unfinished), str(STAMP))


def needed_work(extras):
    """Compare `.venv` with what is wanted.

    Parameters
    ----------
    extras : collection of str
        Optional dependency groups that have to be there.

    Returns
    -------
    work : {"none", "update", "build"}
        What has to be done.
    reason : str
        Why, in words for the learner.
    """
    stamp = read_stamp()
    if not VENV.exists():
        return "build", "there is none yet"
    if stamp is None:
        return "build", "an earlier set-up did not finish"
    if stamp["location"] != str(VENV):
        return "build", "the folder was moved or copied"
    if stamp["python"] != interpreter() and not still_works():
        return "build", "the Python that it was made with is gone or has changed"
    if stamp["packages"] != wanted_packages():
        return "update", "the list of packages has changed"
    missing = sorted(set(extras) - set(stamp["extras"]))
    if missing:
        return "update", f"it lacks the packages for {', '.join(missing)}"
    return "none", "complete and up to date"


def still_works():
    """Try `.venv` after its base Python changed: a security update does no harm, another version does."""
    if interpreter() is None:
        return False
    probe = [str(PYTHON), "-c", "import pip, helpers"]
    return subprocess.call(probe, env=child_environment(), **QUIET) == 0


def set_up(extras=()):
    """Make sure that `.venv` holds the course and the `extras`; nothing is run when it does already."""
    work, _ = needed_work(extras)
    if work == "none":
        stamp = read_stamp()
        if stamp["python"] != interpreter():  # it has been tried: once is enough
            write_stamp(dict(stamp, python=interpreter()))
        return
    refuse_unusable_folder(GIGABYTES_FOR_SET_UP if work == "build" else 1)
    with only_one_set_up() as lock:
        work, reason = needed_work(extras)  # another course.py may have done it while this one waited
        if work == "none":
            return
        extras = set(extras) | set((read_stamp() or {"extras": ()})["extras"])
        deed = "Updating" if work == "update" else "Repairing" if VENV.exists() else "Setting up"
        print(f"{deed} .venv: {reason}. This takes a minute or two.", flush=True)
        build(extras, lock) if work == "build" else update(extras, lock)


def build(extras, lock):
    """Make `.venv` from scratch; of a failed attempt only the log stays."""
    refuse_missing_venv()
    remove(VENV)
    VENV.mkdir()
    # Made from the base Python: it works from within another environment, or from this one.
    base = getattr(sys, "_base_executable", None) or sys.executable
    try:
        progress = Progress("making .venv")
        run_logged([base, "-m", "venv", str(VENV)], progress, lock)
        pip_install(extras, progress, lock)
        compile_ahead()
        write_stamp(new_stamp(extras))
    except BaseException:
        for left in VENV.iterdir():
            if left != LOG:
                remove(left)
        raise
    progress.close()


def update(extras, lock):
    """Install into a finished `.venv`.

    The stamp is away meanwhile, so that a killed update is repaired. It comes back if pip failed, say for
    want of a network, before it changed anything.
    """
    stamp = STAMP.read_bytes()
    STAMP.unlink()
    progress = Progress("preparing")
    try:
        pip_install(extras, progress, lock)
    except Refusal:
        if progress.phase != INSTALLING:
            STAMP.write_bytes(stamp)
        raise
    compile_ahead()
    write_stamp(new_stamp(extras))
    progress.close()


def compile_ahead():
    """Compile the registration now, as a learner would wait for it later; it does without if that fails."""
    words = [str(PYTHON), "-m", "helpers.registration.fast"]
    with contextlib.suppress(OSError):
        subprocess.call(words, cwd=str(REPO), env=child_environment(), **QUIET)


def pip_install(extras, progress, lock):
    """Install the course, editable, with its pinned packages."""
    project = f".[{','.join(sorted(extras))}]" if extras else "."
    # Wheels only: where one is missing, say so at once, not after ten minutes of a failing compiler.
    options = ["--only-binary=:all:", "--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    pip = [str(PYTHON), "-m", "pip", "install"] + options
    run_logged(pip + ["-c", "constraints.txt", "-e", project], progress, lock)


def run_logged(words, progress, lock):
    """Run a program of the set-up: its words go to the log, its progress to the terminal."""
    keep_lock = {"pass_fds": (lock,)} if os.name == "posix" else {}
    program = subprocess.Popen(words, **piped(), **keep_lock)
    lines = []

    def read():
        for line in program.stdout:
            lines.append(line)
            progress.read(line)
            with contextlib.suppress(OSError), open(str(LOG), "a", encoding="utf-8") as log:
                log.write(line)  # on a full disk this fails, and pip still has to be heard out

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while reader.is_alive():  # the clock goes on while pip is silent
            progress.show()
            reader.join(0.2)
    except BaseException:
        program.terminate()
        raise
    finally:
        code = program.wait()
    if code != 0:
        progress.close(None)
        raise Refusal(explain_failure("".join(lines)))


def piped():
    """Return the options with which a program runs in `.venv` and is read as text."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return dict(streams, cwd=str(REPO), env=child_environment(), encoding="utf-8", errors="replace")


# What pip or venv said, what that means, what to do. The first that fits wins: without a network
# pip goes on to say that no package exists, and on a full disk much else.
FAILURES = [
    (
        r"No space left on device|Errno 28\b|WinError 112\b|Disk quota exceeded",
        "The disk is full",
        f"free {GIGABYTES_FOR_SET_UP} GB for {{repo}} and for {{temp}}",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError",
        "The network shows a certificate that pip does not trust",
        "get its file from the network's administrator and name that in the variable PIP_CERT",
    ),
    (
        r"NewConnectionError|new connection|name resolution|getaddrinfo failed|ProxyError"
        r"|Max retries exceeded|Name or service not known|nodename nor servname|Time-?out|[Tt]imed out"
        r"|Network is unreachable|Connection (?:refused|reset|aborted)|RemoteDisconnected",
        "The packages cannot be fetched because the network does not answer",
        "connect this computer to it once",
    ),
    (
        r"Windows Long Path support",
        "The paths in {repo} are too long for Windows",
        "move the folder to a short path such as C:\\slicewise",
    ),
    (
        r"(?:No matching distribution found for|satisfies the requirement) (?P<what>[^\s;,(]+)",
        "No ready-made {what} exists for Python {python} on this system",
        f"use another Python from {SUITABLE_PYTHONS}",
    ),
    (
        r"(?:conflicting dependencies|ResolutionImpossible)",
        "The pinned packages do not fit Python {python} on this system",
        f"use another Python from {SUITABLE_PYTHONS}",
    ),
    (
        r"Permission denied|Access is denied|WinError (?:5|32)\b",
        "A file could not be written",
        "close every program that uses {venv}",
    ),
]


def explain_failure(output):
    """Translate what pip or venv said before it failed.

    Parameters
    ----------
    output : str
        Everything the program printed.

    Returns
    -------
    sentence : str
        What is wrong and what to do.
    """
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for pattern, problem, remedy in FAILURES:
        found = re.search(pattern, output)
        if found:
            what = found.groupdict().get("what")
            return f"{problem}: {remedy}, then start again.".format(
                what=what, python=version, repo=REPO, venv=VENV, temp=tempfile.gettempdir()
            )
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no reason was given"]
    errors = [line for line in lines if line.lower().startswith("error")]
    return f"The set-up failed, see {LOG} ({(errors or lines)[-1]}): set that right, then start again."


INSTALLING = "installing packages"


class Progress:
    """One line on a terminal, renewed in place; elsewhere a line for each phase and every 15 seconds."""

    def __init__(self, phase):
        self.start = time.monotonic()
        self.live = sys.stdout.isatty()
        self.phase, self.found, self.total = phase, set(), 0
        self.said, self.said_at = None, 0

    def read(self, line):
        """Learn from one line of pip's where it stands."""
        found = re.match(r"\s*(?:Collecting ([\w.-]+)|Processing .*[/\\]([\w.]+)-)", line)
        if found:
            self.phase = "fetching packages"
            self.found.add((found.group(1) or found.group(2)).lower().replace("_", "-"))
        elif "build dependencies" in line:
            self.phase = "preparing"
        elif "Retrying" in line:
            self.phase = "waiting for the network"
        elif line.startswith("Installing collected packages:"):
            self.phase, self.total = INSTALLING, line.count(",") + 1
            self.before = installed_count()

    def describe(self):
        """Return the current state as text, without the time."""
        if self.total:
            # Pip is silent here; what it has put in place can be counted.
            done = min(self.total, max(0, installed_count() - self.before))
            return f"{self.phase}: {done} of {self.total}"
        return f"{self.phase}: {len(self.found)} so far" if self.found else self.phase

    def show(self):
        """Say where things stand, if there is something new to say."""
        elapsed = time.monotonic() - self.start
        text = f"  {self.describe()}, {elapsed:.0f} s"
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + text[:width].ljust(width), end="", flush=True)
        elif self.phase != self.said or elapsed - self.said_at >= 15:
            print(text, flush=True)
            self.said, self.said_at = self.phase, elapsed

    def close(self, last="  ready"):
        """End the renewed line."""
        if self.live:
            print("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r", end="")
        if last:
            print(f"{last} after {time.monotonic() - self.start:.0f} s", flush=True)


def installed_count():
    """Return how many packages are in `.venv`."""
    places = list(VENV.glob("lib/python*/site-packages")) or [VENV / "Lib" / "site-packages"]
    return sum(1 for place in places for _ in place.glob("*.dist-info"))


@contextlib.contextmanager
def only_one_set_up():
    """Let one `course.py` at a time change `.venv`; a second one says so and waits.

    The lock is on this very file, and the system lifts it when its holder ends, however that comes about:
    no lock file can be left behind. Pip inherits it and so holds it for as long as it writes.
    """
    with open(str(REPO / "course.py"), "rb") as file:
        waiting = False
        while not try_lock(file):
            if not waiting:
                print("Another course.py is setting up this folder; waiting until it is done.", flush=True)
                waiting = True
            time.sleep(0.5)
        yield file.fileno()


def try_lock(file):
    """Lock a file without waiting; False if another process has it."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(1 << 30)  # a byte beyond the end: the text itself stays readable for all
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A file system without locks must not keep anyone from learning.
        return error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True


def remove(path):
    """Delete a file or a folder; absent is fine."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(str(path))
        elif path.exists() or path.is_symlink():
            path.unlink()
    except OSError as error:
        raise Refusal(
            f"{error.filename or path} cannot be removed ({error.strerror}): "
            "close every program that uses it, then run the same command again."
        ) from None


def hand_over(words, folder, **variables):
    """Become another program, so that Ctrl-C, signals and the exit code are its own."""
    sys.stdout.flush()
    environment = dict(child_environment(), **variables)
    if os.name == "posix":
        os.chdir(str(folder))
        os.execve(words[0], words, environment)
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child gets Ctrl-C too and ends in its own way
    return subprocess.call(words, cwd=str(folder), env=environment)


# Ports


def is_free(port):
    """Tell whether a server can listen at `port`, by IPv4 and by whatever `localhost` means here."""
    addresses = {(socket.AF_INET, ("127.0.0.1", port))}
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)
        addresses |= {(family, address) for family, _, _, _, address in found}
    for family, address in addresses:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            if probe.connect_ex(address) == 0:
                return False
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                if os.name == "posix":  # as the server does: a connection just closed does not count
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
    return True


def free_port(after):
    """Return the next free port."""
    return next(port for port in list(range(after + 1, 65536)) + list(range(1024, after)) if is_free(port))


def running_labs():
    """Yield port and address of this course's own Jupyter servers that answer."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for file in (VENV / "jupyter" / "runtime").glob("jpserver-*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, http.client.HTTPException):
            server = json.loads(file.read_text(encoding="utf-8"))
            direct.open(f"{server['url']}api/status?token={server['token']}", timeout=2).close()
            yield server["port"], f"{server['url']}lab?token={server['token']}"


def refuse_busy_port(port, folder):
    """Refuse a port that cannot be used, and name one that can."""
    usable = 1024 <= port <= 65535
    if usable and is_free(port):
        return
    place = "" if folder == REPO else quoted(folder) + " "
    remedy = f"run `{command(f'lab {place}--port {free_port(port if usable else 8887)}')}`"
    if not usable:
        raise Refusal(f"Port {port} cannot be used: {remedy}.")
    address = dict(running_labs()).get(port)
    if address:
        raise Refusal(
            f"Slicewise is running already: open {address} in your browser, or for another {remedy}."
        )
    raise Refusal(f"Port {port} is in use by another program: {remedy}.")


# Commands


def lab(folder=None, port=8888, browser=True):
    """Start JupyterLab in `folder`, with the first lesson open if it is there."""
    folder = Path(folder).expanduser().resolve() if folder else REPO
    if not folder.is_dir():
        raise Refusal(f"There is no folder {folder}: make one with `{command('start ' + quoted(folder))}`.")
    refuse_busy_port(port, folder)
    set_up()
    # A lesson here needs the repository as Jupyter's root: jupytext.toml has to be in its sight.
    root = REPO if folder == REPO or REPO in folder.parents else folder
    lessons = [folder / FIRST_LESSON, folder / "lessons" / FIRST_LESSON]
    seen = next((file for file in lessons if file.is_file()), folder)
    page = "/lab" if seen == root else "/lab/tree/" + urllib.parse.quote(seen.relative_to(root).as_posix())
    words = [str(PYTHON), "-m", "jupyterlab", "--ServerApp.root_dir=" + str(root), f"--ServerApp.port={port}"]
    words += ["--ServerApp.port_retries=0", "--LabApp.default_url=" + page]
    words += ["--ServerApp.log_level=WARN", "--LabApp.log_level=WARN"]  # the address stays in sight
    words += ["--ServerApp.answer_yes=True"]  # Ctrl-C stops it, without a question that times out
    words += [] if browser else ["--no-browser"]
    words += ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    print(f"JupyterLab is starting in {folder}; Ctrl-C in this window stops it.", flush=True)
    return hand_over(words, root)


def test(arguments=()):
    """Run the tests: `pytest` with these arguments, else all tests on all cores."""
    chromium = find_chromium()
    set_up({"test", "book", "classroom"})
    arguments = list(arguments) or ["-n", str(os.cpu_count() or 1), "--dist", "loadfile"]
    # Tests run side by side: threads of one that spin while they wait would only take time from the others.
    variables = {"SLICEWISE_CHROMIUM": chromium, "OPENBLAS_NUM_THREADS": "1"}
    return hand_over([str(PYTHON), "-m", "pytest"] + arguments, REPO, **variables)


def data(arguments):
    """Pass a command to `data_fetchers`, which lists, gets, checks and repairs the data sets."""
    set_up()
    return hand_over([str(PYTHON), "-m", "data_fetchers"] + (list(arguments) or ["list"]), REPO)


def classroom(arguments):
    """Pass a command to `classroom`, which makes and grades notebooks, from where the teacher stands."""
    if not arguments:
        example = command("classroom student ../my-class")
        raise Refusal(f"Say whose notebooks and where they go, for example `{example}`.")
    set_up({"classroom"} if arguments[0] in ("nbgrader", "release", "grade") else ())
    return hand_over([str(PYTHON), "-P", "-m", "classroom"] + list(arguments), Path.cwd())


def find_chromium():
    """Return a Chromium for the browser tests, installed by the system's package manager if need be."""
    named = os.environ.get("SLICEWISE_CHROMIUM")
    if named:
        if Path(named).is_file():
            return named
        raise Refusal(
            f"SLICEWISE_CHROMIUM names {named}, which is no file: correct the variable or unset it."
        )
    found = installed_chromium()
    if found:
        return found
    if sys.platform.startswith("linux") and shutil.which("apt-get") and os.geteuid() == 0:
        print("The browser tests need Chromium; installing it with apt-get.", flush=True)
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        for words in (["apt-get", "update"], ["apt-get", "install", "-y", "chromium"]):
            if subprocess.call(words, env=environment) != 0:
                raise Refusal(
                    f"Chromium is missing: find out above why `{' '.join(words)}` failed, run it again."
                )
        found = installed_chromium()
        if found:
            return found
    remedies = {"darwin": "run `brew install --cask chromium`", "win32": "run `winget install Google.Chrome`"}
    remedy = remedies.get(sys.platform, "install it with your package manager")
    if shutil.which("apt-get"):
        remedy = "run `sudo apt-get install -y chromium`"
    raise Refusal(
        f"The browser tests need Chromium or Chrome: {remedy}, or name the program in SLICEWISE_CHROMIUM."
    )


def installed_chromium():
    """Return the path of a Chromium-like browser, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    places = ["/Applications/Chromium.app/Contents/MacOS/Chromium"]
    places += ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"]
    for programs in (os.environ.get(name) for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")):
        if programs:
            places.append(os.path.join(programs, "Google", "Chrome", "Application", "chrome.exe"))
    on_path = [shutil.which(name) for name in names]
    return next((path for path in on_path + places if path and os.path.isfile(path)), None)


def book(lite=False, pdf=False):
    """Build the website from nothing, so that no number of an earlier run survives."""
    chromium = find_chromium() if pdf else None
    set_up({"book"} | ({"lite"} if lite else set()) | ({"test"} if pdf else set()))
    remove(REPO / "_build")
    # Made beforehand, so that no page shows the progress of making them.
    environment = dict(child_environment(), SLICEWISE_SOURCE="bundled")
    subprocess.call([str(PYTHON), "-m", "data_fetchers", "get", "--all"], cwd=str(REPO), env=environment)
    left_out = ""
    if lite:  # first: the pages link to it if it is there, and say nothing of it if it cannot be had
        words = [str(PYTHON), "-m", "lite.build", str(REPO / "_build" / "lite")]
        failed = subprocess.call(words, cwd=str(REPO), env=child_environment()) != 0
        left_out = ", without JupyterLite: why, is said above" if failed else ""
    builder = shutil.which("jupyter-book", path=str(SCRIPTS))
    words = [builder, "build", "-W", "-n", "--keep-going", "."]
    code = subprocess.call(words, cwd=str(REPO), env=child_environment())
    index = REPO / "_build" / "html" / "index.html"
    if code == 0 and index.is_file():
        print(f"The book: {index}{left_out}")
        if pdf:
            pages = REPO / "_build" / "pdf"
            words = [str(PYTHON), "assets/print_pages.py", str(index.parent), str(pages)]
            environment = dict(child_environment(), SLICEWISE_CHROMIUM=chromium)
            code = subprocess.call(words, cwd=str(REPO), env=environment)
            if code == 0:
                print(f"Its pages as PDF: {pages}")
    return code


def start(folder):
    """Give a learner a clean copy of the lessons to work in."""
    folder = Path(os.path.abspath(os.path.expanduser(folder)))
    if folder.is_file() or folder.is_dir() and any(folder.iterdir()):
        remedy = f"name a new folder, for example `{command('start ' + unused(folder))}`"
        raise Refusal(f"{folder} exists and is not empty: {remedy}.")
    if not folder.parent.is_dir():
        raise Refusal(f"There is no folder {folder.parent}: make that folder first.")
    if folder == Path.cwd():
        remedy = f"name a new folder in it, for example `{command('start my-slicewise')}`"
        raise Refusal(f"{folder} is where you are: {remedy}.")
    if folder.resolve() == LESSONS or LESSONS in folder.resolve().parents:
        raise Refusal(f"{folder} is within the lessons themselves: name a folder elsewhere.")
    with tempfile.TemporaryDirectory(prefix=".slicewise-", dir=str(folder.parent)) as unfinished:
        copy = Path(unfinished) / "copy"
        not_for_learners = shutil.ignore_patterns(".*", "instructor*", "__pycache__")
        shutil.copytree(str(LESSONS), str(copy), ignore=not_for_learners)
        shutil.copy(str(REPO / "jupytext.toml"), str(copy))  # so that saving keeps the lessons tidy
        if folder.is_dir():
            folder.rmdir()
        os.rename(str(copy), str(folder))
    print(f"A clean copy of the lessons is in {folder}. Next:\n  {command('lab ' + quoted(folder))}")
    return 0


def unused(folder):
    """Return a path like `folder` that does not exist yet, quoted."""
    numbered = (f"{folder}-{number}" for number in range(2, 10**6))
    return quoted(next(path for path in numbered if not os.path.exists(path)))


def clean():
    """Remove what `course.py` made. Lessons and downloaded data stay."""
    for _, address in running_labs():
        raise Refusal(f"Slicewise is running at {address}: press Ctrl-C in its window, then clean again.")
    code, cache = ask([str(PYTHON), "-m", "data_fetchers", "where"], 30) if PYTHON.exists() else (1, "")
    targets = [REPO / name for name in (".venv", "_build", ".pytest_cache", ".ruff_cache", ".hypothesis")]
    targets += sorted(REPO.glob("*.egg-info"))
    for place, folders, _ in os.walk(str(REPO)):
        targets += [Path(place, name) for name in folders if name == "__pycache__"]
        folders[:] = [name for name in folders if name[0] not in "._" and Path(place, name) != LESSONS]
    for target in targets:
        if target.exists() or target.is_symlink():
            remove(target)
            print(f"removed {target.relative_to(REPO)}")
    where = last_line(cache) if code == 0 else "your account's cache (or SLICEWISE_DATA)"
    print(f"The lessons are untouched. Downloaded data stay in {where}: delete that folder to remove them.")
    return 0


def ask(words, seconds):
    """Run a program in `.venv` and return its exit code and what it printed."""
    try:
        answer = subprocess.run(words, timeout=seconds, **piped())
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, f"{type(error).__name__}: {error}"
    return answer.returncode, answer.stdout.strip()


def last_line(text):
    """Return the last line of what a program said."""
    return (text.splitlines() or ["no answer"])[-1]


# Health

# Both run in `.venv`, where Jupyter and the packages are.
COMPARE_WITH_PINS = """
import importlib.metadata as metadata, re, sys
plain = lambda name: re.sub(r"[-_.]+", "-", name).lower()
pins = dict(line.split("==") for line in open(sys.argv[1], encoding="utf-8").read().split())
pins = {plain(name): version for name, version in pins.items()}
found = {plain(each.name): each.version for each in metadata.distributions()}
both = sorted(pins.keys() & found.keys())
wrong = [f"{name} is {found[name]}, not {pins[name]}" for name in both if found[name] != pins[name]]
print("; ".join(wrong) or f"{len(both)} packages, all as pinned")
sys.exit(bool(wrong))
"""
RUN_A_KERNEL = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(startup_timeout=60, kernel_name="python3")
try:
    reply = client.execute("", user_expressions={"sum": "1+1"}, reply=True, timeout=30)
    assert reply["content"]["user_expressions"]["sum"]["data"]["text/plain"] == "2"
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
print("starts and computes")
"""


def check():
    """Report whether the installation is sound, one row after the other."""
    yes, no, arrow = "✓✗→" if can_print("✓✗→") else ("ok", "NO", "->")
    sound = True
    for name, (fine, detail, remedy) in health():
        print(f"{yes if fine else no} {name.ljust(12)} {detail}", flush=True)
        if not fine:
            print(f"  {arrow} {remedy}", flush=True)
        sound = sound and fine
    return 0 if sound else 1


def can_print(text):
    """Tell whether the terminal's encoding has these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def health():
    """Yield the rows of `check`: a name, and whether it is fine, a detail and the remedy."""
    set_up_again = command("clean") + " && " + command("lab")
    yield "Python", (True, "{}.{}.{}".format(*sys.version_info), "")
    work, reason = needed_work(())
    yield "environment", (work == "none", reason, command("lab"))
    if work != "build":
        code, said = ask([str(PYTHON), "-c", COMPARE_WITH_PINS, "constraints.txt"], 60)
        yield "versions", (code == 0, said, set_up_again)
        code, said = ask([str(PYTHON), "-m", "pip", "--disable-pip-version-check", "check"], 120)
        said = "; ".join(line for line in said.splitlines() if not line.startswith("WARNING"))
        yield "packages", (code == 0, said, set_up_again)
        code, said = ask([str(PYTHON), "-c", RUN_A_KERNEL], 120)
        yield "kernel", (code == 0, last_line(said), set_up_again)
    yield "lessons", folder_row(LESSONS)
    yield "folder", folder_row(REPO)
    yield "port 8888", port_row(8888)
    if work != "build":
        code, said = ask([str(PYTHON), "-m", "data_fetchers", "check"], 300)
        repair = f"{quoted(PYTHON)} -m data_fetchers repair"
        yield "data", (code == 0, last_line(said), repair)
    free = shutil.disk_usage(str(REPO)).free / 1e9
    least = GIGABYTES_FOR_SET_UP if work == "build" else 0.5
    yield "disk", (free >= least, f"{free:.1f} GB free", f"free {least} GB on the disk of {REPO}")


def port_row(port):
    """Return the row for the port that `lab` uses unless told otherwise."""
    if is_free(port):
        return True, "free", ""
    if port in dict(running_labs()):
        return True, "Slicewise is running there", ""
    return False, "in use by another program", command(f"lab --port {free_port(port)}")


def folder_row(folder):
    """Return the row for a folder that has to be writable."""
    if not folder.is_dir():
        return False, f"{folder} is missing", "download the course again"
    fine = os.access(str(folder), os.W_OK)
    remedy = f"chmod -R u+w {quoted(folder)}"
    if os.name == "nt":
        remedy = f"allow yourself to write in {folder}"
    return fine, f"{folder} can{'' if fine else 'not'} be written", remedy


# The command line


class Parser(argparse.ArgumentParser):
    """A parser that refuses in one sentence, as everything here does."""

    def error(self, message):
        """Refuse a command line."""
        raise Refusal(f"That command line is not understood ({message}): run `{command('--help')}`.")


def parser():
    """Return the parser of the command line."""
    top = Parser(
        prog="course.py",
        description="Slicewise, a course in biomedical image analysis.",
        epilog="To begin: python3 course.py lab",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def add(name, summary):
        return commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")

    each = add("lab", "start JupyterLab with the first lesson; the first time this sets everything up")
    each.add_argument("folder", nargs="?", metavar="FOLDER", help="where to work (default: this course)")
    each.add_argument("--port", type=int, default=8888, metavar="N", help="where it listens (default: 8888)")
    each.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    each = add("start", "make a clean copy of the lessons to work in")
    each.add_argument("folder", metavar="FOLDER", help="a new or empty folder")
    add("check", "find out whether the installation is sound, with a remedy for what is not")
    each = add("test", "run the tests; every argument goes to pytest")
    each.usage = "course.py test [-h] [PYTEST ARGUMENT ...]"
    each = add("data", "list the data sets; `get --all` fetches, `check` verifies and `repair` mends them")
    each.usage = "course.py data [-h] [COMMAND ...]"
    each = add("classroom", "make the notebooks of a class, and grade them: `student OUT`, `grade COURSE`")
    each.usage = "course.py classroom [-h] {student,instructor,nbgrader,release,grade} ..."
    each = add("book", "build the website")
    each.add_argument("--lite", action="store_true", help="with JupyterLite: lessons that run in a browser")
    each.add_argument("--pdf", action="store_true", help="print the pages, too, into _build/pdf")
    add("clean", "remove the environment, the built website and caches; never lessons or data")
    return top


def run(words):
    """Carry out one command line and return the exit code."""
    top = parser()
    options, others = top.parse_known_args(words)
    if others and options.command not in ("test", "data", "classroom"):
        top.error(f"unrecognized arguments: {' '.join(others)}")
    if options.command == "lab":
        return lab(options.folder, options.port, not options.no_browser)
    if options.command == "start":
        return start(options.folder)
    if options.command == "test":
        return test(others)
    if options.command == "data":
        return data(others)
    if options.command == "classroom":
        return classroom(others)
    if options.command == "book":
        return book(options.lite, options.pdf)
    if options.command is None:
        top.print_help()
        return 0
    return {"check": check, "clean": clean}[options.command]()


def in_words(error):
    """Return what the system says about a failed file operation, with the file."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        _, target, reason = error.args[0][0]  # of a tree of copies, the first that failed
        return f"{reason} ({target})"
    return f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")


def main(words=None, version=sys.version_info):
    """Run `course.py` and turn what went wrong into one sentence."""
    try:
        refuse_wrong_python(version)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="replace")  # a path that the terminal cannot spell is no reason to fail
        return run(sys.argv[1:] if words is None else words)
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1
    except OSError as error:
        print(f"{in_words(error)}: set that right, then run the same command again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the same command starts again.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
