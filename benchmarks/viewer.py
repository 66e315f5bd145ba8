"""The slice viewer against its peers: from key press to changed pixels, in JupyterLab and on a static page.

Run it as ``python benchmarks/viewer.py``; the peers (PEERS below) must be installed beside the course, and
Chromium on the PATH or named in SLICEWISE_CHROMIUM. It takes some seven minutes.

Each design shows the MNI brain of 1 mm (197 × 233 × 189 voxels) in a notebook, kernel and browser context of
its own, so that nobody finds anybody's files in a cache. A first cell imports and loads; the figures are
of the second. They are taken in the page, on one clock and by one criterion:

- Within each animation frame, after all its callbacks and before it is painted (that is when a ResizeObserver
  of an element is called that every frame resizes), the drawn thing, a canvas or an <img>, is sampled at
  128 × 128 points and compared with the last picture. A WebGL buffer can be read in the frame it is drawn in;
  in any other it may read transparent and is passed over, as is an <img> that is not decoded yet.
- A changed picture counts as painted when a message posted from that spot comes in: after layout and paint.
- A press begins at the time stamp that the browser gave its event before the page heard of it, so that a page
  too busy to listen gains nothing. In the one design without keys it is a click, which begins as that of a
  key does, when the button goes down; 50 ms later, sooner than by most hands, it is let go. That design draws
  only then. What it takes from there is a row of its own, beside the goals, as no hand lets go in no time.
  Our own viewer is there by click, too.

Chromium draws in software, WebGL too: on a machine with a graphics card the WebGL peer is faster.

First picture: from the key that runs the second cell, or from opening the static page (the median of five
times), until a tenth of the samples differ from the commonest one. Live: from the same moment until the
picture of a step, whose key is pressed as soon as the first picture is there. Step: 100 presses, 50 slices
up and 50 down from the middle; the next comes when the picture has stood still for 60 ms, and a random part
of a frame later. Held: a key repeated 30 times a second for 3 s, whether or not the page keeps up. A step
is dropped if no picture is painted for it until a tenth of a second after the last press; a press that a
busy machine sent within the same 60th of a second as the next is not counted. Bytes: of websocket messages
and HTTP responses that reach the page. Saved: what the second cell leaves in the notebook, outputs and
widgets' state, when JupyterLab saves both.
"""

import asyncio
import contextlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from playwright.async_api import TimeoutError as PlaywrightTimeoutError
from playwright.async_api import async_playwright

ROOT = Path(__file__).resolve().parents[1]
PEERS = ("ipympl", "stackview", "mpl_interactions", "ipyniivue", "nilearn")
CHROMIUM_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
STEPS, HELD_SECONDS, RATE = 100, 3, 30
OPENINGS = 5  # of the static page, whose first picture depends on the moment more than those behind a kernel
CLICK = 0.05  # seconds from pressing the button of a mouse to letting it go

LOAD = """\
import numpy as np, nilearn.datasets
img = nilearn.datasets.load_mni152_template(resolution=1)
data = np.asarray(img.dataobj)
middle = [length // 2 for length in data.shape]
"""
SAY_LOADED = "\nprint('all' + ' loaded')"
PYPLOT = "import matplotlib.pyplot as plt, ipywidgets\n"
IPYMPL = "%matplotlib ipympl\n" + PYPLOT
CUTS = "cuts = lambda x, y, z: (data[x].T, data[:, y].T, data[:, :, z].T)\n"
GREY = "cmap='gray', vmin=0, vmax=1, origin='lower'"


@dataclass(frozen=True)
class Design:
    """One way to look through a volume: two cells, what it draws on, and how a step is made in it."""

    name: str
    planes: int
    imports: str
    show: str
    drawn: str  # CSS selector of the canvas or <img> with the plane that is stepped through
    handle: str  # CSS selector of what has the focus, or is clicked
    keys: tuple | None = ("ArrowUp", "ArrowDown")  # to the next and the previous slice; None: by click
    across: float = 0.5  # where a click falls, as a share of the width
    frame: str | None = None  # CSS selector of the frame that all this is in


