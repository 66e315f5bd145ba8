"""Make a built page light: what viewers share or need only later goes from the page into files of its own.

A viewer's HTML holds everything, so that it works in any page by itself. In a book the same module and the
same volume would stand in many pages, and a reader would wait for pictures far below. `viewers.js` fetches
what a viewer needs when it comes near the part of the page that is seen.
"""

import hashlib
import json
import re
from base64 import b64decode
from html import escape, unescape
from io import BytesIO

import numpy as np
from PIL import Image

# As `helpers.viewing.page.to_html` writes it; what it embeds can hold no end tag.
VIEWER = re.compile(
    r'<div class="slicewise-page">\s*<style>(?P<style>.*?)</style>'
    r'\s*(?P<still><div class="slicewise-still">.*?</div>)'
    r'\s*<script type="application/json">(?P<state>.*?)</script>'
    r'\s*<script type="text/plain">(?P<module>.*?)</script>\s*<script>(?P<enliven>.*?)</script>'
    r"\s*<script>.*?</script>\s*</div>",
    re.S,
)
EXPORT = "export default"  # one object; a script has no exports
EMBEDDED_PICTURE = re.compile(r'src="data:image/png;base64,([^"]*)"')
PICTURE = re.compile(r"<img [^>]*?>")
# What the theme brings along and no page uses. Font Awesome's drawings of all its icons are 1.5 MB; its font,
# a tenth of that, has the few that the theme shows. Thebe would ask a public server for a kernel.
UNUSED = (
    re.compile(r"\s*<!-- So that users [^>]*>\s*<script [^>]*fontawesome\.js[^>]*></script>"),
    re.compile(r"\s*<script[^>]*>const THEBE_JS_URL.*?</script>", re.S),
    re.compile(r"\s*<script [^>]*sphinx-thebe\.js[^>]*></script>"),
    re.compile(r"\s*<link [^>]*sphinx-thebe\.css[^>]*/?>"),
)
MATHJAX = (
    re.compile(r"\s*<script[^>]*>window\.MathJax = .*?</script>", re.S),
    re.compile(r"\s*<script [^>]*tex-chtml\.js[^>]*></script>"),
)
# On the search page alone: the field for it leads there.
SEARCH = re.compile(r'\s*<script [^>]*(?:searchtools|language_data|searchindex)\.js"></script>')
# Told only once all scripts have come, the theme would change before the reader's eyes.
THEME_LATE = 'dataset.theme = localStorage.getItem("theme") || "auto";'
THEME = (
    'dataset.theme = document.documentElement.dataset.mode !== "auto" ? localStorage.getItem("theme")'
    ' : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";'
)
# Scripts that a page needs only once it is there; an inline script needs the options at once.
EARLY = re.compile(r'<script src="(?![^"]*documentation_options)')
# The explorers' module makes an address of a picture's base64; here its pictures are files, named in full.
EMBEDDED_ADDRESS, ADDRESS = "`data:image/png;base64,${picture}`", "picture"


def lighten(page, root, size_of):
    """Return a page without what it does not use and with its viewers' data in files of their own.

    Parameters
    ----------
    page : str
        The HTML of a page.
    root : str
        The site's root as the page names it: "", "../", …
    size_of : callable
        Gives the width and height of a picture, in pixels, by its address in the page, or None.

    Returns
    -------
    page : str
    files : dict of str to bytes
        By their names in the site's folder ``_viewers``.

    Raises
    ------
    ValueError
        If a viewer does not look as expected.
    """
    files = {}
    first = VIEWER.search(page)
    at_the_top = first is not None and "<h2" not in page[: first.start()].rpartition("</h1>")[2]
    if at_the_top:
        page = page.replace(first[0], _lift(first, root, files, at_the_top), 1)
    page = VIEWER.sub(lambda found: _lift(found, root, files), page)
    if '<div class="slicewise-page">' in page:
        raise ValueError("A viewer's HTML has changed: mend VIEWER in assets/book/lighten.py.")
    # Sphinx loads MathJax in each page above one that has formulae, too.
    for pattern in (*UNUSED, *(() if 'class="math' in page else MATHJAX)):
        page = pattern.sub("", page)
    if 'id="search-results"' not in page:
        head, end, body = page.partition("</head>")
        page = EARLY.sub('<script defer src="', SEARCH.sub("", head)) + end + body
    page = page.replace(THEME_LATE, THEME)
    page = PICTURE.sub(lambda found: _patient(found[0], size_of), page)
    if first:
        needed = f'<link rel="stylesheet" href="{root}_viewers/viewers.css" />\n'
        if not at_the_top:
            needed += f'<script defer src="{root}_viewers/page.js"></script>\n'
            needed += f'<script defer src="{root}_static/viewers.js"></script>\n'
        page = page.replace("</head>", f"{needed}</head>", 1)
    return page, files


