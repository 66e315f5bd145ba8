"""Run a student's code where it can do no harm: a Jupyter kernel behind a wall that only plain data cross.

The wall is bubblewrap's (Linux): no network, a user of its own, the system and the course read-only, no file
of the teacher's in sight, and nothing of the teacher's disk to write on. The kernel's sockets lie in the
sandbox's own memory and are reached through ``/proc``. A filter of system calls keeps new namespaces, and
memory that belongs to no process, out of reach. A watchdog ends what takes too much memory or too many
processes.
"""

import base64
import inspect
import json
import os
import platform
import re
import secrets
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import matplotlib.font_manager  # which lists the fonts in a file that the sandbox shows
import nbformat.v4
import psutil
import zmq
from jupyter_client.session import Session

import data_fetchers
import helpers
from classroom import Refusal, wire
from data_fetchers import cache

HOME, FOLDER = "/tmp/home", "/tmp/student"
RUN = "/tmp/run"
MIME = "application/x-slicewise"
TICK_S = 0.2
START_S = 300  # for a kernel that is alive, but has not answered yet: on a busy machine it takes long
DEAF_S = 10  # for the end of a cell's output after the cell's: what is larger than is taken never comes
SEND_S = 5  # for a socket to take a message, which one that was cut off never does
INSTALL = "install bubblewrap 0.7 or newer (on Debian and Ubuntu `sudo apt install bubblewrap`)"
LOOK_TO = "run `course.py check`, and see to memory and disk space"
TRUST = "or grade with `--trust-students`, which runs their code as you"