BY_CLICK = "SliceViewer, by click"
OURS = ".slicewise-viewer .slicewise-plane[data-plane=axial]"
SLIDER = ".jp-OutputArea .noUi-handle"
IMG = ".jp-OutputArea img"
DESIGNS = [
    Design(
        "SliceViewer", 1,
        "from helpers import SliceViewer",
        "SliceViewer(img, plane='axial')",
        OURS, OURS, ("PageUp", "PageDown"),
    ),
    Design(
        "SliceViewer", 3,
        "from helpers import SliceViewer",
        "SliceViewer(img)",
        OURS, OURS, ("PageUp", "PageDown"),
    ),
    Design(
        BY_CLICK, 3,
        "from helpers import SliceViewer",
        "SliceViewer(img)",
        OURS, ".slicewise-viewer .slicewise-plane[data-plane=coronal]",
        None,
    ),
    Design(
        "interact + matplotlib", 1,
        PYPLOT,
        "@ipywidgets.interact(z=(0, data.shape[2] - 1))\n"
        "def show(z):\n"
        f"    plt.imshow(data[:, :, z].T, {GREY})\n"
        "    plt.show()",
        IMG, SLIDER,
    ),
    Design(
        "interact + matplotlib", 3,
        PYPLOT + CUTS,
        "@ipywidgets.interact(z=(0, data.shape[2] - 1), y=(0, data.shape[1] - 1), x=(0, data.shape[0] - 1))\n"
        "def show(z, y, x):\n"
        "    _, axes = plt.subplots(1, 3, figsize=(9, 3.5))\n"
        "    for ax, cut in zip(axes, cuts(x, y, z)):\n"
        f"        ax.imshow(cut, {GREY})\n"
        "    plt.show()",
        IMG, SLIDER,
    ),
    Design(
        "ipympl", 3,
        IPYMPL + CUTS,
        "figure, axes = plt.subplots(1, 3, figsize=(9, 3.5))\n"
        f"pictures = [ax.imshow(cut, {GREY}) for ax, cut in zip(axes, cuts(*middle))]\n"
        "def show(z, y, x):\n"
        "    for picture, cut in zip(pictures, cuts(x, y, z)):\n"
        "        picture.set_data(cut)\n"
        "    figure.canvas.draw_idle()\n"
        "ipywidgets.interact(\n"
        "    show, z=(0, data.shape[2] - 1), y=(0, data.shape[1] - 1), x=(0, data.shape[0] - 1)\n"
        ");",
        ".jupyter-matplotlib-canvas-div canvas", SLIDER,
    ),
    Design(
        "mpl-interactions hyperslicer", 1,
        IPYMPL + "from mpl_interactions import hyperslicer\nstack = data.transpose(2, 1, 0)",
        "figure, ax = plt.subplots()\n"
        f"controls = hyperslicer(stack, ax=ax, {GREY})\n"
        "controls.controls['axis0'].children[0].value = middle[2]",
        ".jupyter-matplotlib-canvas-div canvas", SLIDER,
    ),
    Design(
        "stackview slice", 1,
        "import stackview\nstack = data.transpose(2, 1, 0)[:, ::-1]",
        "stackview.slice(stack, display_min=0, display_max=1)",
        ".jp-OutputArea canvas", SLIDER,
    ),
    Design(
        "stackview orthogonal", 3,
        "import stackview\nstack = data.transpose(2, 1, 0)[:, ::-1]",
        "stackview.orthogonal(stack, display_min=0, display_max=1)",
        ".jp-OutputArea canvas", SLIDER,
    ),
    Design(
        "ipyniivue (WebGL in software)", 3,
        "from ipyniivue import NiiVue\nimg.to_filename('brain.nii.gz')",
        "viewer = NiiVue()\nviewer.load_volumes([{'path': 'brain.nii.gz'}])\nviewer",
        ".jp-OutputArea canvas", ".jp-OutputArea canvas",
        ("Control+u", "Control+d"),
    ),
    Design(
        "nilearn view_img, by click", 3,
        "from nilearn.plotting import view_img",
        "view_img(img, bg_img=None, threshold=None, cmap='gray', symmetric_cmap=False, colorbar=False)",
        "canvas", "canvas",
        None, 0.15, ".jp-OutputArea iframe",
    ),
]  # fmt: skip
STATIC = "SliceViewer, static page"
RELEASED = " (release)"
WRITE_PAGE = """
from pathlib import Path
page = "<!doctype html><meta charset='utf-8'><title>brain</title>" + SliceViewer(img).to_html()
Path("viewer.html").write_text(page, encoding="utf-8")
"""

