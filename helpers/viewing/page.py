"""A viewer as a piece of a web page that works without a kernel and asks nobody for anything."""

import json
from base64 import b64encode
from functools import lru_cache
from html import escape
from pathlib import Path

PAGE_BYTES = 1_780_000
"""Most bytes of packed voxels and still picture in a page: as base64, with the module, 2.5 MB."""

_HERE = Path(__file__).parent

# What `page.js` needs of this page: bytes come as base64, the module as text.
_START = """
(async (place) => {
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  const state = JSON.parse(place.querySelector("script[type='application/json']").textContent);
  for (const layer of state._voxels?.layers ?? []) layer.voxels = bytes(layer.voxels);
  const source = place.querySelector("script[type='text/plain']").textContent;
  const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  slicewise.enliven(place, state, module.default);
})(document.currentScript.parentElement);
"""


def to_html(module, state, png, alt, title):
    """Return a live viewer as HTML: the module, its state and a still picture for where no script runs.

    Parameters
    ----------
    module : {"viewer.js", "explore.js"}
    state : dict
        Values of the traits that the module reads; ``_voxels["layers"]``, if there, hold packed bytes.
    png : bytes
        Still picture.
    alt : str
        What it shows.
    title : str or None
        Text above it.

    Returns
    -------
    str
        The same state gives the same text.
    """
    plain = dict(state)
    if "_voxels" in state:
        layers = [
            layer | {"voxels": b64encode(layer["voxels"]).decode("ascii")}
            for layer in state["_voxels"]["layers"]
        ]
        plain["_voxels"] = state["_voxels"] | {"layers": layers}
    picture = b64encode(png).decode("ascii")
    heading = f'<div class="slicewise-title">{escape(title)}</div>' if title else ""
    return "".join(
        (
            '<div class="slicewise-page">',
            f"<style>{_source('viewer.css')}</style>",
            f'<div class="slicewise-still">{heading}',
            f'<img src="data:image/png;base64,{picture}" alt="{escape(alt)}" style="max-width: 100%"></div>',
            f'<script type="application/json">{_embedded_json(plain)}</script>',
            f'<script type="text/plain">{_embedded(_source(module))}</script>',
            f"<script>{_source('page.js')}</script>",
            f"<script>{_START}</script>",
            "</div>",
        )
    )


@lru_cache
def _source(name):
    """Return a file beside this one."""
    return (_HERE / name).read_text(encoding="utf-8")


def _embedded(text):
    """Return text that cannot end the script element around it."""
    return text.replace("</", "<\\/")


def _embedded_json(value):
    """Return JSON in which no text can end the script element around it, or hide its end."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
