"""Sphinx extension: pages that can be heard and are valid HTML, where Sphinx and the theme leave that open.

Before each live viewer stands, unseen, what the lesson's author wrote about its picture; the viewer itself
can only tell its state. The rest mends what others' extensions write; a page without it is left as it is.
"""

import re
from html import escape, unescape
from pathlib import Path

from docutils import nodes

LIVE = ('class="slicewise-page"', "<iframe")
HOME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={address}">
<title>{title}</title>
</head>
<body>
<p><a href="{address}">{title}</a></p>
</body>
</html>
"""


def describe_live(app, doctree, docname):
    """Put the alternative text of a cell before its viewer, for those who listen."""
    for cell in doctree.findall(nodes.container):
        alt = cell.get("cell_metadata", {}).get("mystnb", {}).get("image", {}).get("alt")
        for raw in list(cell.findall(nodes.raw)) if alt else ():
            if any(mark in raw.astext() for mark in LIVE):
                said = f'<p class="visually-hidden">{escape(" ".join(alt.split()))}.</p>'
                raw.parent.insert(raw.parent.index(raw), nodes.raw("", said, format="html"))


def mend(page):
    """Return a page of the site as valid and accessible HTML.

    Parameters
    ----------
    page : str

    Returns
    -------
    str
        The same page, if there is nothing to mend.
    """
    page = re.sub(r'<summary aria-label="Toggle hidden content">.*?</summary>', _as_title, page, flags=re.S)
    page = page.replace('<section id="exercise-content">', '<section class="exercise-content">')
    # A list of parameters that has no terms, in a signature of several lines.
    page = re.sub(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>", _as_spans, page)
    # Neither a list nor a paragraph can stand in a paragraph: it ends it.
    page = re.sub(r"<p>(?=<(?:p|ul)[ >])", "", page)
    page = re.sub(r"(</(?:p|ul)>\s*)</p>", r"\1", page)
    # Tables of pandas: site.css has their style; the corner above the row's names is no heading.
    page = re.sub(r"<style scoped>.*?</style>\s*", "", page, flags=re.S)
    page = re.sub(r'<table border="1" class="dataframe">.*?</table>', _tidy_table, page, flags=re.S)
    page = re.sub(r"<iframe [^>]*>", _name_frame, page)
    page = re.sub(r'(?<= href=")[^"]*', _encode, page)
    # The site's name, its search and its contents stand in one part of the page, to which readers can jump.
    return page.replace(
        '<div id="pst-primary-sidebar" class=',
        '<div id="pst-primary-sidebar" role="region" aria-label="Site" class=',
    )


def _as_title(found):
    """Return the title of a folded cell, whose own words are its name, in elements that may stand there."""
    text = found[0].replace(' aria-label="Toggle hidden content"', "")
    return re.sub(r"<(/?)p(?=[ >])", r"<\1span", text)


def _as_spans(found):
    """Return the lines of a signature as lines of text."""
    lines = re.sub(r"<dd>(.*)</dd>", r'<span class="sig-line">\1</span>', found[1])
    return f'<span class="sig-lines">\n{lines}</span>'


def _tidy_table(found):
    """Return a table of pandas without attributes of old, its corner an empty cell."""
    table = re.sub(r' (border|valign)="\w+"', "", found[0])
    return table.replace("<th></th>", "<td></td>")


def _name_frame(found):
    """Return the tag of a frame with the title of the page in it."""
    tag = re.sub(r' frameborder="\d"', "", found[0], flags=re.I)
    title = re.search(r"<title>(.*?)</title>", unescape(tag), re.S)
    return tag if ' title="' in tag or not title else f'{tag[:-1]} title="{escape(title[1].strip())}">'


def _encode(found):
    """Return an address with the two marks encoded that some DOIs have and no address may."""
    return found[0].replace("&lt;", "%3C").replace("&gt;", "%3E").replace("<", "%3C").replace(">", "%3E")


def finish(app, error):
    """Mend all pages, and lead from the site's address to its first page."""
    if error or app.builder.name != "html":
        return
    site = Path(app.outdir)
    home = site / "index.html"
    if app.config.root_doc != "index":  # else Jupyter Book leaves a page without a head
        address = app.builder.get_target_uri(app.config.root_doc)
        home.write_text(HOME.format(address=address, title=escape(app.config.html_title)), encoding="utf-8")
    for path in site.rglob("*.html"):
        if path.relative_to(site).parts[0] not in ("_static", "lite"):
            path.write_text(mend(path.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app):
    """Connect everything."""
    app.connect("doctree-resolved", describe_live, priority=900)  # when it is known what each cell shows
    app.connect("build-finished", finish, priority=900)  # when all else has been written
    return {"parallel_read_safe": True}