# Begins the observation, see above. `next` forgets what was, `changed` waits for a picture that stands still.
OBSERVER = """
drawn => {
    const SIDE = 128, STILL = 60, PATIENCE = 3000;
    const context = new OffscreenCanvas(SIDE, SIDE).getContext("2d", {willReadFrequently: true});
    context.imageSmoothingEnabled = false;
    const observer = window.observer = {presses: [], releases: [], paints: []};
    let last = null, begun = 0;

    const now = event => event.timeStamp + event.view.performance.timeOrigin - performance.timeOrigin;
    const heard = new WeakSet();
    function hear(page) {
        if (heard.has(page)) return;
        heard.add(page);
        const lists = {keydown: "presses", mousedown: "presses", mouseup: "releases"};
        for (const type in lists)
            page.addEventListener(type, event => {
                if (event.key !== "Control") observer[lists[type]].push(now(event));
            }, true);
    }

    function find() {
        const frames = [...document.querySelectorAll("iframe")].map(frame => frame.contentDocument);
        for (const page of [document, ...frames]) {
            const found = page?.querySelector(drawn);
            if (found) return found;
        }
    }

    function samples() {
        const element = find();
        if (!element) return null;
        hear(element.ownerDocument.defaultView);
        if (element.tagName === "IMG" && !(element.complete && element.naturalWidth)) return null;
        if (!element.width || !element.height) return null;
        context.clearRect(0, 0, SIDE, SIDE);
        context.drawImage(element, 0, 0, SIDE, SIDE);
        const pixels = new Uint32Array(context.getImageData(0, 0, SIDE, SIDE).data.buffer);
        return pixels.some(pixel => pixel !== 0) ? pixels : null;
    }

    function isPicture(pixels) {
        const counts = new Map();
        for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
        return Math.max(...counts.values()) < 0.9 * pixels.length;
    }

    function look() {
        const pixels = samples();
        if (!pixels || last?.every((pixel, n) => pixel === pixels[n])) return;
        if (!last && !isPicture(pixels)) return;
        last = pixels;
        painted.port2.postMessage(null);
    }
    const painted = new MessageChannel();
    painted.port1.onmessage = () => observer.paints.push(performance.now());

    observer.next = () => {
        Object.assign(observer, {presses: [], releases: [], paints: []});
        begun = performance.now();
    };
    observer.changed = () => new Promise(resolve => {
        const ask = () => {
            const {presses, releases, paints} = observer, time = performance.now();
            if (paints.length ? time - paints.at(-1) > STILL : time - begun > PATIENCE)
                resolve([presses, releases].map(times => {
                    const begin = times.at(-1), painted = paints.find(paint => paint > begin);
                    return painted === undefined ? null : painted - begin;
                }));
            else setTimeout(ask, 5);
        };
        ask();
    });

    const probe = document.createElement("div");
    probe.style.cssText = "position: fixed; top: 0; height: 1px; visibility: hidden; contain: strict";
    const place = () => document.documentElement.append(probe);
    document.documentElement ? place() : addEventListener("DOMContentLoaded", place);
    new ResizeObserver(look).observe(probe);
    let wide = false;
    function frame() {
        wide = !wide;
        probe.style.width = wide ? "2px" : "1px";
        requestAnimationFrame(frame);
    }
    hear(window);
    frame();
}
"""


class Traffic:
    """Counts what a page receives."""

    def __init__(self, session):
        self.received = 0
        session.on("Network.webSocketFrameReceived", self._frame)
        session.on("Network.loadingFinished", self._response)

    def _frame(self, event):
        payload, is_text = event["response"]["payloadData"], event["response"]["opcode"] == 1
        self.received += len(payload.encode()) if is_text else len(payload) * 3 // 4  # base64

    def _response(self, event):
        self.received += event["encodedDataLength"]

    async def settle(self):
        """Wait until nothing has come for half a second, at most 15 s; return the sum of bytes."""
        for _ in range(30):
            before = self.received
            await asyncio.sleep(0.5)
            if self.received == before:
                break
        return self.received


