"""Pages that run without a kernel, and what their canvases show."""

import base64
from dataclasses import replace

import numpy as np

from helpers.viewing.packing import choose_coding, decode, encode

ADDRESS = "http://course.test/lesson.html"
# Until frames are painted and the words, which follow 20 ms behind a move, are written.
SETTLE = """() => new Promise((done) =>
  setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 25))"""
PIXELS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return btoa(String.fromCharCode(...data));
}"""

# WCAG's contrast of every text in the viewer against what lies behind it.
CONTRASTS = """() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const bytes = (colour) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = bytes(colour).map((byte) => linear(byte / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (bytes(colour)[3] === 255) return colour;
    }
    return "white";
  };
  const hasText = (element) =>
    element.matches("select") ||
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll(".slicewise-viewer *")]
    .filter((element) => !element.closest(".slicewise-spoken, option") && element.checkVisibility())
    .filter(hasText)
    .map((element) => {
      const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return [`${element.tagName} ${element.textContent.slice(0, 30)}`, contrast];
    });
}"""


def open_html(browser, html, *, url=ADDRESS, wait=True, dark=False, **options):
    """Open HTML in a new context; return the page, with all addresses it asked for as `requested`."""
    context = browser.new_context(**{"viewport": {"width": 1000, "height": 900}} | options)
    page = context.new_page()
    page.requested, page.failures = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("pageerror", lambda error: page.failures.append(str(error)))
    style = "body { margin: 0; color: #ddd; background: #121212 }" if dark else "body { margin: 0 }"
    text = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>A lesson</title>"
        f"<meta name=viewport content='width=device-width'><style>{style}</style><body>{html}</body></html>"
    )
    context.route("**/*", lambda route: route.fulfill(body=text, content_type="text/html"))
    page.goto(url)
    if wait:
        words = "place.querySelector('.slicewise-readout, .slicewise-says')?.textContent"
        places = "[...document.querySelectorAll('.slicewise-page')]"
        page.wait_for_function(f"() => {places}.every((place) => {words})")
    return page


def image_of(text, rows, columns):
    """Return a canvas's pixels, (rows, columns, 3) uint8; all must be opaque."""
    pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(rows, columns, 4)
    assert (pixels[..., 3] == 255).all()
    return pixels[..., :3]


def pixels_of(canvas):
    """Return the pixels of the canvas that a locator finds, (rows, columns, 3) uint8."""
    return image_of(canvas.evaluate(PIXELS), *canvas.evaluate("canvas => [canvas.height, canvas.width]"))


def known(volume):
    """Return a volume as its codes tell it: the same but for floats and very large numbers."""
    if volume.is_colour:
        return volume
    coding = choose_coding(volume.data, fine=True)
    return volume if coding.exact else replace(volume, data=decode(encode(volume.data, coding), coding))
