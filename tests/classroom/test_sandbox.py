"""Attacks on the sandbox: each runs in a real kernel, and what it was after is looked for outside."""

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from classroom import Refusal, sandbox, wire
from classroom.sandbox import Limits, Outputs, Sandbox, Stopped

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Limits(cell_s=60, answer_s=30, memory=700 * 10**6, disk=30 * 10**6, processes=20)

pytestmark = pytest.mark.usefixtures("sandbox_works")


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """A kernel for the attacks that it survives."""
    folder = tmp_path_factory.mktemp("submission")
    (folder / "mine.csv").write_text("a,b\n")
    (folder / "link.csv").symlink_to("/etc/passwd")
    with Sandbox([folder / "mine.csv", folder / "link.csv"], LIMITS) as box:
        yield box


def printed(box, source):
    """Run a cell that must not fail, and return what it prints."""
    outputs = box.run(source)
    assert not [out for out in outputs if out.output_type == "error"], outputs
    return "".join(out.text for out in outputs if out.output_type == "stream")


def attempt(box, code):
    """Run one line and return the name of the error that it ends in, or "done"."""
    return printed(
        box,
        f"try:\n    {code}\nexcept BaseException as e:\n    print(type(e).__name__)\nelse: print('done')",
    ).strip()


def running(text):
    """Tell whether a process with this text in its command line runs on this machine."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if text in " ".join(process.cmdline()):
                return True
    return False


def reason(source, limits=LIMITS):
    """Run a cell that must be stopped in a kernel of its own, and return why it was."""
    with Sandbox(limits=limits) as box:
        with pytest.raises(Stopped) as stopped:
            box.run(source)
            box.run("")
        with pytest.raises(Stopped):
            box.run("1")
    return str(stopped.value)


def test_cell_outputs_come_over(box):
    stream, text = box.run("print('hello')\n6 * 7")
    assert (stream.text, text.data["text/plain"]) == ("hello\n", "42")
    (error,) = box.run("1 / 0")
    assert (error.output_type, error.ename) == ("error", "ZeroDivisionError")
    (picture,) = box.run("import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    assert picture.data["image/png"].startswith("iVBOR")


def test_lesson_code_runs(box):
    assert printed(
        box, "from data_fetchers import fetch_brain_t1\nprint(fetch_brain_t1().image.shape)"
    ).endswith(")\n")
    assert box.run("%matplotlib inline\nfrom helpers import SliceViewer\nSliceViewer(fetch_brain_t1().image)")


def test_files_of_teacher_are_not_in_sight(box, tmp_path):
    (tmp_path / "gradebook.db").write_text("secret")
    outside = [
        tmp_path / "gradebook.db",
        ROOT / "lessons",
        ROOT / "tests",
        ROOT / ".git",
        Path("/etc/shadow"),
    ]
    for path in (*outside, Path("/etc/passwd"), Path("/var"), Path.home() / ".ssh"):
        assert printed(box, f"import os; print(os.path.lexists({str(path)!r}))") == "False\n"


def test_folder_holds_the_submission_without_its_links(box):
    assert printed(box, "print(sorted(os.listdir()), open('mine.csv').read())") == "['mine.csv'] a,b\n\n"


def test_no_process_of_the_machine_is_in_sight(box):
    commands = printed(box, "import psutil; print([p.cmdline()[:1] for p in psutil.process_iter()])")
    assert "pytest" not in commands
    assert len(eval(commands)) <= 3


def test_right_answers_of_the_checks_are_not_there(box):
    assert attempt(box, "import helpers.exercises.affines") == "ModuleNotFoundError"
    assert attempt(box, "from helpers import check") == "done"


def test_no_network(box):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert attempt(box, f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)") != "done"
    assert attempt(box, "import socket; socket.create_connection(('1.1.1.1', 53), 1)") != "done"
    assert printed(box, "print([name for _, name in socket.if_nameindex()])") == "['lo']\n"


def test_user_is_another_without_rights(box):
    status = printed(box, "print(open('/proc/self/status').read())")
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert str(os.getuid()) not in lines["Uid"].split()
    assert int(lines["CapEff"], 16) == int(lines["CapPrm"], 16) == 0
    assert lines["NoNewPrivs"] == "1"


@pytest.mark.parametrize(
    "place", ["/x", "/dev/x", "/usr/x", f"{ROOT}/helpers/x", f"{ROOT}/helpers/exercises/x"]
)
def test_nothing_but_the_private_folder_can_be_written(box, place):
    assert attempt(box, f"open({place!r}, 'w')") in ("OSError", "PermissionError")


def test_disk_is_limited(box):
    assert attempt(box, "open('big', 'wb').write(bytes(40_000_000))") == "OSError"
    assert attempt(box, "[open(f'part{n}', 'wb').write(bytes(9_000_000)) for n in range(9)]") == "OSError"
    assert (
        attempt(box, "[open(f'/dev/shm/{n}', 'wb').write(bytes(9_000_000)) for n in range(9)]") == "OSError"
    )
    printed(
        box,
        "import glob; [os.remove(each) for each in (*glob.glob('part*'), *glob.glob('/dev/shm/*'), 'big')]",
    )


@pytest.mark.parametrize(
    "call",
    [
        "os.memfd_create('hidden')",
        "os.unshare(0x10000000) if hasattr(os, 'unshare') else libc('unshare', 0x10000000)",
        "libc('syscall', 56, 0x10000000 | 17, 0, 0, 0, 0)",
        "libc('shmget', 0, 10**6, 0o1600)",
        "libc('ptrace', 0, 0, 0, 0)",
        "libc('keyctl', 0, 0, 0)",
        "libc('mount', b'x', b'/tmp/student', b'tmpfs', 0, 0)",
    ],
)
def test_calls_that_lead_out_or_hide_memory_are_refused(box, call):
    printed(
        box,
        "import ctypes, os\n"
        "def libc(name, *arguments):\n"
        "    dll = ctypes.CDLL(None, use_errno=True)\n"
        "    if name == 'syscall' and os.uname().machine != 'x86_64':\n"
        "        arguments = (220, *arguments[1:])\n"
        "    if getattr(dll, name, None) is None or getattr(dll, name)(*arguments) == -1:\n"
        "        raise OSError(ctypes.get_errno(), name)",
    )
    assert attempt(box, call) in ("OSError", "PermissionError", "AttributeError")


def test_too_much_memory_at_once_is_an_error_of_that_cell(box):
    assert attempt(box, "bytearray(10**9)") == "MemoryError"
    assert printed(box, "print('still here')") == "still here\n"


def test_memory_of_several_processes_counts_together():
    child = "x = b'1' * 250_000_000; time.sleep(30)"
    source = f"import os, time\nfor n in range(4):\n    if os.fork() == 0:\n        {child}\ntime.sleep(30)"
    assert reason(source) == "it needed more than 0.7 GB of memory"


def test_fork_bomb_is_stopped():
    assert (
        reason("import os\nwhile True:\n    os.fork()", Limits(processes=20))
        == "it started more than 20 processes"
    )


def test_endless_loop_is_stopped_though_it_catches_interrupts():
    source = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    assert reason(source, Limits(cell_s=1)) == "it ran longer than 1 s"


def test_end_of_kernel_is_noticed():
    assert reason("import os; os.kill(os.getpid(), 9)") == "it ended Python"
    assert reason("import ctypes; ctypes.string_at(0)") == "it ended Python"


def test_flood_of_output_is_cut_and_then_stopped(box):
    (stream,) = box.run("print('x' * 10_000_000)")
    assert len(stream.text) < Limits.text + 100
    assert "left out" in stream.text
    assert (
        reason("while True: print('x' * 100_000, flush=True)", Limits(traffic=10**6))
        == "it printed more than 1 MB"
    )


def test_message_too_large_to_receive_does_no_harm():
    with Sandbox(limits=Limits(memory=3 * 10**9)) as box:
        box.run("print('x' * 80_000_000)")
        box.run("y = 3")
        assert box.value("y") == 3


def test_daemon_does_not_outlive_its_sandbox():
    with Sandbox() as box:
        box.run("import subprocess; subprocess.Popen(['/usr/bin/sleep', '4321'], start_new_session=True)")
        assert running("sleep 4321")
    deadline = time.monotonic() + 10
    while running("sleep 4321") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running("sleep 4321")


VALUES = {
    "7": 7, "0.5": 0.5, "True": True, "'ab'": "ab", "None": None, "...": ..., "float('nan')": np.nan,
    "np.float32(0.5)": np.float32(0.5), "np.True_": np.True_, "np.eye(2)": np.eye(2), "(1, 2)": (1, 2),
    "np.arange(6, dtype='>i2').reshape(2, 3)[:, ::-1]": np.arange(6).reshape(2, 3)[:, ::-1],
    "{'a': [1, (2, 3)]}": {"a": [1, (2, 3)]}, "{1, 2}": {1, 2}, "np.eye(2) > 0": np.eye(2) > 0,
    "__import__('pandas').Series([1.0, 2])": np.array([1.0, 2]), "(..., 1)": (..., 1), "10**300": 10**300,
}  # fmt: skip


@pytest.mark.parametrize("source", VALUES)
def test_plain_values_come_over(box, source):
    box.run(f"import numpy as np\nx = {source}")
    value, expected = box.value("x"), VALUES[source]
    assert type(value) is type(expected)
    np.testing.assert_equal(value, expected)


def test_masked_values_come_over(box):
    box.run("x = np.ma.array([1, 2], mask=[False, True])")
    assert np.ma.getmaskarray(box.value("x")).tolist() == [False, True]


@pytest.mark.parametrize(
    ("source", "kind"), [("object()", "object"), ("print", "function"), ("open('mine.csv')", "TextIOWrapper")]
)
def test_of_an_object_only_its_kind_comes_over(box, source, kind):
    box.run(f"x = [{source}]")
    (value,) = box.value("x")
    assert type(value).__name__ in (kind, "builtin_function_or_method")
    assert not vars(value)


def test_object_that_equals_everything_does_not(box):
    box.run("class All(float):\n    def __eq__(self, other): return True\nx = All(7)\n")
    assert type(box.value("x")) is float
    assert box.value("x") != 3


def test_function_is_called_over_there(box):
    box.run("factor = 3\ndef f(a, b=1):\n    return a * factor + b")
    f = box.value("f")
    assert callable(f)
    np.testing.assert_array_equal(f(np.arange(3)), [1, 4, 7])
    with pytest.raises(Exception, match="can only concatenate") as caught:
        f("a")
    assert type(caught.value).__name__ == "TypeError"
    box.run("def f():\n    raise SystemExit(3)")
    with pytest.raises(Exception) as caught:
        box.value("f")()
    assert not isinstance(caught.value, SystemExit)


def test_missing_and_oversized_values_are_refused(box):
    with pytest.raises(NameError, match="'nothing'"):
        box.value("nothing")
    box.run("x = np.broadcast_to(1.0, (10**7, 10**5)); y = 'x' * 50_000_000")
    for name in "xy":
        with pytest.raises(ValueError, match="32 MB"):
            box.value(name)


def test_nothing_of_the_question_stays(box):
    box.run("x = 1; before = set(dir())")
    box.value("x")
    assert "wire" not in printed(box, "print(set(dir()) - before, In[-3:])")
    assert printed(box, "print({each for each in set(dir()) - before if each[0] != '_'})") == "{'before'}\n"


def test_endless_value_is_stopped():
    with Sandbox(limits=LIMITS) as box:
        box.run("class Slow(dict):\n    pass\ndef f():\n    while True: pass")
        f = box.value("f")
        box.limits = replace(LIMITS, answer_s=2)
        with pytest.raises(Stopped, match="longer than 2 s"):
            f()


@pytest.mark.parametrize(
    "patch",
    [
        'import json; json.dumps = lambda *a, **k: \'{"value": "no"}\'',
        "import json; json.dumps = lambda *a, **k: '[1, 2]'",
        "import base64; base64.b64encode = lambda *a: b'!!'",
        "import builtins; builtins.exec = None",
        "import numpy; del numpy.generic",
        "get_ipython().display_formatter.format = lambda *a: ({'application/x-slicewise': 3}, {})",
        "get_ipython().kernel.session.send = lambda *a, **k: None",
    ],
)
def test_tampering_with_the_hand_over_harms_only_the_answer(patch):
    with Sandbox(limits=Limits(cell_s=2, answer_s=2)) as box, pytest.raises((ValueError, Stopped)):
        box.run("x = 3\n" + patch)
        box.value("x")


@pytest.mark.parametrize(
    "text",
    [
        "[1]", "{}", '{"array": ["<f8", [2], ""]}', '{"array": ["<f8", [1000000000000], ""]}', '{"list": 3}',
        '{"array": ["O", [9999, 9999, 9999], "AAAA"]}', '{"array": ["<f8", [-1], "AAAAAAAAAAA="]}',
        '{"eval": "1"}',
        '{"set": [{"list": []}]}', "[" * 100_000, "1" * 5000, '{"array": ["f99", [1], "AAAA"]}', "no",
        '{"a": 1, "b": 2}',
        '{"scalar": ["<f8", [1], 3]}', '{"masked": 1}', '{"array": [["<f8"], [1], "AAAA"]}', '{"dict": [1]}',
    ],
)  # fmt: skip
def test_what_no_writer_writes_is_refused_or_harmless(text):
    try:
        value = wire.read(text)
    except wire.Unreadable:
        return
    assert isinstance(value, np.ndarray)
    assert value.dtype == object
    assert value.size == 0


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"text": 3},
        {"data": {"text/html": "<script>"}},
        {"data": {"image/png": '"><script>'}},
        {"data": 1},
        {"traceback": 3, "ename": []},
        {"name": []},
    ],
)
@pytest.mark.parametrize("kind", ["stream", "error", "display_data", "execute_result", "nonsense"])
def test_odd_messages_are_no_harm(kind, content):
    import nbformat.v4

    outputs = Outputs(Limits())
    outputs.add(kind, content)
    cell = nbformat.v4.new_code_cell("", outputs=outputs.nodes)
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))
    assert "script" not in str(outputs.nodes)


def test_without_bubblewrap_there_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install bubblewrap" in sandbox.why_not()
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    assert "No permissions to create new namespace" in sandbox.why_not()
    monkeypatch.setattr("sys.platform", "darwin")
    assert "--trust-students" in sandbox.why_not()


def test_trusted_kernel_runs_without_a_wall(tmp_path):
    (tmp_path / "mine.csv").write_text("a\n")
    with Sandbox([tmp_path / "mine.csv"], confined=False) as box:
        assert printed(box, f"import os; print(os.path.exists({str(ROOT / 'lessons')!r}))") == "True\n"
        assert printed(box, "print(open('mine.csv').read())") == "a\n\n"
        folder = Path(printed(box, "print(os.getcwd())").strip())
    assert not folder.exists()


# Makes the file of iopub's socket appear half a second before it listens, as happens on a busy machine.
LATE = r"""
import os, socket, time, zmq
bind = zmq.Socket.bind
def late(self, address):
    if address.endswith("-2"):
        path = address.removeprefix("ipc://")
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind(path)
            time.sleep(0.5)
        os.unlink(path)
    return bind(self, address)
