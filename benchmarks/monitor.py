"""What watching costs: demons with a `RegistrationMonitor` as its callback against demons alone.

Run it as ``python benchmarks/monitor.py``; ``python3 course.py lab`` must have set up ``.venv`` before. Both
run in turn in a notebook's kernel, whose messages are read as a browser would. A busy moment of the machine
hits both runs of a pair, so the ratio is that of each pair, and the median of these. A slice is registered
faster than one could watch, so it also runs with many small steps. The goal is a ratio of at most 1.10.
"""

import json
import statistics
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
GOAL = 1.10
CASES = {
    "slice": ("slice", 60, {}),
    "slice, slowly": ("slice", 20, {"tolerance": 0, "momentum": 0, "iterations": 1000}),
    "volume": ("volume", 20, {}),
}

CODE = """
import json, sys, time
sys.path.insert(0, {root!r})
from data_fetchers import fetch_warped_brain
from helpers import RegistrationMonitor
from helpers.registration import demons

images = fetch_warped_brain().images
for case, (kind, pairs, settings) in {cases}.items():
    arrays = [images[f"{{kind}}_{{name}}"].get_fdata(dtype="f4").squeeze() for name in ("fixed", "moving")]
    monitor, pictures, seconds = RegistrationMonitor(*arrays), [], {{"alone": [], "watched": []}}
    monitor.observe(pictures.append, "_frame")
    callbacks = {{"alone": None, "watched": monitor}}
    demons(*arrays, **settings | {{"iterations": 3}})  # compiles, and fills caches
    for pair in range(pairs):
        for name in sorted(callbacks, reverse=pair % 2):  # each as often first as second
            begin = time.perf_counter()
            demons(*arrays, callback=callbacks[name], **settings)
            seconds[name].append(time.perf_counter() - begin)
    print(json.dumps([case, seconds, len(pictures) / pairs]))
"""


def main():
    """Print the table."""
    cell = nbformat.v4.new_code_cell(CODE.format(root=str(ROOT), cases=CASES))
    NotebookClient(nbformat.v4.new_notebook(cells=[cell]), timeout=600).execute()
    text = "".join(output["text"] for output in cell.outputs if output.get("name") == "stdout")
    print(f"{'demons on the':14} {'alone':>9} {'watched':>9} {'pictures':>9} {'ratio':>6}")
    missed = False
    for case, seconds, pictures in map(json.loads, text.splitlines()):
        alone, watched = (seconds[name] for name in ("alone", "watched"))
        ratio = statistics.median(w / a for w, a in zip(watched, alone, strict=True))
        missed |= ratio > GOAL
        medians = f"{statistics.median(alone):8.3f}s {statistics.median(watched):8.3f}s"
        verdict = "met" if ratio <= GOAL else "MISSED"
        print(f"{case:14} {medians} {pictures:9.1f} {ratio:6.2f}  {verdict} ({GOAL})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
