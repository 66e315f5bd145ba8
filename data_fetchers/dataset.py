"""What a fetch function returns, and the catalogue that says what there is."""

import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any


@lru_cache
def catalogue():
    """Return the catalogue, which cannot be changed: data set's name → its record, as the lessons come.

    A record has ``title``, ``lessons`` and one table for each source, ``bundled`` and ``original``; a data
    set that is the same in both, or has no original, has ``bundled`` alone. A source has ``description``,
    ``grid``, ``values`` (what the numbers are), ``licence`` (an SPDX identifier where there is one),
    ``licence_url``, ``citation``, ``doi``, ``terms``, perhaps ``show_terms`` (each user sees them once) and
    ``archive`` (where they were first published, if they are fetched from elsewhere), and says where its
    files come from:

    - ``files``: tables of ``path`` in the cache, ``bytes``, ``sha256`` and ``addresses``, tried in order; if
      there is a ``member``, what lies at the addresses is an archive, and the file is that member of it;
    - ``shipped``: files of an installed package, as package/path;
    - ``simulator``: a module of `data_fetchers.simulate`, with ``inputs`` written as ``shipped`` is, about
      how many ``bytes`` it makes, and perhaps ``uses``, other modules there that it imports;
    - ``nilearn``: a function of `nilearn.datasets`, which keeps its files in its own way.

    In the TOML file, ``files`` are short: a list of name, bytes, SHA-256 and, where it differs, the name at
    the addresses. ``folder`` stands before the names in the cache, and each of ``addresses`` before the names
    at the addresses; instead of ``addresses`` there may be ``archives``, and the names are those of members.
    """
    with open(Path(__file__).with_name("catalogue.toml"), "rb") as file:
        records = tomllib.load(file)
    for table in (table for sources in records.values() for table in sources.values()):
        if isinstance(table, dict) and "files" in table:
            table["files"] = [_file(table, *row) for row in table["files"]]
    return _frozen(records)


def _frozen(value):
    """Return a value of TOML with all that it holds as mappings and tuples, which cannot be changed."""
    if isinstance(value, dict):
        return MappingProxyType({key: _frozen(part) for key, part in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _file(table, name, n_bytes, sha256, there=None):
    """Return one file of the catalogue, written out."""
    there = there or name
    file = {"path": f"{table['folder']}/{name}", "bytes": n_bytes, "sha256": sha256}
    if "archives" in table:
        return file | {"addresses": table["archives"], "member": there}
    return file | {"addresses": [base + there for base in table["addresses"]]}


def record(name, source):
    """Return the catalogue's table for one source of a data set.

    Raises
    ------
    ValueError
        If there is no data set of this name.
    """
    if name not in catalogue():
        raise ValueError(f"There is no data set {name!r}; choose from {', '.join(catalogue())}.")
    return catalogue()[name].get(source) or catalogue()[name]["bundled"]


def size_text(n_bytes):
    """Return a size for people, in powers of 1000."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= step:
            return f"{n_bytes / step:.1f} {unit}"
    return f"{n_bytes} bytes"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """One data set from one source.

    Attributes
    ----------
    name : str
        The name that the catalogue uses, as in ``fetch_epi``.
    title : str
        A name for people.
    source : {"bundled", "original"}
        Made or shipped on this machine, or the published data.
    description : str
        What the data show and how they came to be.
    licence : str
        What you may do with them: the licence's name.
    citation : str
        Whom to cite.
    paths : list of Path
        The files, ready to be read.
    image : image object, ndarray or None
        The main image: of a volume, a nibabel image, and nothing of its data is in memory yet if it is one
        file; of a picture, an array (row, column).
    images : dict or None
        All images by name; lists of paths where there is one for each person.
    table : pandas.DataFrame or None
        The table, for data that are a table.
    anatomy : image object or None
        An anatomical image of the same subject.
    truth : dict or None
        What is known because the data are simulated.
    terms : str
        What else is asked of you; empty if nothing.
    """

    name: str
    title: str
    source: str
    description: str
    licence: str
    citation: str
    paths: list[Path] = field(default_factory=list)
    image: Any = None
    images: dict | None = None
    table: Any = None
    anatomy: Any = None
    truth: dict | None = None
    terms: str = ""

    @property
    def kind(self):
        """What sort of data these are, for titles: ``"simulated"`` or ``"published data"``."""
        return "simulated" if "simulator" in record(self.name, self.source) else "published data"

    def __repr__(self):
        has = [f"{len(self.paths)} file{'s' * (len(self.paths) != 1)}"]
        has += [
            f"{name} {_shape(getattr(self, name))}"
            for name in ("image", "anatomy", "table")
            if self._has(name)
        ]
        has += [
            f"{name}: {', '.join(getattr(self, name))}" for name in ("images", "truth") if self._has(name)
        ]
        return f"<Dataset {self.name}, {self.source}; {'; '.join(has)}>"

    def _has(self, name):
        return getattr(self, name) is not None

    def _repr_markdown_(self):
        """Return the data card."""
        table = record(self.name, self.source)
        doi = f" [doi:{table['doi']}](https://doi.org/{table['doi']})" if table["doi"] else ""
        shipped = ", shipped with nilearn" if "shipped" in table else ""
        total = size_text(sum(path.stat().st_size for path in self.paths if path.is_file()))
        shown = ", ".join(path.name for path in self.paths[:4]) + (", …" if len(self.paths) > 4 else "")
        rows = [
            ("Source", f"{self.kind.capitalize()}{shipped} (`source={self.source!r}`)"),
            ("Grid", table["grid"]),
            ("Licence", f"[{self.licence}]({table['licence_url']})"),
            ("Terms", self.terms),
            ("Cite", self.citation + doi),
            ("Files", f"{len(self.paths)}, {total}: {shown}"),
            ("Truth", _known(self.truth)),
        ]
        # A list and no table: the website takes the markdown of outputs for plain CommonMark.
        lines = [f"**{self.title}**", "", self.description, ""]
        return "\n".join(lines + [f"- **{key}**: {text}" for key, text in rows if text])


def _known(truth):
    """Return in a sentence what is known for certain of a data set."""
    if not truth:
        return "None was published with these data."
    names = ", ".join(f"`{name}`" for name in truth)
    return f"In `truth`, as the data are simulated: {names}. The data sheet says what each is."


def _shape(data):
    return "×".join(str(n) for n in data.shape)