@contextlib.contextmanager
def lab(folder, home):
    """Serve a folder with JupyterLab, with nobody's settings; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = home / "JUPYTERLAB_SETTINGS_DIR" / "@jupyter-widgets" / "jupyterlab-manager"
    settings.mkdir(parents=True)
    (settings / "plugin.jupyterlab-settings").write_text('{"saveState": true}')
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}",
        "--ip=127.0.0.1", "--IdentityProvider.token=bench", f"--ServerApp.root_dir={folder}",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_WORKSPACES_DIR", "JUPYTERLAB_SETTINGS_DIR"):
        environment[name] = str(home / name)
    with open(home / "lab.log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/api")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def wait_until_it_answers(address, seconds=60):
    """Return when there is an answer."""
    for _ in range(seconds * 5):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(address, timeout=5)
        time.sleep(0.2)
    sys.exit("JupyterLab does not come up: try `jupyter lab` by hand.")


def write_notebook(path, *sources):
    """Write a notebook with these code cells."""
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [empty | {"id": f"cell{n}", "source": source} for n, source in enumerate(sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))


async def run_cell(page, number):
    """Run a cell of the notebook by keyboard."""
    await page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(number).click()
    await page.keyboard.press("Control+Enter")


async def open_and_load(page, address):
    """Open a notebook, wait for its kernel, run the first cell."""
    await page.goto(address)
    await page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    await run_cell(page, 0)
    await page.get_by_text("all loaded", exact=True).wait_for(timeout=60_000)


async def measure_in_lab(browser, address, folder, number, design):
    """Return all figures of a design in JupyterLab."""
    notebook = folder / f"{number}.ipynb"
    write_notebook(notebook, LOAD + design.imports + SAY_LOADED, design.show)
    context = await browser.new_context(viewport={"width": 1400, "height": 1000})
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    await session.send("Network.enable")
    traffic = Traffic(session)
    await open_and_load(page, f"{address}/lab/workspaces/w{number}/tree/{notebook.name}?token=bench")

    before = await traffic.settle()
    await page.evaluate(OBSERVER, design.drawn)
    await page.evaluate("observer.next()")
    await run_cell(page, 1)
    await page.wait_for_function("observer.paints.length > 0", timeout=60_000)
    ran, first = await page.evaluate("[observer.presses.at(-1), observer.paints[0]]")
    live, presses = await measure_live(page, design)
    figures = {"first": first - ran, "live": live - ran, "start": await traffic.settle() - before}
    figures |= await measure_steps(page, traffic, design)
    figures["start"] -= presses * figures["step"]
    figures["saved"] = await saved_bytes(page, notebook)
    await context.close()
    stop_kernels(address)
    return figures


async def prepare(browser, address, folder):
    """Write the static page in a notebook, which warms up JupyterLab and Chromium as well."""
    write_notebook(folder / "page.ipynb", LOAD + DESIGNS[1].imports + WRITE_PAGE + SAY_LOADED)
    page = await browser.new_page()
    await open_and_load(page, f"{address}/lab/workspaces/page/tree/page.ipynb?token=bench")
    await page.close()
    stop_kernels(address)


async def open_static(browser, written):
    """Open the page that needs no kernel; return its context, page, traffic and first picture's time."""
    context = await browser.new_context(viewport={"width": 1400, "height": 1000})
    page = await context.new_page()
    drawn = f".slicewise-still img, {OURS}"  # the still picture, until the planes have replaced it
    await page.add_init_script(f"({OBSERVER})({json.dumps(drawn)})")
    session = await context.new_cdp_session(page)
    await session.send("Network.enable")
    traffic = Traffic(session)
    await page.goto(written.as_uri())
    await page.wait_for_function("observer.paints.length > 0", timeout=60_000)
    return context, page, traffic, await page.evaluate("observer.paints[0]")


async def measure_static(browser, folder):
    """Return the figures of the page that needs no kernel."""
    written, firsts = folder / "viewer.html", []
    for left in reversed(range(OPENINGS)):
        context, page, traffic, first = await open_static(browser, written)
        firsts.append(first)
        if left:
            await context.close()
    live, _ = await measure_live(page, DESIGNS[1])
    figures = {"first": statistics.median(firsts), "live": live, "start": written.stat().st_size}
    figures |= await measure_steps(page, traffic, DESIGNS[1])
    await context.close()
    return figures


async def measure_live(page, design):
    """Return when a first step's picture was painted, on the page's clock, and how many presses it took."""
    await give_focus(page, design)
    await page.evaluate("observer.next()")
    for presses in range(1, 10):
        await aim(page, design, presses)
        await press(page, design, 0)
        with contextlib.suppress(PlaywrightTimeoutError):
            await page.wait_for_function("observer.paints.length > 0", timeout=3000)
            return await page.evaluate("observer.paints[0]"), presses
    sys.exit(f"{design.name}, {design.planes}: no key has changed the picture; try its cells by hand.")


