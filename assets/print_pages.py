"""Print every page of the built website as a PDF file: ``python assets/print_pages.py SITE FOLDER``.

It is what a browser prints, by the styles for paper in ``assets/book``, with everything unfolded. Viewers
stand still, and questions show their answers. The browser is the one that ``SLICEWISE_CHROMIUM`` names.
"""

import os
import re
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PAPER = {
    "format": "A4",
    "margin": {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"},
    "display_header_footer": True,
    "header_template": "<span></span>",
    "footer_template": '<div style="width: 100%; text-align: center; font: 9px sans-serif">'
    '<span class="title"></span> · <span class="pageNumber"></span></div>',
    "outline": True,
    "tagged": True,
    "print_background": True,
}
OTHER = {"_static", "lite"}  # folders of the site without pages of the book
# Pictures far below would not be fetched otherwise, and what unfolds slowly would be printed half unfolded.
UNFOLD = """async () => {
  const style = document.createElement("style");
  style.textContent = "*, *::before, *::after { animation: none !important; transition: none !important }";
  document.head.append(style);
  for (const folded of document.querySelectorAll("details")) folded.open = true;
  for (const picture of document.images) picture.loading = "eager";
  await Promise.all([...document.images].map((picture) => picture.decode().catch(() => {})));
  await window.MathJax?.startup?.promise;
}"""


def open_page(browser, page):
    """Open a page as it is printed.

    Parameters
    ----------
    browser : playwright.sync_api.Browser
    page : Path
        The page's file.

    Returns
    -------
    playwright.sync_api.Page
        Its context is its own.
    """
    tab = browser.new_page(color_scheme="light")
    # Viewers keep their still pictures, and questions their dropdowns, which say what is right and why.
    tab.route(re.compile(r"/(viewers|quiz)\.js"), lambda route: route.abort())
    tab.goto(page.as_uri())
    tab.emulate_media(media="print")
    tab.evaluate(UNFOLD)
    return tab


def main(site, folder):
    """Print all pages that hold text; lessons/glossary.html becomes lessons-glossary.pdf."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["SLICEWISE_CHROMIUM"], args=["--no-sandbox", "--disable-gpu"]
        )
        for page in sorted(site.glob("*/**/*.html")):
            parts = page.relative_to(site).with_suffix("").parts
            if parts[0] not in OTHER:
                tab = open_page(browser, page)
                tab.pdf(path=folder / f"{'-'.join(parts)}.pdf", **PAPER)
                tab.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
