"""What watching costs: demons with a `RegistrationMonitor` as its callback against demons alone.

Run it as ``python benchmarks/monitor.py``; ``python3 course.py lab`` must have set up ``.venv`` before. Both
run in turn in a notebook's kernel, whose messages are read as a browser would, so that a busy moment of the
machine hits both; medians are compared. The goal is a ratio of at most 1.10.
"""

import statistics
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
GOAL = 1.10
RUNS = {"slice": 15, "volume": 5}

CODE = """
import sys, time
sys.path.insert(0, {root!r})
from data_fetchers import fetch_warped_brain
from helpers import RegistrationMonitor
from helpers.registration import demons

images = fetch_warped_brain().images
for kind, runs in {runs}.items():
    fixed, moving = images[kind + "_fixed"], images[kind + "_moving"]
    arrays = [image.get_fdata(dtype="f4").squeeze() for image in (fixed, moving)]
    monitor = RegistrationMonitor(*arrays)
    demons(*arrays, callback=monitor)  # compiles, and fills caches
    frames = []
    monitor.observe(frames.append, "_frame")
    for _ in range(runs):
        for name, callback in (("alone", None), ("watched", monitor)):
            begin = time.perf_counter()
            demons(*arrays, callback=callback)
            print(kind, name, time.perf_counter() - begin)
    print(kind, "frames", len(frames) / runs)
"""


def main():
    """Print the table."""
    cell = nbformat.v4.new_code_cell(CODE.format(root=str(ROOT), runs=RUNS))
    NotebookClient(nbformat.v4.new_notebook(cells=[cell]), timeout=600).execute()
    text = "".join(output["text"] for output in cell.outputs if output.get("name") == "stdout")
    figures = {}
    for kind, name, figure in map(str.split, text.splitlines()):
        figures.setdefault((kind, name), []).append(float(figure))
    print(f"{'demons on the':14} {'alone':>9} {'watched':>9} {'pictures':>9} {'ratio':>6}")
    missed = False
    for kind in RUNS:
        alone, watched = (statistics.median(figures[kind, name]) for name in ("alone", "watched"))
        missed |= watched > GOAL * alone
        verdict = "met" if watched <= GOAL * alone else "MISSED"
        frames = figures[kind, "frames"][0]
        seconds = f"{alone:8.3f}s {watched:8.3f}s"
        print(f"{kind:14} {seconds} {frames:9.1f} {watched / alone:6.2f}  {verdict} ({GOAL})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
