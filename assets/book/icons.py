"""Keep of Font Awesome only what the site shows: a dozen icons out of two thousand."""

import re

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

FONTS = "vendor/fontawesome/webfonts"
RULE = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"(\\[0-9a-f]+|[^"\\])"\}')
SOURCES = re.compile(
    r'url\([^)]*fa-solid-900\.woff2\) format\("woff2"\),url\([^)]*\.ttf\) format\("truetype"\)'
)
ESCAPE = re.compile(r'"\\([ef][0-9a-f]{3})"')


def keep_used_icons(static, pages):
    """Reduce the theme's icon font, and its style sheet, to the icons that pages, scripts and styles name.

    Parameters
    ----------
    static : Path
        The site's folder of static files.
    pages : iterable of str
        The HTML of all pages.
    """
    sheet = static / "styles" / "pydata-sphinx-theme.css"
    style = sheet.read_text(encoding="utf-8")
    named = set()
    for text in (*pages, *(path.read_text(encoding="utf-8") for path in static.glob("scripts/*.js"))):
        named |= set(re.findall(r"\bfa-[\w-]+", text))
    shown = set()

    def keep_if_named(rule):
        if not named & set(re.findall(r"fa-[\w-]+", rule[1])):
            return ""
        shown.add(int(rule[2][1:], 16) if rule[2].startswith("\\") else ord(rule[2]))
        return rule[0]

    style = RULE.sub(keep_if_named, style)
    for path in static.rglob("*.css"):
        text = RULE.sub("", style if path == sheet else path.read_text(encoding="utf-8"))
        shown |= {int(code, 16) for code in ESCAPE.findall(text)}
        shown |= {ord(letter) for letter in text if 0xE000 <= ord(letter) <= 0xF8FF}
    font = TTFont(static / FONTS / "fa-solid-900.ttf")
    options = Options()
    options.flavor = "woff"
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=shown)
    subsetter.subset(font)
    font.flavor = "woff"
    font.save(static / FONTS / "fa-solid-900.woff")
    style, count = SOURCES.subn(f'url(../{FONTS}/fa-solid-900.woff) format("woff")', style)
    if count == 0:
        raise ValueError("The theme's style sheet has changed: mend SOURCES in assets/book/icons.py.")
    sheet.write_text(style, encoding="utf-8")
