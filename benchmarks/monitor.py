"""What watching costs: demons with a `RegistrationMonitor` as its callback against demons alone.

Run it as ``python benchmarks/monitor.py``; Chromium must be on the PATH or named in SLICEWISE_CHROMIUM. It
takes some three minutes.

Both run in turn in JupyterLab, with the monitor in sight in a browser on the same machine, which draws in
software. A busy moment of the machine hits both runs of a pair, so the ratio is that of each pair, and the
median of these. A slice is registered faster than one could watch, so it also runs with many small steps.
The goal is a ratio of at most 1.10.
"""

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright
from viewer import CHROMIUM_OPTIONS, SAY_LOADED, lab, open_and_load, run_cell, write_notebook

GOAL = 1.10
CASES = {
    "slice": ("slice", 60, {}),
    "slice, slowly": ("slice", 20, {"tolerance": 0, "momentum": 0, "iterations": 1000}),
    "volume": ("volume", 30, {}),
}

LOAD = """\
import json, time
from data_fetchers import fetch_warped_brain
from helpers import RegistrationMonitor
from helpers.registration import demons

images = fetch_warped_brain().images
arrays = [images["{kind}_" + name].get_fdata(dtype="f4").squeeze() for name in ("fixed", "moving")]
demons(*arrays, iterations=3)  # compiles, and fills caches
"""
SHOW = """\
monitor, pictures = RegistrationMonitor(*arrays), []
monitor.observe(pictures.append, "_frame")
monitor"""
RUN = """\
callbacks, seconds = {{"alone": None, "watched": monitor}}, {{"alone": [], "watched": []}}
for pair in range({pairs}):
    for name in sorted(callbacks, reverse=pair % 2):  # each as often first as second
        time.sleep(0.1)  # until the browser has drawn what came last
        begin = time.perf_counter()
        demons(*arrays, callback=callbacks[name], **{settings})
        seconds[name].append(time.perf_counter() - begin)
print(json.dumps([seconds, len(pictures) / {pairs}]))"""


async def measure(browser, address, folder, number, case):
    """Return the seconds of each run, alone and watched, and how many pictures a run had."""
    kind, pairs, settings = case
    notebook = folder / f"{number}.ipynb"
    write_notebook(
        notebook, LOAD.format(kind=kind) + SAY_LOADED, SHOW, RUN.format(pairs=pairs, settings=settings)
    )
    page = await browser.new_page(viewport={"width": 1400, "height": 1600})
    await open_and_load(page, f"{address}/lab/workspaces/w{number}/tree/{notebook.name}?token=bench")
    await run_cell(page, 1)
    await page.locator(".slicewise-readout").get_by_text("window").wait_for()
    await run_cell(page, 2)
    figures = page.locator(".jp-OutputArea-output").get_by_text('{"alone"')
    await figures.wait_for(timeout=600_000)
    text = await figures.text_content()
    await page.close()
    return json.loads(text)


async def measure_all(folder, home):
    """Return the figures of every case."""
    with lab(folder, home) as address:
        async with async_playwright() as playwright:
            program = os.environ.get("SLICEWISE_CHROMIUM") or shutil.which("chromium")
            browser = await playwright.chromium.launch(executable_path=program, args=CHROMIUM_OPTIONS)
            figures = {}
            for number, (name, case) in enumerate(CASES.items()):
                figures[name] = await measure(browser, address, folder, number, case)
            await browser.close()
    return figures


def main():
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as home:
        figures = asyncio.run(measure_all(Path(folder), Path(home)))
    print(f"{'demons on the':14} {'alone':>9} {'watched':>9} {'pictures':>9} {'ratio':>6}")
    missed = False
    for name, (seconds, pictures) in figures.items():
        alone, watched = seconds["alone"], seconds["watched"]
        ratio = statistics.median(w / a for w, a in zip(watched, alone, strict=True))
        missed |= ratio > GOAL
        medians = f"{statistics.median(alone):8.3f}s {statistics.median(watched):8.3f}s"
        verdict = "MISSED" if ratio > GOAL else "met"
        print(f"{name:14} {medians} {pictures:9.1f} {ratio:6.2f}  {verdict} ({GOAL})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