class Stopped(BaseException):
    """The kernel was ended; the message says why, as in “it ran longer than 60 s”.

    No ``Exception``, so that no check takes it for an error of the student's function.
    """


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Attributes
    ----------
    cell_s : float
        Seconds for a cell.
    answer_s : float
        Seconds to hand over a value, or for one call of a function that is judged.
    memory : int
        Bytes of memory of all its processes together.
    disk : int
        Bytes of its private folder, which lies in memory, and of any file.
    processes : int
        How many processes at a time.
    text : int
        Characters of output that are kept of a cell.
    pictures : int
        Bytes of pictures that are kept of a cell.
    traffic : int
        Bytes of output that a cell may send before it is stopped.
    """

    cell_s: float = 60
    answer_s: float = 10
    memory: int = 3 * 10**9
    disk: int = 256 * 10**6
    processes: int = 48
    text: int = 50_000
    pictures: int = 4 * 10**6
    traffic: int = 100 * 10**6


STANDARD = Limits()


def why_not():
    """Return why student code cannot be confined on this machine, in one sentence with a remedy; or None."""
    if sys.platform != "linux":
        return f"The sandbox needs Linux (on Windows, WSL 2): grade there, {TRUST}."
    if shutil.which("bwrap") is None:
        return f"The sandbox needs bubblewrap: {INSTALL}, {TRUST}."
    if platform.machine() not in SYSTEM_CALLS:
        return f"The sandbox knows no processor of kind {platform.machine()}: grade on another, {TRUST}."
    with _filter() as seccomp:
        probe = subprocess.run(
            [*_wall(seccomp.fileno(), ()), "/usr/bin/true"],
            pass_fds=[seccomp.fileno()], capture_output=True, text=True, errors="replace",
        )  # fmt: skip
    if probe.returncode == 0:
        return None
    said = (probe.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"bubblewrap cannot make a sandbox here ({said}): allow user namespaces, {INSTALL}, {TRUST}."


class Sandbox:
    """A kernel for one student's code; use it in a ``with`` statement, in a thread that outlives it.

    Parameters
    ----------
    files : iterable of Path
        Files and folders that the code finds in its working folder, read-only; links among them are left out.
    limits : Limits
        What it may use.
    confined : bool
        False runs the kernel as the user who grades, with no wall around it, and limits only time.
    """

    def __init__(self, files=(), limits=STANDARD, confined=True):
        self.files = [Path(path) for path in files if not Path(path).is_symlink()]
        self.limits, self.confined = limits, confined

    def __enter__(self):
        """Start the kernel and wait until it answers."""
        self._reason, self._ended, self._deaf, self._inner = None, threading.Event(), False, None
        self._context = zmq.Context()
        # A peer that sends more than this at once is cut off, and what was cut off is not looked up again.
        self._context.setsockopt(zmq.MAXMSGSIZE, 64_000_000)
        self._context.setsockopt(zmq.RECONNECT_IVL, -1)
        self._context.setsockopt(zmq.RCVHWM, 50)
        self._context.setsockopt(zmq.SNDTIMEO, 1000 * SEND_S)
        self._context.setsockopt(zmq.LINGER, 0)
        self._session = Session(key=secrets.token_hex(32).encode())
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_):
        """End the kernel and all that it started."""
        self._kill(None)
        self._ended.set()
        self._context.destroy(linger=0)
        if not self.confined:
            shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, source):
        """Run a cell.

        Parameters
        ----------
        source : str
            Code, with IPython's magics.

        Returns
        -------
        list of NotebookNode
            Its output: text, errors and pictures in PNG or JPEG, cut off at the limits. HTML is left out,
            as a page that a teacher opens is no place for a student's scripts.

        Raises
        ------
        Stopped
            If it ran too long, needed too much, or ended the kernel; there is no kernel afterwards.
        """
        outputs = Outputs(self.limits)
        self._execute(source, self.limits.cell_s, keep=outputs.add)
        return outputs.nodes

    def value(self, name):
        """Return the value of a global variable as plain data, a function as a stand-in that calls it there.

        Parameters
        ----------
        name : str
            A Python name.

        Returns
        -------
        object
            What :func:`classroom.wire.read` returns; calls of a stand-in raise what the function raises
            there, as an error of the same name and text.

        Raises
        ------
        NameError
            If there is no such variable.
        ValueError
            If its value cannot be handed over; the message says why.
        Stopped
            If this took too long or ended the kernel.
        """
        return self._ask("value", name, function=lambda kind: self._stand_in(name, kind))

    def _stand_in(self, name, kind):
        def call(_, *arguments):
            return self._ask("call", name, wire.write(list(arguments)))

        return type(kind, (), {"__call__": call, "__module__": __name__})()

    def _ask(self, question, *words, function=None):
        """Evaluate :func:`_answer` in the kernel, under no name that student code could meet."""
        source = "\n".join([inspect.getsource(wire), inspect.getsource(_answer)])
        asked = f"own['_answer'](globals(), {MIME!r}, {question!r}, *{words!r})"
        expression = f"(lambda own: (exec({source!r}, own), {asked})[1])({{'__name__': 'classroom'}})"
        reply = self._execute("", self.limits.answer_s, expressions={"it": expression})
        try:
            text = reply["user_expressions"]["it"]["data"][MIME]
            answer = json.loads(base64.b64decode(text, validate=True))
            (outcome, content), *_ = answer.items()
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise ValueError("it cannot be read") from None
        if outcome == "missing":
            raise NameError(f"name '{words[0]}' is not defined")
        if outcome == "refused":
            raise ValueError(str(content)[:200])
        if outcome == "raised":
            kind, message = (str(each) for each in (*content, "", "")[:2])
            raise type(wire._name(kind), (Exception,), {})(message[:500])
        return wire.read(content, function)

    # The kernel and its sockets

    def _start(self):
        """Start the kernel; what it listens on is known beforehand."""
        connection = {f"{name}_port": n for n, name in enumerate(CHANNELS, 1)}
        connection |= {"transport": "ipc", "signature_scheme": "hmac-sha256", "kernel_name": "python3"}
        connection |= {"key": self._session.key.decode()}
        if self.confined:
            with _filter() as seccomp:
                told, tell = os.pipe()
                wall = [*_wall(seccomp.fileno(), self.files, self.limits.disk), "--info-fd", str(tell)]
                uid = 2_000_000 + secrets.randbelow(10**6) if os.geteuid() == 0 else 0
                if uid:
                    wall += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
                command = [*wall, *PYTHON, BOOTSTRAP]
                self._process = _popen(command, None, pass_fds=[seccomp.fileno(), tell])
                os.close(tell)
            with open(told) as info:  # bwrap says it in pieces, and closes
                self._inner = json.loads(info.read() or "{}").get("child-pid")
            place, outside = f"{RUN}/k", f"/proc/{self._inner}/root{RUN}/k"
        else:
            self._folder = Path(tempfile.mkdtemp(prefix="slicewise-"))
            for path in self.files:
                copy = shutil.copytree if path.is_dir() else shutil.copy
                copy(path, self._folder / path.name)
            self._process = _popen([*PYTHON, BOOTSTRAP], self._folder, env=dict(os.environ))
            uid, place = 0, f"{self._folder}/.k"
            outside = place
        limits = {name: getattr(self.limits, name) for name in ("memory", "disk", "processes")}
        told = {"connection": {**connection, "ip": place}, "uid": uid, "limits": limits}
        told |= {"confined": self.confined, "compiled": [[str(p), SHELF + str(p)] for p in _compiled()]}
        try:
            self._process.stdin.write(json.dumps(told).encode())
            self._process.stdin.close()
        except OSError:
            pass  # it ended at once, which is noticed below
        self._connect(outside)
        # Up to here no file of the student's was taken for a module. Now they can be, as in any notebook.
        try:
            self._execute("__import__('sys').path.insert(0, '')", START_S)
        except Stopped as stopped:
            raise Refusal(f"The kernel is of no use ({stopped}): {LOOK_TO}.") from None

    def _connect(self, place):
        """Connect to the sockets once they are there, before any student's code runs; wait for an answer."""
        deadline = time.monotonic() + START_S
        needed = [f"{place}-{CHANNELS.index(name) + 1}" for name in ("shell", "iopub")]
        while not all(os.path.lexists(path) for path in needed):
            self._require_alive(deadline)
            time.sleep(0.02)
        patience = 1
        while not self._reach(needed, patience, deadline):
            patience *= 2
        for socket in (self._shell, self._iopub):
            while socket.poll(50):
                socket.recv_multipart()

    def _reach(self, places, seconds, deadline):
        """Connect anew; keep the connections and return True if both sockets are heard in time.

        A socket's file is there a moment before it listens, and what was refused is not tried again, as what
        was cut off is not.
        """
        self._shell, self._iopub = self._context.socket(zmq.DEALER), self._context.socket(zmq.SUB)
        self._iopub.subscribe(b"")
        heard = {self._shell: False, self._iopub: False}
        for socket, path in zip(heard, places, strict=True):
            socket.connect(f"ipc://{path}")
        end = time.monotonic() + seconds
        while not all(heard.values()) and time.monotonic() < end:
            self._require_alive(deadline)
            with suppress(zmq.Again):  # again and again, as a subscription takes a moment
                self._session.send(self._shell, "kernel_info_request", {})
            for socket in heard:
                heard[socket] = bool(socket.poll(200)) or heard[socket]
        if not all(heard.values()):
            self._shell.close()
            self._iopub.close()
        return all(heard.values())

    def _require_alive(self, deadline):
        code = self._process.poll()
        if code is not None or time.monotonic() > deadline:
            what = "does not answer" if code is None else f"ends at its start (exit code {code})"
            raise Refusal(f"The kernel {what}: {LOOK_TO}.")

    def _execute(self, code, seconds, keep=None, expressions=()):
        """Have the kernel execute something; return the content of its reply."""
        content = {"code": code, "silent": keep is None, "store_history": keep is not None}
        content |= {"user_expressions": dict(expressions), "allow_stdin": False, "stop_on_error": False}
        self._require_running()
        try:
            sent = self._session.send(self._shell, "execute_request", content)["header"]["msg_id"]
        except zmq.Again:
            self._kill("it cut itself off from what grades it")
            self._require_running()
        deadline, traffic, reply, idle = time.monotonic() + seconds, 0, None, False
        poller = zmq.Poller()
        poller.register(self._shell, zmq.POLLIN)
        poller.register(self._iopub, zmq.POLLIN)
        while reply is None or not (idle or self._deaf):
            self._require_running()
            if time.monotonic() > deadline:
                if reply is not None:  # it is done, only its output was cut off: do not wait for that again
                    self._deaf = True
                    break
                self._kill(f"it ran longer than {seconds:g} s")
                continue
            for socket, _ in poller.poll(1000 * TICK_S):
                frames = socket.recv_multipart()
                traffic += sum(map(len, frames))
                if traffic > self.limits.traffic:
                    self._kill(f"it printed more than {self.limits.traffic / 1e6:g} MB")
                    break
                kind, parent, message = self._message(frames)
                if parent != sent:
                    continue
                if socket is self._shell and kind == "execute_reply":
                    reply, deadline = message, min(deadline, time.monotonic() + DEAF_S)
                elif kind == "status":
                    idle = message.get("execution_state") == "idle"
                elif keep and socket is self._iopub:
                    keep(kind, message)
        return reply

    def _message(self, frames):
        """Return kind, parent's id and content of a message, all None where it is none."""
        try:
            _, frames = self._session.feed_identities(frames)
            message = self._session.deserialize(frames)
            kind, parent, content = (
                message["msg_type"],
                message["parent_header"]["msg_id"],
                message["content"],
            )
            return (kind, parent, content) if isinstance(content, dict) else (None, None, None)
        except (ValueError, TypeError, KeyError, IndexError, RecursionError, AttributeError):
            return None, None, None

    def _require_running(self):
        if self._process.poll() is not None:
            raise Stopped(self._reason or "it ended Python")

    def _kill(self, reason):
        """End all processes of the sandbox; the first reason counts."""
        self._reason = self._reason or reason
        process = getattr(self, "_process", None)
        if process is None:
            return
        if process.poll() is None:
            family = [process] if self.confined else _family(process.pid)
            if self._inner:  # the first process in there; all others die with it
                with suppress(ProcessLookupError):
                    os.kill(self._inner, signal.SIGKILL)
            for each in family:
                with suppress(psutil.Error):
                    each.kill()
        process.wait()

    def _watch(self):
        """End a kernel that takes too much: in a thread of its own, from its start to its end."""
        while not self._ended.wait(TICK_S):
            family = _family(self._process.pid)
            if len(family) > self.limits.processes:
                self._kill(f"it started more than {self.limits.processes} processes")
            elif _memory(family, "rss") > self.limits.memory and _memory(family, "pss") > self.limits.memory:
                self._kill(f"it needed more than {self.limits.memory / 1e9:g} GB of memory")
            if self._process.poll() is not None:
                return


