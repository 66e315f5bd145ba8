"""Look at the pages of the built website in a browser."""

SETTLED = """async () => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  // What is near the view is found out once a frame. A browser that draws none any more has not settled.
  const nextFrame = () => new Promise((done) =>
    requestAnimationFrame(() => requestAnimationFrame(() => done(true))));
  await window.MathJax?.startup?.promise;
  // Down to the end in steps, as what comes near the view is loaded then.
  for (let y = 0; y < document.documentElement.scrollHeight; y += 1500) {
    window.scrollTo(0, y);
    if (!(await Promise.race([nextFrame(), pause(20000)]))) return null;
    await pause(30);
  }
  const waiting = () => [...document.images].some((image) => !image.complete && image.checkVisibility())
    || document.querySelector(".slicewise-page > .slicewise-still, .slicewise-waiting");
  for (let n = 0; n < 600 && waiting(); n++) await pause(50);
  window.scrollTo(0, 0);
  return !waiting();
}"""


def pages_of(site):
    """Return the paths of all pages of a built site, relative to it, the index of the whole first."""
    found = [path.relative_to(site) for path in site.rglob("*.html")]
    return sorted(path.as_posix() for path in found if path.parts[0] not in ("_static", "lite"))


def visit(browser, address, path, *, settle=True, **options):
    """Open a page in a context of its own.

    Parameters
    ----------
    browser : Browser
    address : str
        Of the site.
    path : str
        Of the page within the site.
    settle : bool
        Whether to scroll to its end, wait until all that is loaded then is there, and return to its top.
    **options
        Of the context, such as its viewport.

    Returns
    -------
    Page
        With ``requested``, the addresses it asked for, and ``failures``: errors of the page and its console,
        and answers that say so. Close ``page.context`` when done.

    Raises
    ------
    TimeoutError
        If the browser draws no frame, three times.
    """
    for _ in range(3):
        page = _open(browser, address + path, options)
        if not settle:
            return page
        page.settled = page.evaluate(SETTLED)
        if page.settled is not None:
            return page
        # Without a graphics card Chromium now and then stops drawing a long page, for good.
        page.context.close()
    raise TimeoutError(f"The browser draws no frame of {path}.")


def _open(browser, url, options):
    """Open a page that keeps what it asked for and what failed."""
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 1000}} | options)
    page = context.new_page()
    page.requested, page.failures, page.answers = [], [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("response", lambda answer: page.answers.append(answer))
    page.on("requestfailed", lambda request: page.failures.append(f"{request.url}: {request.failure}"))
    page.on("pageerror", lambda error: page.failures.append(str(error)))
    page.on("console", lambda says: says.type == "error" and page.failures.append(says.text))
    page.goto(url)
    return page
