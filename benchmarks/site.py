"""What a reader waits for: the built website against a plain Jupyter Book of the same text.

Run it as ``python benchmarks/site.py [FOLDER]`` after ``python3 course.py book``; FOLDER is another built
site to measure in place of ``_build/html``. The plain book is built in the same run, of three of the pages,
with Jupyter Book's own settings. A page is opened as Lighthouse does for a telephone: a small screen, a
processor four times slower, 1.6 Mbit/s with 150 ms of delay, an empty cache. Runs of both sites alternate;
medians are shown. What a page asks of other hosts is refused and counted: its bytes and its time are in no
figure.
"""

import contextlib
import functools
import gzip
import http.server
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import course  # noqa: E402

PAGES = {"landing page": "lessons/index", "a lesson": "lessons/01_image_intro", "API": "reference/helpers"}
RUNS = 3
OPTIONS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
PHONE = {"viewport": {"width": 412, "height": 823}, "device_scale_factor": 1.75, "is_mobile": True}
SLOWER = 4
NETWORK = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 94_000}
FIGURES = {  # and their decimals
    "kB over the wire": 0,
    "requests": 0,
    "asked of other hosts": 0,
    "first contentful paint, s": 2,
    "largest contentful paint, s": 2,
    "total blocking time, s": 2,
    "cumulative layout shift": 3,
}
PACKED = {".css", ".html", ".js", ".json", ".md", ".svg", ".txt"}  # by any web server
# Chromium's own observers; a task counts from 50 ms on, as in Lighthouse.
OBSERVE = """
window.figures = { paint: 0, largest: 0, shift: 0, tasks: [] };
const watch = (type, react) =>
  new PerformanceObserver((list) => list.getEntries().forEach(react)).observe({ type, buffered: true });
watch("paint", (entry) => {
  if (entry.name === "first-contentful-paint") figures.paint = entry.startTime;
});
watch("largest-contentful-paint", (entry) => (figures.largest = entry.startTime));
watch("layout-shift", (entry) => {
  if (!entry.hadRecentInput) figures.shift += entry.value;
});
watch("longtask", (entry) => figures.tasks.push([entry.startTime, entry.duration]));
"""
# At rest is a page 5 s after its last request and its last long task: until then a reader may have to wait.
AT_REST = """(asked) => {
  const [start, duration] = figures.tasks.at(-1) ?? [0, 0];
  return document.readyState === "complete" && performance.now() > Math.max(start + duration, asked) + 5000;
}"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serve a folder as a web server does: text is packed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Send a file."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = packed(path) if path.suffix in PACKED else path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(len(content)))
        if path.suffix in PACKED:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content)

    def log_message(self, *_):
        """Keep the terminal for the table."""


@functools.cache
def packed(path):
    """Return a file packed as for the way; done once, so that no run waits for it."""
    return gzip.compress(path.read_bytes(), mtime=0)


@contextlib.contextmanager
def served(folder):
    """Serve a folder at this machine; yield its address."""
    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def build_plain(folder):
    """Build the pages with Jupyter Book's own settings; what the text itself needs to be read is kept."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "_build", "__pycache__", "*.egg-info"))
    ours = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    text = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinxcontrib.bibtex"]
    plain = {name: ours[name] for name in ("title", "author", "parse")}
    plain["only_build_toc_files"] = True
    plain["execute"] = {"execute_notebooks": "force", "timeout": 600}
    plain["bibtex_bibfiles"] = ["lessons/references.bib"]
    plain["sphinx"] = {"extra_extensions": [*ours["sphinx"]["extra_extensions"], *text]}
    (folder / "_config.yml").write_text(yaml.safe_dump(plain), encoding="utf-8")
    first, *others = PAGES.values()
    toc = {"format": "jb-book", "root": first, "chapters": [{"file": each} for each in others]}
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    environment = course.child_environment() | {"SLICEWISE_SOURCE": "bundled", "NO_COLOR": "1"}
    builder = shutil.which("jupyter-book", path=str(course.SCRIPTS))
    words = [builder, "build", "--keep-going", str(folder)]
    run = subprocess.run(words, env=environment, capture_output=True, text=True)
    site = folder / "_build" / "html"
    missing = [page for page in PAGES.values() if not (site / f"{page}.html").is_file()]
    if run.returncode or missing:
        sys.exit(f"the plain book lacks {', '.join(missing) or 'nothing'}: {run.stderr[-2000:]}")
    return site


def visit(browser, address):
    """Return the figures of one visit with an empty cache."""
    context = browser.new_context(**PHONE)
    page = context.new_page()
    host, seen = urlsplit(address).netloc, {"bytes": 0, "requests": 0, "elsewhere": 0}

    def sort(request):
        if request.url.startswith("http"):  # not data: and blob:
            seen["requests" if urlsplit(request.url).netloc == host else "elsewhere"] += 1

    def count(event):
        seen["bytes"] += event["encodedDataLength"]

    page.on("request", sort)
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", NETWORK)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    devtools.on("Network.loadingFinished", count)
    page.add_init_script(OBSERVE)
    page.goto(address, wait_until="load", timeout=300_000)
    last = -1
    while last != seen["requests"]:  # what a page asks for late counts, too
        last, now = seen["requests"], page.evaluate("performance.now()")
        page.wait_for_function(AT_REST, arg=now, timeout=300_000)
    found = page.evaluate("figures")
    context.close()
    blocking = sum(max(0, n - 50) for start, n in found["tasks"] if start + n > found["paint"])
    counts = seen["bytes"] / 1000, seen["requests"], seen["elsewhere"]
    times = found["paint"] / 1000, found["largest"] / 1000, blocking / 1000
    return dict(zip(FIGURES, (*counts, *times, found["shift"]), strict=True))


def medians(runs):
    """Return the median of each figure over several visits."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def main():
    """Print a table for each page."""
    site = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "_build" / "html").resolve()
    for page in PAGES.values():
        if not (site / f"{page}.html").is_file():
            sys.exit(f"{site} holds no {page}.html: run `python3 course.py book` first.")
    chromium = os.environ.get("SLICEWISE_CHROMIUM") or course.find_chromium()
    with tempfile.TemporaryDirectory() as folder:
        plain = build_plain(Path(folder) / "plain")
        with served(site) as ours, served(plain) as theirs, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
            for name, page in PAGES.items():
                addresses = [f"{each}/{page}.html" for each in (ours, theirs)]
                runs = [[visit(browser, address) for address in addresses] for _ in range(RUNS)]
                table(name, *(medians(side) for side in zip(*runs, strict=True)))
            browser.close()
    print(f"medians of {RUNS} visits; plain: Jupyter Book's own settings; of its pages, three are built")


def table(name, ours, plain):
    """Print the figures of one page."""
    print(f"{name:32}{'Slicewise':>12}{'plain':>12}{'ratio':>9}")
    for figure, digits in FIGURES.items():
        value, peer = ours[figure], plain[figure]
        ratio = f"{value / peer:9.2f}" if peer else "-".rjust(9)
        print(f"  {figure:30}{value:12.{digits}f}{peer:12.{digits}f}{ratio}")
    print()


if __name__ == "__main__":
    main()