def _lift(found, root, files, at_the_top=False):
    """Put the data of a viewer into files and return the HTML that names them."""
    files["viewers.css"] = found["style"].encode()
    files["page.js"] = found["enliven"].encode()
    module = found["module"].replace("<\\/", "</")
    state = json.loads(found["state"])
    if "pictures" in state:
        if module.count(EMBEDDED_ADDRESS) != 1:
            raise ValueError("The explorers' module has changed: mend assets/book/lighten.py.")
        module = module.replace(EMBEDDED_ADDRESS, ADDRESS)
        state["pictures"] = {
            key: [_keep(b64decode(picture), "png", files), text]
            for key, (picture, text) in state["pictures"].items()
        }
    for layer in state.get("_voxels", {}).get("layers", ()):
        voxels = layer["voxels"]
        layer["voxels"] = _keep(b64decode(voxels), "bin", files)
        # For pages opened from a folder, where no script may read.
        _keep_script(layer["voxels"], json.dumps(voxels), files)
    if module.count(EXPORT) != 1:
        raise ValueError("A viewer's module has changed: mend EXPORT in assets/book/lighten.py.")
    module = module.replace(EXPORT, "const exported =")
    name = _name(module.encode(), "module")
    _keep_script(name, f'(() => {{\n"use strict";\n{module}\nreturn exported;\n}})()', files)
    still = EMBEDDED_PICTURE.sub(lambda picture: _still(picture, root, files), found["still"])
    still = still.replace("max-width: 100%", "max-width: 100%; height: auto")
    text = json.dumps(state, allow_nan=False).replace("<", "\\u003c")
    scripts = f'<script type="application/json">{text}</script>'
    if at_the_top:  # it takes its place before what follows it is there, so that nothing has to move
        still = still.replace("<img ", '<img loading="eager" ')
        sources = "_viewers/page.js", f"_viewers/{name}.js", "_static/viewers.js"
        scripts += "".join(f'<script src="{root}{source}"></script>' for source in sources)
    return f'<div class="slicewise-page" data-module="{name}">{still}{scripts}</div>'


def _still(picture, root, files):
    """Keep a still picture as a file and return its attributes."""
    png = b64decode(picture[1])
    width, height = Image.open(BytesIO(png)).size
    ending, content = smallest(png)
    return f'src="{root}_viewers/{_keep(content, ending, files)}" width="{width}" height="{height}"'


def _name(content, ending):
    """Return the name of a file that tells its content."""
    return f"{hashlib.sha256(content).hexdigest()[:16]}.{ending}"


def _keep(content, ending, files):
    """Keep a file and return its name."""
    name = _name(content, ending)
    files[name] = content
    return name


def _keep_script(name, value, files):
    """Keep a JavaScript expression as a script that hands over its value, also to a page in a folder."""
    files[f"{name}.js"] = f'((window.slicewise ??= {{}}).kept ??= {{}})["{name}"] = {value};\n'.encode()


def _patient(tag, size_of):
    """Return the tag of a picture that is loaded when needed, and whose place is kept free until then."""
    if 'loading="' in tag or " src=" not in tag:
        return tag
    added = ' loading="lazy" decoding="async"'
    if "width=" not in tag and "style=" not in tag:
        size = size_of(unescape(re.search(r' src="([^"]*)"', tag)[1]))
        if size:
            added += ' width="{}" height="{}"'.format(*size)
    return tag[:-1].rstrip("/ ") + added + (" />" if tag.endswith("/>") else ">")


def smallest(png):
    """Return a picture in the fewest bytes that keep each pixel as it is.

    Parameters
    ----------
    png : bytes
        A PNG file.

    Returns
    -------
    ending : {"png", "webp"}
    content : bytes
        Of a PNG file without what its pixels do not need, such as opaque alpha and more colours than there
        are; or of a lossless WebP file, if that is much smaller.
    """
    image = Image.open(BytesIO(png))
    image.load()
    if image.mode == "RGBA" and image.getextrema()[3] == (255, 255):
        image = image.convert("RGB")
    if image.mode == "RGB" and image.getcolors(256):
        image = _with_palette(image)
    buffer = BytesIO()
    image.save(buffer, "png", optimize=True)
    png = min(png, buffer.getvalue(), key=len)
    buffer = BytesIO()
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.save(buffer, "webp", lossless=True, exact=True, method=2, quality=60)
    webp = buffer.getvalue()
    return ("webp", webp) if len(webp) < 0.9 * len(png) else ("png", png)


def _with_palette(image):
    """Return an image of at most 256 colours as numbers of a palette, exactly, as Pillow would not."""
    colours, numbers = np.unique(np.asarray(image).reshape(-1, 3), axis=0, return_inverse=True)
    palette = Image.fromarray(numbers.reshape(image.height, image.width).astype(np.uint8), "P")
    palette.putpalette(colours.tobytes())
    return palette


def describe(text, most=155):
    """Return the beginning of a text for search engines: whole words, escaped."""
    text = " ".join(text.split())
    if len(text) > most:
        text = text[:most].rsplit(" ", 1)[0].rstrip(",;:") + " …"
    return escape(text)
