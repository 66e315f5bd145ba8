"""Data sheets: what the catalogue, the files themselves and the simulator's docstring say of a data set."""

import inspect
import re
from html import escape
from importlib import import_module

from .dataset import catalogue, size_text

SOURCES = ("bundled", "original")
CODES = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "top", "I": "bottom"}


class Overview:
    """All data sets in one table, which a notebook shows."""

    def __repr__(self):
        return f"<Overview of {len(catalogue())} data sets>"

    def _repr_html_(self):
        head = ("Data set", "Lessons", "Bundled", "Original")
        rows = [
            (name, ", ".join(map(str, table["lessons"])), *(_kind(table.get(source)) for source in SOURCES))
            for name, table in catalogue().items()
        ]
        left = "style='text-align: left'"  # Jupyter puts numbers, and so all, to the right
        cells = ["".join(f"<th scope='col' {left}>{escape(text)}</th>" for text in head)]
        for first, *rest in rows:
            cells.append(f"<th scope='row' {left}>{first}</th>")
            cells[-1] += "".join(f"<td {left}>{escape(text)}</td>" for text in rest)
        table = f"<table class='table'>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
        # Where the page is narrower than the table, it scrolls by itself, by keyboard too.
        look = "role='region' aria-label='All data sets' tabindex='0' style='overflow-x: auto'"
        return f"<div {look}>{table}</div>"


def _kind(table):
    """Return in words what one source of a data set is, and its licence."""
    if not table:
        return "–"
    return f"{'simulated' if 'simulator' in table else 'published'}, {table['licence']}"


class Sheet:
    """All that is known of a data set, from both sources; a notebook shows it as text with links.

    Parameters
    ----------
    dataset : Dataset
        From either source. What its files hold is read from their headers.
    """

    def __init__(self, dataset):
        self.dataset = dataset

    def __repr__(self):
        return f"<Sheet of {self.dataset.name}>"

    def _repr_markdown_(self):
        name = self.dataset.name
        return "\n\n".join(
            _part(name, source, table, self.dataset)
            for source, table in catalogue()[name].items()
            if source in SOURCES
        )


def _part(name, source, table, dataset):
    """Return what there is to say of one source of a data set."""
    kind = "simulated" if "simulator" in table else "published data"
    fetch = f"`fetch_{name}({'' if source == 'bundled' else repr(source)})`"
    here = source == dataset.source
    rows = [
        ("Size and place", table["grid"]),
        ("Values", table["values"]),
        ("Read from the headers", "; ".join(measured(dataset)) if here else ""),
        ("Comes from", _origin(table)),
        ("Licence", f"[{table['licence']}]({table['licence_url']})"),
        ("Terms of use", table["terms"] or "none beyond the licence"),
        ("Cite", table["citation"] + _doi(table["doi"])),
        ("Fetch", fetch + (f", or `SLICEWISE_SOURCE={source}`" if source == "original" else "")),
        ("Truth", truth(table["simulator"]) if "simulator" in table else ""),
    ]
    lines = [f"**{source.capitalize()}, {kind}.** {table['description']}", ""]
    return "\n".join(lines + [f"- **{key}**: {text}" for key, text in rows if text])


def _doi(doi):
    return f" [doi:{doi}](https://doi.org/{doi})" if doi else ""


def _origin(table):
    """Return where the files of one source come from."""
    if "shipped" in table:
        return "the package nilearn, which brings it along"
    if "simulator" in table:
        return f"a simulation, `data_fetchers.simulate.{table['simulator']}`, {size_text(table['bytes'])}"
    if "nilearn" in table:
        return f"a download by nilearn, `nilearn.datasets.{table['nilearn']}`"
    files = table["files"]
    total = size_text(sum(file["bytes"] for file in files))
    count = f"{len(files)} file{'s' * (len(files) > 1)}"
    folder = re.match(r"https://raw\.githubusercontent\.com/([^/]+/[^/]+)/([^/]+)/", files[0]["addresses"][0])
    place = f"[{folder[1]}](https://github.com/{folder[1]}/tree/{folder[2]})"
    first = f"{table['archive']}; fetched from " if "archive" in table else ""
    return f"{first}{place} at a fixed commit, {count}, {total}, each verified by its SHA-256"


def measured(dataset):
    """Return what the headers of a data set's images say, one text for those that agree.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    list of str
        Names, shape, voxel sizes in mm, time step in s, where the axes lead, and data type.
    """
    import nibabel as nib

    names = {}
    for name, image in (dataset.images or {"image": dataset.image}).items():
        image = nib.load(image[0]) if isinstance(image, list) else image
        if image is None:
            continue
        text = " × ".join(map(str, image.shape))
        if isinstance(image, nib.spatialimages.SpatialImage):
            zooms = [f"{size:.4g}" for size in image.header.get_zooms()]
            codes = nib.aff2axcodes(image.affine)
            text += f", voxels of {' × '.join(zooms[:3])} mm"
            text += f", {zooms[-1]} s" if len(image.shape) > 3 else ""
            text += f", axes {' '.join(codes)} (to the {', '.join(CODES[code] for code in codes)})"
            text += f", {image.get_data_dtype()}"
        else:
            text += f", {image.dtype}"
        names.setdefault(text, []).append(f"`{name}`")
    return [f"{', '.join(several)} {text}" for text, several in names.items()]


def truth(simulator):
    """Return what is known of simulated data as a list in Markdown, from the docstring of ``load_truth``.

    Parameters
    ----------
    simulator : str
        A module of `data_fetchers.simulate`.
    """
    text = inspect.getdoc(import_module(f"data_fetchers.simulate.{simulator}").load_truth)
    known = inspect.cleandoc(text.split("Returns\n-------\n")[1].partition("\n")[2])  # after the type
    return "in the data set's `truth`:\n" + "\n".join(f"  {line}" for line in known.splitlines() if line)