class Outputs:
    """The output of a cell as a notebook keeps it, up to the limits.

    Parameters
    ----------
    limits : Limits
        How much is kept.
    """

    def __init__(self, limits):
        self.nodes, self._text, self._pictures = [], limits.text, limits.pictures

    def add(self, kind, content):
        """Take in one message of a kernel, which may say anything; what is no output is ignored."""
        if kind == "clear_output":
            self.nodes.clear()
        elif kind == "stream":
            self._add_stream("stderr" if content.get("name") == "stderr" else "stdout", content.get("text"))
        elif kind == "error":
            lines = content.get("traceback") if isinstance(content.get("traceback"), list) else []
            self._append(
                "error",
                ename=self._cut(content.get("ename")),
                evalue=self._cut(content.get("evalue")),
                traceback=[self._cut(line) for line in lines[:100]],
            )
        elif kind in ("display_data", "execute_result") and isinstance(content.get("data"), dict):
            data = self._shown(content["data"])
            if data:
                self._append("display_data", data=data)

    def _add_stream(self, name, text):
        text = self._cut(text)
        last = self.nodes[-1] if self.nodes else {}
        if text and last.get("output_type") == "stream" and last.name == name:
            last.text += text
        elif text:
            self._append("stream", name=name, text=text)

    def _shown(self, data):
        shown = {}
        for kind in ("image/png", "image/jpeg"):
            picture = data.get(kind)
            text = isinstance(picture, str) and len(picture) <= self._pictures
            if text and re.fullmatch(r"[A-Za-z0-9+/=\s]+", picture):
                self._pictures -= len(picture)
                shown[kind] = picture
        text = self._cut(data.get("text/plain"))
        return {**shown, "text/plain": text} if text else shown

    def _cut(self, text):
        """Return text up to what may still be kept."""
        if not isinstance(text, str) or self._text <= 0:
            return ""
        kept = text[: self._text]
        self._text -= len(kept)
        return kept if len(kept) == len(text) else kept + "\n… (the rest of the output was left out)\n"

    def _append(self, kind, **content):
        if len(self.nodes) < 200:
            self.nodes.append(nbformat.v4.new_output(kind, **content))