async def measure_steps(page, traffic, design):
    """Return what single steps and a held key do in a viewer that stands on the page."""
    chance = random.Random(0)
    await give_focus(page, design)
    before = traffic.received
    times = []
    for step in range(STEPS):
        await aim(page, design, step)
        await page.evaluate("observer.next()")
        await asyncio.sleep(chance.random() / 60)
        await press(page, design, step)
        times.append(await page.evaluate("observer.changed()"))
    traffic_per_step = (await traffic.settle() - before) / STEPS
    figures = median_and_p95([since_press for since_press, _ in times])
    figures["step"] = traffic_per_step
    if design.keys:
        return figures | await measure_held(page, design.keys[1])
    if is_ours(design.name):  # it has drawn before
        return figures
    return figures | {"released": median_and_p95([since_release for _, since_release in times])}


def median_and_p95(times):
    """Return the two figures of steps, of which some may have changed nothing."""
    if None in times:
        print(f"{times.count(None)} of {STEPS} presses changed nothing", file=sys.stderr)
    times = [time for time in times if time is not None]
    return {"median": statistics.median(times), "p95": statistics.quantiles(times, n=20)[-1]}


async def give_focus(page, design):
    """Put the focus where keys make steps, and the mouse there as well, as some viewers want it."""
    if design.keys:
        target = page.locator(design.handle).first
        await target.scroll_into_view_if_needed()
        await target.hover(force=True)
        await target.focus()


async def aim(page, design, step):
    """Move the mouse to where it will click: back and forth between places far apart.

    Before the random wait, as the browser hears of moves at the beginning of a frame only: a click that
    followed at once would always find the whole frame before it, which no key does.
    """
    if not design.keys:
        document = page.frame_locator(design.frame) if design.frame else page
        box = await document.locator(design.handle).bounding_box()
        down = 0.35 + 0.3 * (step % 2) + 0.001 * step
        await page.mouse.move(box["x"] + design.across * box["width"], box["y"] + down * box["height"])


