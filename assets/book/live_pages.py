"""Sphinx extension of this book: pages that are complete without a kernel and without another host.

It asks the viewers for HTML of their own, numbers exercises lesson by lesson, offers each lesson as the
student's notebook, says how to run it, and makes the finished pages light.
"""

import os
import re
import shutil
import sysconfig
from html import escape
from pathlib import Path

import nbformat
from docutils import nodes
from icons import keep_used_icons
from lighten import describe, lighten, smallest
from PIL import Image

from classroom.convert import student
from classroom.plain import read_glossary

HERE = Path(__file__).parent
LESSON = re.compile(r"lessons/\d\d_\w+")
NOT_NEEDED = ("scripts/fontawesome.js*", "sphinx-thebe.*", "**/*.map")  # in _static; see lighten.UNUSED
BINDER = "https://mybinder.org/v2/gh/{repository}/{branch}?urlpath=lab/tree/{path}"


def prepare(app, config):
    """Name the site's own scripts and styles, and offer the repository where one is configured."""
    config.html_static_path += [str(HERE.parent / "vendor")]
    styles, scripts = sorted(HERE.glob("*.css")), sorted(HERE.glob("*.js"))
    config.html_static_path += [str(path) for path in (*styles, *scripts)]
    config.html_extra_path += [str(HERE / "404.html")]  # which hosts show for an address that is none
    for style in styles:
        app.add_css_file(style.name)
    for script in scripts:
        if script.name != "viewers.js":  # which only pages with viewers load
            app.add_js_file(script.name, loading_method="defer")
    options = config.html_theme_options
    buttons = ("use_repository_button", "use_edit_page_button", "use_issues_button")
    options.update(dict.fromkeys(buttons, bool(options.get("repository_url"))))
    config.html_domain_indices = False  # of modules: there are five, and the general index names them
    options["navbar_persistent"] = []  # a second field to search, which would hide the logo
    options["use_download_button"] = False  # of the source, which holds the solutions
    config.html_context.setdefault("default_mode", "auto")  # light or dark as the reader's system is
    options.setdefault("logo", {"text": config.html_title, "alt_text": ""})


def run_again(app, env, added, changed, removed):
    """Run every notebook again: Sphinx sees a change in a lesson, but none in the helpers that it calls."""
    return [name for name in env.found_docs if "kernelspec" in env.metadata[name]]


def number_exercises_by_lesson(app, env):
    """Let the exercises of each lesson begin at 1, as in JupyterLab, where a lesson stands alone."""
    for figures in env.toc_fignumbers.values():
        exercises = figures.get("exercise", {})
        for number, label in enumerate(sorted(exercises, key=exercises.get), start=1):
            exercises[label] = (number,)
    return ()  # no page has to be read again


def drop_empty_outputs(app, doctree):
    """Drop what a cell has shown only while it ran, such as how far it was."""
    for block in list(doctree.findall(nodes.literal_block)):
        if "output" in block["classes"] and not block.astext().strip():
            block.parent.remove(block)


def complete_page(app, pagename, templatename, context, doctree):
    """Describe a page to search engines, and say on a lesson how to run it."""
    if doctree is None:
        return
    # The first words, such as a lesson's question, and the first that are more than a few.
    paragraphs = (each for each in doctree.findall(nodes.paragraph) if isinstance(each.parent, nodes.section))
    texts = [text for text in (each.astext() for each in paragraphs) if not text.startswith("Teaching:")]
    texts = texts or [each.astext() for each in doctree.findall(nodes.paragraph)]
    first_words = texts[:1] + [text for text in texts[1:] if len(text) > 60][:1]
    description = describe(" ".join([app.env.titles[pagename].astext() + ".", *first_words]))
    context["metatags"] += f'<meta name="description" content="{description}" />\n'
    if pagename == app.config.root_doc:  # which says at length how to begin, and whose title is the book's
        context["title"] = " ".join(texts[:1]).rstrip(".") or context["title"]
    elif "kernelspec" in app.env.metadata[pagename]:
        heading, end, rest = context["body"].partition("</h1>")
        context["body"] = heading + end + how_to_run(app, pagename, context["pathto"]) + rest
    if LESSON.fullmatch(pagename):
        context["header_buttons"].append(
            {
                "type": "link",
                "url": notebook_address(pagename, context["pathto"]),
                "tooltip": "Download as notebook",
                "icon": "fas fa-download",
                "label": "download-notebook-button",
            }
        )