def _answer(variables, mime, question, name, arguments="[]"):
    """Answer a question of the grader's: runs in the student's kernel, with the names of `wire` about it."""

    def said():
        if name not in variables:
            return {"missing": name}
        value = variables[name]
        if question == "call":
            try:
                value = value(*read(arguments))  # noqa: F821
            except (Exception, SystemExit) as error:
                return {"raised": [type(error).__name__, str(error)[:500]]}
        try:
            return {"value": write(value)}  # noqa: F821
        except Exception as error:
            return {"refused": f"it cannot be handed over ({error})"}

    text = base64.b64encode(json.dumps(said()).encode()).decode()

    class Answer:
        def _repr_mimebundle_(self, include=None, exclude=None):
            return {mime: text}

    return Answer()


# The wall

# Without `-P` Python would look for modules among the student's files first.
PYTHON = [sys.executable, "-P", "-c"]
CHANNELS = ["shell", "iopub", "stdin", "control", "hb"]
SHELF = "/tmp/compiled"
# Runs inside before the kernel: takes its instructions from stdin, sets limits, becomes the other user.
BOOTSTRAP = r"""
import json, os, runpy, sys
told = json.load(sys.stdin)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
if told["confined"]:
    import resource
    limits = told["limits"]
    for name, limit in [("DATA", limits["memory"]), ("FSIZE", limits["disk"]), ("NOFILE", 1024), ("CORE", 0),
                        ("NPROC", 10 * limits["processes"]), ("MEMLOCK", 0), ("MSGQUEUE", 0)]:
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
    os.nice(5)  # the watchdog comes first
    for folder, shelf in told["compiled"]:  # numba reads what is compiled only where it may write
        for name in os.listdir(shelf):
            os.symlink(os.path.join(shelf, name), os.path.join(folder, name))
    if told["uid"]:
        os.setgroups([])
        os.setresgid(*[told["uid"]] * 3)
        os.setresuid(*[told["uid"]] * 3)
connection = told["connection"]
place = connection["ip"] + ".json"
with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
    json.dump(connection, file)
# Viewers would send whole volumes to a browser that is not there.
quiet = "import comm; comm.create_comm = lambda *a, **k: comm.DummyComm(*a, **k)"
sys.argv = ["ipykernel_launcher", "-f", place, "--HistoryManager.enabled=False",
            "--InteractiveShellApp.ignore_cwd=True",
            f"--InteractiveShellApp.exec_lines=exec({quiet!r}, {{}})"]
runpy.run_module("ipykernel_launcher", run_name="__main__")
"""
NAMESPACES = 0x7E020000  # the flags of clone() that make new ones
# Numbers of the system calls clone and clone3, and of those that are refused: namespaces, memory that belongs
# to no process, and doors to the system's kernel that no lesson needs.
SYSTEM_CALLS = {
    "x86_64": (0xC000003E, 56, 435, {
        "unshare": 272, "setns": 308, "memfd_create": 319, "shmget": 29, "msgget": 68, "ptrace": 101,
        "add_key": 248, "request_key": 249, "keyctl": 250, "perf_event_open": 298, "bpf": 321,
        "userfaultfd": 323, "io_uring_setup": 425,
    }),
    "aarch64": (0xC00000B7, 220, 435, {
        "unshare": 97, "setns": 268, "memfd_create": 279, "shmget": 194, "msgget": 186, "ptrace": 117,
        "add_key": 217, "request_key": 218, "keyctl": 219, "perf_event_open": 241, "bpf": 280,
        "userfaultfd": 282, "io_uring_setup": 425,
    }),
}  # fmt: skip