zmq.Socket.bind = late
"""


def test_kernel_that_listens_late_is_reached(monkeypatch):
    monkeypatch.setattr(sandbox, "BOOTSTRAP", LATE + sandbox.BOOTSTRAP)
    with Sandbox(limits=LIMITS) as box:
        assert printed(box, "print('heard')") == "heard\n"


@pytest.mark.parametrize("confined", [True, False])
def test_files_of_a_submission_are_modules_only_once_the_kernel_is_reached(tmp_path, confined):
    # Names that Python, IPython and the bootstrap look for at their start.
    early = ["json", "runpy", "resource", "storemagic", "ipykernel_launcher", "sitecustomize"]
    for name in [*early, "mine"]:
        (tmp_path / f"{name}.py").write_text("import os\nos.environ['EARLY'] = __name__\nhere = 'mine'\n")
    with Sandbox(sorted(tmp_path.glob("*.py")), LIMITS, confined) as box:
        assert printed(box, "import os; print(os.environ.get('EARLY'))") == "None\n"
        assert printed(box, "import mine; print(mine.here)") == "mine\n"
        assert printed(box, "print([name for name in dir() if name == 'sys'])") == "[]\n"


# Closes the grader's connection from the kernel's side, a moment after the cell has ended.
CUT = """
import os, socket, threading, time
def cut():
    time.sleep(0.5)
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            line = socket.socket(fileno=os.dup(number))
            listens = line.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if str(line.getsockname()).endswith("k-1") and not listens:
                line.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
threading.Thread(target=cut).start()
"""


def test_a_kernel_that_cuts_the_line_is_stopped():
    with Sandbox(limits=replace(LIMITS, cell_s=10)) as box:
        box.run(CUT)
        with pytest.raises(Stopped, match="cut itself off|ran longer"):
            for _ in range(100):
                box.run("1")
                time.sleep(0.2)


def test_a_kernel_that_ends_as_soon_as_it_is_reached_is_refused(monkeypatch):
    def end(box, place):
        connect(box, place)
        box._kill("it was ended")

    connect = Sandbox._connect
    monkeypatch.setattr(Sandbox, "_connect", end)
    with pytest.raises(Refusal, match=r"^The kernel is of no use \(it was ended\): run `course.py check`"):
        Sandbox(limits=LIMITS).__enter__()