def how_to_run(app, pagename, pathto):
    """Return the line under a lesson's title that says where its cells can be run."""
    name = f"{pagename}.md"
    ways = [f"in JupyterLab by <code>python3 course.py lab</code>, where it is <code>{escape(name)}</code>"]
    options = app.config.html_theme_options
    address, branch = options.get("repository_url"), options.get("repository_branch") or "main"
    if address and "//github.com/" in address:
        repository = address.rstrip("/").split("//github.com/")[1].removesuffix(".git")
        binder = BINDER.format(repository=repository, branch=branch, path=name)
        ways.append(f'<a href="{escape(binder)}">on Binder</a> in your browser, after some minutes')
    if (lite_folder(app) / "files" / f"{Path(pagename).name}.ipynb").is_file():
        lite = pathto(f"lite/lab/index.html?path={Path(pagename).name}.ipynb", 1)
        ways.append(f'<a href="{lite}">in this browser</a>, with nothing to install')
    if LESSON.fullmatch(pagename):
        notebook = notebook_address(pagename, pathto)
        ways.append(f'as a <a href="{notebook}" download>notebook without solutions</a>')
    text = "; ".join(ways)
    return f'\n<p class="how-to-run">This page was computed by its own cells. Change and run them {text}.</p>'


def notebook_address(pagename, pathto):
    """Return the address of a lesson's notebook as its page names it."""
    return pathto(f"notebooks/{Path(pagename).name}.ipynb", 1)


def lite_folder(app):
    """Return the folder of the JupyterLite site, which `course.py book --lite` makes."""
    return Path(app.srcdir) / "_build" / "lite"


def finish(app, error):
    """Write the students' notebooks, and make the pages light."""
    if error or app.builder.name != "html":
        return
    site, source = Path(app.outdir), Path(app.srcdir)
    glossary = read_glossary((source / "lessons" / "glossary.md").read_text(encoding="utf-8"))
    (site / "notebooks").mkdir(exist_ok=True)
    for lesson in filter(LESSON.fullmatch, app.env.found_docs):
        notebook = student((source / f"{lesson}.md").read_text(encoding="utf-8"), glossary)
        nbformat.write(notebook, site / "notebooks" / f"{Path(lesson).name}.ipynb")
    for pattern in NOT_NEEDED:
        for path in (site / "_static").glob(pattern):
            path.unlink()
    make_light(site, (f"{sysconfig.get_paths()['purelib']}{os.sep}", f"{source}{os.sep}"))
    if lite_folder(app).is_dir():  # as it is: it is a site of its own
        shutil.copytree(lite_folder(app), site / "lite", dirs_exist_ok=True)


def make_light(site, folders):
    """Make all pages of a built site light, without the folders of the machine that has built it."""
    viewers = site / "_viewers"
    viewers.mkdir(exist_ok=True)
    renamed = {}
    for path in (site / "_images").glob("*.png"):
        ending, content = smallest(path.read_bytes())
        path.unlink()
        renamed[f"_images/{path.name}"] = f"_images/{path.stem}.{ending}"
        path.with_suffix(f".{ending}").write_bytes(content)
    texts = []
    for path in sorted(site.rglob("*.html")):
        if path.relative_to(site).parts[0] in ("_static", "lite"):
            continue
        root = "../" * (len(path.relative_to(site).parts) - 1)
        page = path.read_text(encoding="utf-8")
        page = re.sub(r"_images/[\w.-]+\.png", lambda found: renamed.get(found[0], found[0]), page)
        for folder in folders:
            page = page.replace(folder, "")
        page, files = lighten(page, root, lambda address, here=path.parent: size(here / address))
        path.write_text(page, encoding="utf-8")
        for name, content in files.items():
            (viewers / name).write_bytes(content)
        texts.append(page)
    keep_used_icons(site / "_static", texts)


def size(path):
    """Return the width and height of a picture in pixels, or None of what is no picture file."""
    if path.suffix not in (".png", ".webp") or not path.is_file():
        return None
    with Image.open(path) as picture:
        return picture.size


def setup(app):
    """Ask the viewers, which run in kernels that inherit this environment, for HTML of their own."""
    os.environ["SLICEWISE_PAGE"] = "1"
    app.connect("config-inited", prepare)
    app.connect("env-get-outdated", run_again)
    app.connect("env-get-updated", number_exercises_by_lesson, priority=900)  # after Sphinx has numbered
    app.connect("doctree-read", drop_empty_outputs)
    app.connect("html-page-context", complete_page, priority=502)  # after the theme's buttons
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True}
