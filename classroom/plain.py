"""Turn a lesson's MyST into Markdown that every Jupyter shows, with ``<details>`` for what folds."""

import re
from html import escape

FENCE = re.compile(r"^(:{3,})\{([\w-]+)\} *(.*)$")
CODE_FENCE = re.compile(r"^(`{3,}|~{3,})")
CODE_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.S)
GLOSSARY_LINK = re.compile(r"\[([^\]]+)\]\(glossary\.md#([\w-]+)\)")
RELATIVE_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?![a-z]+:|#)[^)]*\)")
UNKNOWN = {
    "directive": re.compile(r"^:::.*$|^(?:`{3,}|~{3,})\{.*$", re.M),
    "role": re.compile(r"\{[a-z][\w:-]*\}(?=\0)"),
    "label": re.compile(r"^\([\w-]+\)=$", re.M),
    "substitution": re.compile(r"\{\{.*?\}\}"),
    "stored picture": re.compile(r"!\[.*"),
}


class Unreadable(ValueError):
    """A lesson uses something that plain Markdown has no form for; the message names it."""


def plain_markdown(text, glossary=(), worth=""):
    """Turn MyST into plain Markdown.

    Exercises become headings, dropdowns ``<details>``, notes, tips and warnings quotations. Terms linked to
    the glossary explain themselves under the pointer, and once more in :func:`words`: links within a
    notebook lead astray in some Jupyters. Links to other files of the course become their text.

    Parameters
    ----------
    text : str
        The MyST source of a markdown cell or a page.
    glossary : mapping of str to (str, str)
        The terms that may be linked, as :func:`read_glossary` returns them.
    worth : str
        What is added to the heading of an exercise, say ``"2 points"``.

    Returns
    -------
    str
        The same in plain Markdown.

    Raises
    ------
    Unreadable
        If it uses another directive, a role, a label, or a term that the glossary lacks.
    """
    for _, anchor in GLOSSARY_LINK.findall(text):
        if anchor not in glossary:
            raise Unreadable(f"The glossary has no term “{anchor}”; add it, or mend the link.")
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(_convert(text.split("\n"), worth))).strip()
    text = GLOSSARY_LINK.sub(lambda link: _explained(link[1], glossary[link[2]][1]), text)
    text = RELATIVE_LINK.sub(r"\1", text)
    lines = text.split("\n")
    prose = "\n".join(line for line, code in zip(lines, _code_lines(lines), strict=True) if not code)
    prose = CODE_SPAN.sub("\0", prose)
    for kind, pattern in UNKNOWN.items():
        if found := pattern.search(prose):
            raise Unreadable(
                f"Plain Jupyter cannot show the {kind} `{found[0].strip()}`; say it in Markdown, "
                "an exercise, a dropdown, a note, a tip or a warning."
            )
    return text


def _convert(lines, worth):
    """Return lines with each directive converted, from the inside out."""
    done, start, is_code = [], 0, _code_lines(lines)
    while start < len(lines):
        directive = None if is_code[start] else FENCE.match(lines[start])
        start += 1
        if directive is None:
            done.append(lines[start - 1])
            continue
        colons, kind, title = directive.groups()
        end = next((i for i in range(start, len(lines)) if lines[i].rstrip() == colons), None)
        if end is None:
            raise Unreadable(f"The directive `{directive[0]}` is never closed; add a line `{colons}`.")
        body = lines[start:end]
        while body and re.match(r":[\w-]+:", body[0]):
            body = body[1:]
        done += ["", *_directive(kind, title, _convert(body, worth), worth), ""]
        start = end + 1
    return done


def _directive(kind, title, body, worth):
    """Return the lines of one directive in plain Markdown."""
    while body and not body[0].strip():
        body = body[1:]
    if kind == "exercise":
        return [" · ".join([f"#### Exercise: {title}", *([worth] if worth else [])]), "", *body]
    if kind == "dropdown":
        return details(title, "\n".join(body)).split("\n")
    if kind == "admonition":  # a question whose choices fold: a quotation would hold them, but badly
        return [f"#### {title}", "", *body]
    if kind in ("note", "tip", "warning"):
        quoted = [f"**{kind.capitalize()}.**{' ' + title if title else ''} {body[0] if body else ''}".strip()]
        return [f"> {line}".rstrip() for line in quoted + body[1:]]
    return [f":::{{{kind}}} {title}", *body]  # found and refused at the end, where all else is


def details(title, body):
    """Return Markdown that folds under a title; the title may hold code, emphasis and formulae."""
    title = re.sub(r"`+([^`]+)`+", r"<code>\1</code>", escape(title, quote=False))
    title = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", title)
    title = re.sub(r"\*([^*]+)\*", r"<i>\1</i>", title)
    return f"<details>\n<summary><u>{title}</u></summary>\n\n{body.strip()}\n\n</details>"


def _code_lines(lines):
    """Return for each line whether it belongs to a block of code."""
    is_code, fence = [], ""
    for line in lines:
        found = CODE_FENCE.match(line)
        opens = not fence and found and "{" not in line
        is_code.append(bool(fence or opens))
        if opens:
            fence = found[1]
        elif line.rstrip() == fence:
            fence = ""
    return is_code


def read_glossary(text):
    """Return the terms of the glossary page: anchor -> (term, explanation in plain Markdown)."""
    pairs = re.findall(r"^## (.+)\n+((?:(?!#).*\n?)*)", text, flags=re.M)
    slug = {term: re.sub(r"[^\w-]", "", term.lower().replace(" ", "-")) for term, _ in pairs}
    return {slug[term]: (term, plain_markdown(meaning)) for term, meaning in pairs}


def words(texts, glossary):
    """Return the section that explains the terms linked from MyST texts; empty if there are none."""
    linked = sorted({anchor for text in texts for _, anchor in GLOSSARY_LINK.findall(text)})
    explained = [f"**{term}.** {meaning}" for term, meaning in map(glossary.get, linked)]
    return "\n\n".join(["## Words", *explained]) if linked else ""


def _explained(text, meaning):
    """Return a term whose explanation appears under the pointer, as plain text."""
    return f'<abbr title="{escape(" ".join(re.sub(r"[*`$]", "", meaning).split()))}">{text}</abbr>'
