"""The reference pages hold every public name, every data set and every source, as the code has them."""

import inspect
import re
import sys
from importlib import import_module
from urllib.parse import unquote

import nibabel as nib
import numpy as np
import pytest
import yaml
from pybtex.database import parse_file

import data_fetchers
from data_fetchers.dataset import Dataset, catalogue
from data_fetchers.sheets import Overview, Sheet, measured
from tests.lessonfile import ROOT, read

PACKAGES = ["helpers", "helpers.viewing", "helpers.registration", "helpers.cohort", "data_fetchers"]
SOURCES = parse_file(str(ROOT / "lessons" / "references.bib")).entries


def documented():
    """Return the objects that the reference pages describe, by their full names."""
    found = {}
    for page in (ROOT / "reference").glob("*.md"):
        text = page.read_text("utf-8")
        package = re.search(r"^\.\. py:module:: (.+)$", text, flags=re.M)[1]
        found[package] = import_module(package)
        for name in re.findall(r"^\.\. automodule:: (.+)$", text, flags=re.M):
            found[name] = import_module(name)
        for name in re.findall(r"^\.\. auto(?:function|class|exception):: (.+)$", text, flags=re.M):
            home, _, last = name.replace("::", ".").rpartition(".")
            found[f"{home or package}.{last}"] = getattr(import_module(home or package), last)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_described(package):
    module = import_module(package)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == package]
    names = getattr(module, "__all__", None) or [
        name for name in own if not name.startswith("_") and name != "main"
    ]
    described = documented().values()
    assert [name for name in names if not any(getattr(module, name) is each for each in described)] == []


def test_every_name_in_a_docstring_leads_somewhere():
    """In single backticks stand names that become links, and arguments and attributes; all else in double."""
    described, lost = documented(), []
    for place, value in described.items():
        text = inspect.getdoc(value) or ""
        own = {
            name for line in re.findall(r"^(\w+(?:, \w+)*) : ", text, flags=re.M) for name in line.split(", ")
        }
        for name in re.findall(r"`([^`]+)`", re.sub(r"``.+?``", "", text, flags=re.S)):
            links = [each for each in described if f".{each}".endswith(f".{name}")]
            if name not in own and len(links) != 1:
                lost.append(f"{place}: {name}")
    assert lost == []


def test_every_data_set_has_its_sheet():
    cells = read(ROOT / "lessons" / "data_sheets.md").cells
    titles = [title for cell in cells for title in re.findall(r"^## (.+)$", cell.source, flags=re.M)]
    assert titles[: len(catalogue())] == [table["title"] for table in catalogue().values()]
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    shown = re.findall(r"^(\w+) = fetch_(\w+)\(\)$(?s:.+?)^Sheet\((\w+)\)$", code, flags=re.M)
    assert [name for _, name, _ in shown] == list(catalogue())
    assert all(variable == in_sheet for variable, _, in_sheet in shown)


def test_the_overview_names_every_data_set_and_licence():
    shown = Overview()._repr_html_()
    for name, table in catalogue().items():
        row = re.search(rf"<tr><th scope='row'[^>]*>{name}</th>.+?</tr>", shown)[0]
        sources = [table[source] for source in ("bundled", "original") if source in table]
        assert all(source["licence"] in row for source in sources)
        assert row.count("simulated") == sum("simulator" in source for source in sources)


@pytest.mark.parametrize("name", catalogue())
def test_a_sheet_says_all_that_the_catalogue_says(name):
    said = Sheet(Dataset(name, "", "bundled", "", "", ""))._repr_markdown_()
    for source in {"bundled", "original"} & set(catalogue()[name]):
        table = catalogue()[name][source]
        for key in ("description", "grid", "values", "licence", "licence_url", "terms", "citation", "doi"):
            assert table[key] in said, key
        assert all(file["addresses"][0].split("/")[4] in said for file in table.get("files", ())[:1])


@pytest.mark.parametrize(
    "name", [name for name, table in catalogue().items() if "simulator" in table["bundled"]]
)
def test_a_sheet_names_every_truth(name):
    d = getattr(data_fetchers, f"fetch_{name}")("bundled")
    said = Sheet(d)._repr_markdown_().split("**Truth**")[1]
    assert [key for key in d.truth if f"`{key}`" not in said] == []


def test_what_a_sheet_measures():
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    img = nib.Nifti1Image(np.zeros((4, 5, 6, 7), np.int16), affine)
    img.header.set_zooms((2.0, 3.0, 4.0, 1.5))
    d = Dataset("epi", "", "bundled", "", "", "", images={"run": img, "picture": np.zeros((8, 9), np.uint8)})
    assert measured(d) == [
        "`run` 4 × 5 × 6 × 7, voxels of 2 × 3 × 4 mm, 1.5 s, axes L A S (to the left, front, top), int16",
        "`picture` 8 × 9, uint8",
    ]


def test_every_doi_is_in_the_bibliography():
    known = [entry.fields["doi"] for entry in SOURCES.values() if "doi" in entry.fields]
    assert len(set(known)) == len(known)
    places = [*ROOT.glob("lessons/**/*.md"), *ROOT.glob("classroom/**/*.md"), ROOT / "README.md"]
    places += [path for folder in ("helpers", "data_fetchers") for path in (ROOT / folder).rglob("*.py")]
    places += [ROOT / "data_fetchers" / "catalogue.toml"]
    named, missing = 0, []
    for path in places:
        for found in re.findall(r"\b10\.\d{4,9}/\S+", unquote(path.read_text("utf-8"))):
            named += 1
            if not any(re.match(re.escape(doi) + r"(?!\w)", found) for doi in known):
                missing.append(f"{path.name}: {found}")
    assert missing == [] and named > 40


def test_every_source_can_be_found_and_says_what_it_is_good_for():
    page = (ROOT / "lessons" / "bibliography.md").read_text("utf-8")
    sections = re.findall(r'^:filter: keywords % "(\w+)"$', page, flags=re.M)
    assert {entry.fields["keywords"] for entry in SOURCES.values()} == set(sections)
    for key, entry in SOURCES.items():
        assert {"doi", "url", "isbn"} & set(entry.fields), key
        assert entry.fields["usedin"] and len(entry.fields["annotation"].split()) >= 3, key


def test_the_landing_page_cites_the_course_as_citation_cff_does():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    text = (ROOT / "lessons" / "index.md").read_text("utf-8").split("```bibtex")[1].split("```")[0]
    fields = dict(re.findall(r"^ +(\w+) += \{+(.+?)\}+,?$", text, flags=re.M))
    assert fields == {
        "title": citation["title"],
        "author": citation["authors"][0]["name"],
        "version": citation["version"],
        "year": yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["copyright"],
    }


def test_docstrings_become_links(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "assets" / "book"))
    tidy = import_module("reference_pages").tidy_docstring
    sys.modules.pop("reference_pages")
    lines = [
        "By Otsu [1]_.",
        "",
        ".. [1] Otsu 1979, doi 10.1109/TSMC.1979.4310076.",
        "(Or doi 10.1016/S1361-8415(98)80022-4), so.",
        "",
        "    y = x in it",
    ]
    tidy(None, "function", "f", None, None, lines)
    assert lines == [
        "By Otsu [1].",
        "",
        "-  [1] Otsu 1979, `doi:10.1109/TSMC.1979.4310076 <https://doi.org/10.1109/TSMC.1979.4310076>`__.",
        "(Or `doi:10.1016/S1361-8415(98)80022-4 <https://doi.org/10.1016/S1361-8415%2898%2980022-4>`__), so.",
        "",
        ".. code-block:: text",
        "",
        "    y = x in it",
    ]