def _filter():
    """Return a file with the filter of system calls: a program in classic BPF, see seccomp(2)."""
    load, equal, at_least, any_bit, end = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, no_permission, no_such_call, kill = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
    architecture, clone, clone3, refused = SYSTEM_CALLS[platform.machine()]
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (end, 0, 0, kill), (load, 0, 0, 0)]
    program += [(at_least, 0, 1, 0x40000000), (end, 0, 0, no_permission)]  # x32's numbers
    for number in refused.values():
        program += [(equal, 0, 1, number), (end, 0, 0, no_permission)]
    program += [
        (equal, 0, 1, clone3),
        (end, 0, 0, no_such_call),
    ]  # its flags cannot be seen; libc takes clone
    program += [
        (equal, 0, 3, clone),
        (load, 0, 0, 16),
        (any_bit, 0, 1, NAMESPACES),
        (end, 0, 0, no_permission),
    ]
    program += [(end, 0, 0, allow)]
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(b"".join(struct.pack("=HBBI", *each) for each in program))
    file.seek(0)
    return file


def _wall(seccomp, files, disk=Limits.disk):
    """Return the start of a command line that runs the rest of it in a sandbox."""
    private = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if (
        os.geteuid() == 0
    ):  # the bootstrap then becomes another user; as “root” mapped to one, limits would not hold
        private += ["--cap-drop", "ALL"]
    else:
        private += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    system = ["--ro-bind", "/usr", "/usr", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    for path in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(path):
            system += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            system += ["--ro-bind", path, path]
    system += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    own = ["--perms", "0777", "--size", str(disk), "--tmpfs", "/tmp"]
    own += ["--perms", "0777", "--size", str(disk), "--tmpfs", "/dev/shm"]
    for folder in (RUN, FOLDER, HOME, f"{HOME}/.cache", f"{HOME}/.cache/matplotlib"):
        own += ["--perms", "0777", "--dir", folder]
    course = [Path(package.__file__).parent for package in (helpers, data_fetchers)]
    prefixes = {each for path in (sys.prefix, sys.base_prefix) for each in (path, os.path.realpath(path))}
    for path in [
        *sorted(each for each in prefixes if not each.startswith("/usr/") and each != "/usr"),
        *course,
    ]:
        own += _bind(path)
    for path in _compiled():
        own += [*_bind(path, SHELF + str(path)), "--perms", "0777", "--tmpfs", str(path)]
    # The engine of the checks stays, the lessons' right answers go.
    checks = course[0] / "exercises"
    own += ["--tmpfs", str(checks), "--ro-bind", str(checks / "__init__.py"), str(checks / "__init__.py")]
    own += ["--remount-ro", str(checks)]
    for path in Path(matplotlib.get_cachedir()).glob("fontlist-*.json"):  # saves seconds
        own += ["--ro-bind", str(path), f"{HOME}/.cache/matplotlib/{path.name}"]
    folders = [folder for folder in cache.folders() if folder.is_dir()]
    variables = {"HOME": HOME, "USER": "student", "PATH": f"{sys.prefix}/bin:/usr/bin", "LANG": "C.UTF-8"}
    variables |= {name: os.environ[name] for name in ("SLICEWISE_SOURCE",) if name in os.environ}
    for folder in folders:
        own += _bind(folder)
    if folders:
        variables["SLICEWISE_DATA"] = str(folders[0])
    for folder in folders[1:]:
        own += ["--ro-bind", str(folder), f"{HOME}/.cache/slicewise"]
    for path in files:
        own += ["--ro-bind", str(path.absolute()), f"{FOLDER}/{path.name}"]
    own += [word for name, value in variables.items() for word in ("--setenv", name, value)]
    end = ["--chdir", FOLDER, "--remount-ro", "/", "--seccomp", str(seccomp)]
    start = ["bwrap", "--die-with-parent", "--new-session", "--clearenv"]
    return [*start, *private, *system, *own, *end]


def _bind(path, place=None):
    """Return the options that show a file or folder read-only, on a way that any user may go."""
    place = Path(place or path)
    way = [word for parent in reversed(place.parents) for word in ("--perms", "0755", "--dir", str(parent))]
    return [*way[4:], "--ro-bind", str(path), str(place)]


def _compiled():
    """Return the folders in which numba keeps what it has compiled of the course."""
    found = Path(helpers.__file__).parent.rglob("__pycache__/*.nbi")
    return sorted({path.parent for path in found})


def _popen(command, folder, **options):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, **quiet, **options)


def _family(pid):
    """Return a process and all that descend from it."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _memory(family, kind):
    """Return the memory of processes together: "rss" is quick, "pss" counts once what they share."""
    total = 0
    for process in family:
        with suppress(psutil.Error):
            whole = kind == "rss" or not hasattr(psutil, "PROCFS_PATH")
            total += process.memory_info().rss if whole else process.memory_full_info().pss
    return total
