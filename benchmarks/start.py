"""What Slicewise adds to a start: of JupyterLab over a bare one, of ``import helpers`` over numpy and pyplot.

Run it as ``python benchmarks/start.py``; ``python3 course.py lab`` must have set up ``.venv`` before.
Runs of both sides alternate, so that a busy moment of the machine hits both; medians are compared.
"""

import http.client
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import course  # noqa: E402

RUNS = 3
STACK = "import numpy, matplotlib.pyplot"
HELPERS = STACK + "; import helpers"
NAMES = STACK + "; from helpers import SliceViewer, check"


def free_port():
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    """Tell whether a Jupyter server answers (asking for a token is an answer)."""
    connection = http.client.HTTPConnection("localhost", port, timeout=5)
    try:
        connection.request("GET", "/api/status")
        return connection.getresponse().status in (200, 403)
    except OSError:
        return False
    finally:
        connection.close()


def seconds_to_a_server(words):
    """Start a server, return the seconds until it answers, stop it."""
    port = free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    begin = time.perf_counter()
    server = subprocess.Popen([*words, f"--port={port}"], cwd=ROOT, env=course.child_environment(), **quiet)
    try:
        while not answers(port):
            if server.poll() is not None or time.perf_counter() - begin > 120:
                sys.exit(f"no server came up: try `{' '.join(words)}` by hand")
            time.sleep(0.02)
        return time.perf_counter() - begin
    finally:
        server.terminate()
        server.wait()


def seconds_to_import(statement):
    """Return the seconds that a fresh Python takes for an import, its own start included."""
    begin = time.perf_counter()
    subprocess.run([course.PYTHON, "-c", statement], check=True, cwd=ROOT, env=course.child_environment())
    return time.perf_counter() - begin


def medians(measure, one, other, runs):
    """Return the median of each side, measured in turn."""
    measure(one), measure(other)  # the first of each fills the disk's cache
    pairs = [(measure(one), measure(other)) for _ in range(runs)]
    return [statistics.median(side) for side in zip(*pairs, strict=True)]


def verdict(met):
    """Return how a goal was met, as a word."""
    return "met" if met else "MISSED"


def main():
    """Print the table."""
    if course.needed_work(())[0] != "none":
        sys.exit("The environment is not ready: run `python3 course.py lab` first.")
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    ours = [sys.executable, str(ROOT / "course.py"), "lab", "--no-browser"]
    bare = [str(course.SCRIPTS / "jupyter"), "lab", "--no-browser", *root]
    lab, jupyter = medians(seconds_to_a_server, ours, bare, RUNS)
    print(f"{'seconds':44}{'Slicewise':>10}{'peer':>8}{'ratio':>8}  goal")
    print(row("second start (peer: jupyter lab)", lab, jupyter), " ratio < 2:", verdict(lab < 2 * jupyter))
    for statement, name in ((HELPERS, "import helpers"), (NAMES, "from helpers import SliceViewer, check")):
        helpers, stack = medians(seconds_to_import, statement, STACK, 3 * RUNS)
        added = helpers - stack
        goal = f" adds {added:.2f} < 0.3: {verdict(added < 0.3)}" if statement == HELPERS else ""
        print(row(name, helpers, stack), goal or f" adds {added:.2f}, on first use: nibabel and ipywidgets")
    print("peer of the imports: numpy and matplotlib.pyplot alone")


def row(name, ours, theirs):
    """Return a row of the table without its goal."""
    return f"{name:44}{ours:10.2f}{theirs:8.2f}{ours / theirs:8.2f}"


if __name__ == "__main__":
    main()