async def press(page, design, step):
    """Make one step: up for the first half, then down; or by click."""
    if design.keys:
        return await page.keyboard.press(design.keys[step >= STEPS // 2])
    await page.mouse.down()
    await asyncio.sleep(CLICK)
    await page.mouse.up()


async def measure_held(page, key):
    """Return pictures per second and dropped steps while a key repeats, whether the page keeps up or not."""
    *modifiers, key = key.split("+")
    for modifier in modifiers:
        await page.keyboard.down(modifier)
    await page.evaluate("observer.next()")
    due = RATE * HELD_SECONDS
    begin, sent = time.perf_counter(), []
    for n in range(due):
        await asyncio.sleep(max(0, begin + n / RATE - time.perf_counter()))
        sent.append(asyncio.create_task(page.keyboard.down(key)))
    await asyncio.gather(*sent)
    for name in (key, *modifiers):
        await page.keyboard.up(name)
    await page.evaluate("observer.changed()")
    presses, paints = await page.evaluate("[observer.presses, observer.paints]")
    end = presses[0] + 1000 * HELD_SECONDS + 100
    pictures = sum(paint <= end for paint in paints)
    hurried = sum(later - sooner < 1000 / 60 for sooner, later in pairwise(presses))
    return {"per_second": pictures / HELD_SECONDS, "dropped": max(0, due - hurried - pictures)}


async def saved_bytes(page, notebook):
    """Save the notebook; return the bytes of the second cell's outputs and of the widgets' state."""
    written = notebook.stat().st_mtime_ns
    await page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
    await page.keyboard.press("Control+s")
    for _ in range(100):
        await asyncio.sleep(0.2)
        if notebook.stat().st_mtime_ns != written:
            break
    await asyncio.sleep(1)
    saved = json.loads(notebook.read_text())
    parts = saved["cells"][1]["outputs"], saved["metadata"].get("widgets", {})
    return sum(len(json.dumps(part)) for part in parts)


def stop_kernels(address):
    """Stop all kernels of the server, so that none disturbs the next design."""
    headers = {"Authorization": "token bench"}
    with urllib.request.urlopen(urllib.request.Request(f"{address}/api/sessions", headers=headers)) as answer:
        sessions = json.load(answer)
    for session in sessions:
        request = urllib.request.Request(
            f"{address}/api/sessions/{session['id']}", headers=headers, method="DELETE"
        )
        urllib.request.urlopen(request).close()


async def measure_all(folder, home):
    """Return the figures of every design, by name and number of planes."""
    figures = {}
    with lab(folder, home) as address:
        async with async_playwright() as playwright:
            program = os.environ.get("SLICEWISE_CHROMIUM") or shutil.which("chromium")
            browser = await playwright.chromium.launch(executable_path=program, args=CHROMIUM_OPTIONS)
            await prepare(browser, address, folder)
            for number, design in enumerate(DESIGNS):
                try:
                    measured = await measure_in_lab(browser, address, folder, number, design)
                except PlaywrightTimeoutError:
                    sys.exit(f"{design.name}, {design.planes}: no picture came; try its cells by hand.")
                released = measured.pop("released", None)
                figures[design.name, design.planes] = measured
                if released:
                    figures[design.name + RELEASED, design.planes] = released
            figures[STATIC, 3] = await measure_static(browser, folder)
            await browser.close()
    return figures


COLUMNS = {  # name of a figure: heading, divisor, decimals
    "median": ("median ms", 1, 1),
    "p95": ("p95 ms", 1, 1),
    "per_second": ("pictures/s", 1, 1),
    "dropped": ("dropped", 1, 0),
    "first": ("first ms", 1, 0),
    "live": ("live ms", 1, 0),
    "step": ("kB/step", 1e3, 1),
    "start": ("kB start", 1e3, 0),
    "saved": ("kB saved", 1e3, 0),
}


def print_table(figures):
    """Print the figures, then each design's divided by those of ours with as many planes."""
    for title, is_ratio in (("1 mm MNI brain", False), ("times ours with as many planes", True)):
        print(f"{title:40}" + "".join(f"{heading:>12}" for heading, _, _ in COLUMNS.values()))
        for (name, planes), row in figures.items():
            ours = figures["SliceViewer", planes]
            cells = [cell(row.get(key), ours[key] if is_ratio else None, key) for key in COLUMNS]
            print(f"{name + f', {planes}':40}" + "".join(f"{text:>12}" for text in cells))
        print()


def cell(value, ours, key):
    """Return the text of one figure, or of its ratio to ours."""
    _, divisor, decimals = COLUMNS[key]
    if value is None or ours == 0:
        return "–"
    return f"{value / divisor:.{decimals}f}" if ours is None else f"{value / ours:.2f}"


def is_ours(name):
    """Tell our designs from the peers'."""
    return name.startswith("SliceViewer")


def print_goals(figures):
    """Print each goal, the figure, and whether it was met."""
    ours = {design: row for design, row in figures.items() if is_ours(design[0])}
    for (name, planes), row in ours.items():
        print(f"{name}, {planes}:")
        goal("median at most 16.7 ms", row["median"], row["median"] <= 16.7)
        goal("95th percentile at most 33 ms", row["p95"], row["p95"] <= 33)
        if "dropped" in row:
            goal(f"steps dropped at {RATE} Hz: none", row["dropped"], row["dropped"] == 0)
        goal("first picture under 500 ms", row["first"], row["first"] < 500)
        faster = figures["interact + matplotlib", planes]["median"] / row["median"]
        goal("at least 6 times faster than interact", faster, faster >= 6)
        for key, best in (("median", min), ("p95", min), ("per_second", max), ("first", min), ("live", min)):
            if key not in row:
                continue
            rivals = [peer for peer in figures if peer not in ours and peer[1] == planes]
            peers = {
                peer[0]: figures[peer][key]
                for peer in rivals
                if key in figures[peer] and not peer[0].endswith(RELEASED)
            }
            peer = best(peers, key=peers.get)
            met = best(row[key], peers[peer]) == row[key]
            goal(f"{COLUMNS[key][0]}: no worse than {peer}, {peers[peer]:.1f}", row[key], met)


def goal(words, figure, met):
    """Print one goal."""
    print(f"  {words:66}{figure:9.1f}  {'met' if met else 'MISSED'}")


def main():
    """Measure, print the tables and the goals."""
    missing = [name for name in PEERS if find_spec(name) is None]
    if missing:
        sys.exit(f"These peers are missing: {', '.join(missing)}. Install them with pip, then start again.")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as home:
        figures = asyncio.run(measure_all(Path(folder), Path(home)))
    print_table(figures)
    print_goals(figures)


if __name__ == "__main__":
    main()
