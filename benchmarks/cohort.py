"""What it takes to measure a cohort: subjects a minute against workers, cost of an executor, memory, a plan.

Run it as ``python benchmarks/cohort.py``, or with ``--quick`` for fewer heads. It measures simulated heads
in one process and in two, and says how far from the truth the volumes are.

- **Efficiency**: heads a minute by those of the plain loop, for each worker; all are warm.
- **Overhead**: seconds with a pool of one worker over those of a plain loop, as a ratio. Both measure the
  same few heads in turn, so that a busy moment of the machine hits both; medians are compared.
- **Memory**: highest resident memory of a fresh process that runs a plain loop over few and over many heads.
  Flat means that it does not grow with their number.
- **Plan**: from the seconds of computing for each head, hours and store for 1,000 and 100,000.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ[f"{library}_NUM_THREADS"] = "1"  # before numpy is imported, here and in each child

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from data_fetchers import fetch_oasis_subjects  # noqa: E402
from helpers import cohort  # noqa: E402

OVERHEAD_GOAL, MEMORY_GOAL = 1.05, 1.10
HEAD_GB = 256 * 256 * 176 * 2 / 1e9  # at 1 mm, 16 bits a voxel, not compressed
CHUNK, ROUNDS = 10, 7

MEMORY = """
import resource, sys
from helpers.cohort import find_subjects, measure_cohort
subjects = find_subjects(sys.argv[1])[: int(sys.argv[2])]
assert measure_cohort(subjects)["error"].isna().all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def seconds(subjects, executor=None):
    """Return the seconds that a run takes."""
    begin = time.perf_counter()
    table = cohort.measure_cohort(subjects, executor)
    assert table["error"].isna().all()
    return time.perf_counter() - begin


def peak_mib(folder, number):
    """Return the highest resident memory of a process that measures so many heads."""
    run = [sys.executable, "-c", MEMORY, str(folder), str(number)]
    return float(subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def verdict(met):
    """Return how a goal was met, as a word."""
    return "met" if met else "MISSED"


def show_truth(subjects, executor, truth):
    """Print how far from the truth the volumes are."""
    table = cohort.measure_cohort(subjects, executor)
    heading = f"{'against the truth':22}{'correlation':>12}{'mean error':>12}{'SD of it':>10}"
    print(f"\n{heading}   {len(table)} heads")
    for name in cohort.VOLUMES:
        true = np.array(truth[name][: len(table)])
        error = table[name] / true - 1
        alike = np.corrcoef(table[name], true)[0, 1]
        print(f"{name:22}{alike:12.3f}{error.mean():12.1%}{error.std():10.1%}")


def show_plan(head_s, row_bytes):
    """Print what many heads would take."""
    plan = pd.DataFrame(index=pd.Index([1_000, 100_000], name="heads"))
    plan["computing (h)"] = plan.index * head_s / 3600
    plan["2 workers (h)"] = plan["computing (h)"] / 2
    plan["200 workers (h)"] = plan["computing (h)"] / 200
    plan["images at 1 mm (GB)"] = plan.index * HEAD_GB
    plan["rows (MB)"] = plan.index * row_bytes / 1e6
    plan["jobs of ten"] = plan.index // 10
    print(f"\nplan on paper, with {head_s:.3f} s of computing for a head of 3 mm voxels")
    print(plan.round(2).to_string())


def main():
    """Print the tables."""
    quick = "--quick" in sys.argv[1:]
    number, rounds, steps = (40, 3, (10, 40)) if quick else (160, ROUNDS, (10, 40, 160))
    heads = fetch_oasis_subjects("bundled", n_subjects=number)
    folder = heads.images["t1"][0].parents[1]
    subjects = cohort.find_subjects(folder)
    few = subjects[:CHUNK]

    with ProcessPoolExecutor(1) as one, ProcessPoolExecutor(2) as two:
        for executor in (None, one, two):
            seconds(few, executor)  # starts the workers, and loads what they need
        ways = {"plain loop": None, "1 worker": one, "2 workers": two}
        times = {name: [] for name in ways}
        spent = []
        for _ in range(rounds):
            for name, executor in ways.items():
                computing = time.process_time()
                times[name].append(seconds(few, executor))
                if executor is None:
                    spent.append((time.process_time() - computing) / CHUNK)
        medians = {name: statistics.median(each) for name, each in times.items()}
        print(f"{'way':14}{'heads a minute':>16}{'by plain loop':>16}{'efficiency':>12}")
        for name, each in medians.items():
            workers = 2 if name == "2 workers" else 1
            speed = medians["plain loop"] / each
            print(f"{name:14}{60 * CHUNK / each:16.0f}{speed:16.2f}{speed / workers:12.2f}")
        overhead = statistics.median(
            pool / loop for pool, loop in zip(times["1 worker"], times["plain loop"], strict=True)
        )
        met = verdict(overhead < OVERHEAD_GOAL)
        print(f"executor by plain loop: ratio {overhead:.3f}, goal under {OVERHEAD_GOAL}: {met}")
        show_truth(subjects[:number], two, heads.truth)

    peaks = {step: peak_mib(folder, step) for step in steps}
    print("\npeak memory: " + ", ".join(f"{mib:.0f} MiB at {step} heads" for step, mib in peaks.items()))
    growth = peaks[steps[-1]] / peaks[steps[0]]
    print(f"most by fewest: ratio {growth:.3f}, goal under {MEMORY_GOAL}: {verdict(growth < MEMORY_GOAL)}")

    with tempfile.TemporaryDirectory() as rows:
        (paths,) = cohort.find_subjects(folder, rows)[:1]
        cohort.measure_subject(paths)
        show_plan(statistics.median(spent), paths.row.stat().st_size)
    return int(overhead >= OVERHEAD_GOAL or growth >= MEMORY_GOAL)


if __name__ == "__main__":
    sys.exit(main())
