"""What it costs to make all simulated data sets: one after the other in a fresh process, into an empty cache.

Run it as ``python benchmarks/simulators.py``. The last column gives, for comparison, the bytes of published
data that a learner need not download.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from data_fetchers.dataset import catalogue, size_text

MEASURE = """
import resource, sys, time
start = time.perf_counter()
import data_fetchers
for name in sys.argv[1:]:
    begin = time.perf_counter()
    getattr(data_fetchers, "fetch_" + name)("bundled")
    print(name, time.perf_counter() - begin)
print("together", time.perf_counter() - start)
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main():
    """Print the table."""
    names = [name for name, table in catalogue().items() if "simulator" in table["bundled"]]
    with tempfile.TemporaryDirectory() as cache:
        # The user's own cache must not help, wherever the system keeps it.
        environment = os.environ | dict.fromkeys(("SLICEWISE_DATA", "HOME", "XDG_CACHE_HOME"), cache)
        measure = [sys.executable, "-c", MEASURE, *names]
        run = subprocess.run(measure, env=environment, capture_output=True, text=True, check=True)
        figures = {name: float(value) for name, value in map(str.split, run.stdout.splitlines())}
        print(f"{'data set':16}{'seconds':>9}{'made':>10}{'original':>11}")
        for name in names:
            made = size_text(sum(path.stat().st_size for path in Path(cache).glob(f"made/{name}-*/**/*")))
            files = catalogue()[name].get("original", {}).get("files", [])
            published = size_text(sum(file["bytes"] for file in files)) if files else ""
            print(f"{name:16}{figures[name]:9.1f}{made:>10}{published:>11}")
    print(f"together {figures['together']:.1f} s, goal under 20 s: {verdict(figures['together'] < 20)}")
    print(f"peak {figures['peak']:.0f} MiB, goal under 1024 MiB: {verdict(figures['peak'] < 1024)}")


def verdict(met):
    """Return how a goal was met, as a word."""
    return "met" if met else "MISSED"


if __name__ == "__main__":
    main()
