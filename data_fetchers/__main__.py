"""The command line: ``python -m data_fetchers list | where | check | get NAME… | get --all | repair``."""

import argparse
import os
import sys

import data_fetchers

from . import cache
from .cache import FetchError
from .dataset import catalogue, record, size_text


def main(arguments=None):
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m data_fetchers", description="The course's data sets.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="what there is, and what of it is on this machine")
    commands.add_parser("where", help="the cache folders, in the order of search")
    commands.add_parser("check", help="verify every file that is there")
    commands.add_parser("repair", help="delete what is damaged, and get it again, or outdated")
    get = commands.add_parser(
        "get",
        help="make the simulated and download the published data; SLICEWISE_SOURCE picks one of the two",
    )
    get.add_argument("names", nargs="*", metavar="NAME")
    get.add_argument("--all", action="store_true", help="every data set")
    asked = parser.parse_args(arguments)
    if asked.command == "get" and bool(asked.names) == asked.all:
        get.error("name the data sets, or give --all")
    try:
        if asked.command == "get":
            status = _get(list(catalogue()) if asked.all else asked.names)
        else:
            status = {"list": _list, "where": _where, "check": _check, "repair": _repair}[asked.command]()
        sys.stdout.flush()
    except (FetchError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; nothing half-made is left.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _list():
    rows = [("NAME", "LESSONS", "SOURCE", "STATE", "SIZE", "LICENCE")]
    for name, source in _sources():
        lessons = " ".join(map(str, catalogue()[name]["lessons"]))
        rows.append((name, lessons, source, *_state(name, source), record(name, source)["licence"]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _where():
    for folder in cache.folders():
        why = _why_unwritable(folder)
        print(f"{folder}  ({'takes no files: ' + why if why else 'writable'})")
    return 0


def _check():
    faults, ready = [], 0
    for name, source in _sources():
        try:
            state, size = _state(name, source)
        except FetchError as error:
            faults.append(str(error))
            continue
        ready += state == "ready"
        print(f"{name}, {source}: {state}{f' ({size})' if size else ''}")
        faults += [f"{path} is damaged." for path in cache.damaged(name, source)]
    halves = sum(len(cache.leftovers(name)) for name in catalogue())
    if all(map(_why_unwritable, cache.folders())):
        places = ", ".join(map(str, cache.folders()))
        faults.append(
            f"No cache folder takes files ({places}); set SLICEWISE_DATA to one that you may write to."
        )
    for place in (folder / "made" for folder in cache.folders() if not _why_unwritable(folder)):
        if os.path.lexists(place) and (why := cache.why_unwritable(place)):
            faults.append(f"{place} takes no simulated data ({why}); delete it by hand.")
    for fault in faults:
        print(fault)
    old = sum(len(cache.outdated(name)) for name in catalogue())
    if old:
        print(f"{old} simulated by an older version of the course; `repair` deletes them.")
    if halves:
        print(
            f"{halves} unfinished, of a process at work or one that was killed; `repair` deletes the latter."
        )
    if faults:
        print(f"Found {len(faults)} fault{'s' * (len(faults) > 1)}: run `python -m data_fetchers repair`.")
    else:
        print(
            f"Nothing is wrong: {ready} of {len(_sources())} sources are ready, the rest comes when needed."
        )
    return bool(faults)


def _why_unwritable(folder):
    """Return why a cache folder takes no files or cannot be created, else None; create nothing."""
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    return cache.why_unwritable(there)


def _get(names):
    for name in names:
        record(name, "bundled")  # every name is known before any work begins
    wanted = os.environ.get("SLICEWISE_SOURCE") and data_fetchers.chosen_source()
    status = 0
    for name, source in _sources():
        same_in_both = "original" not in catalogue()[name]
        if name in names and (same_in_both or wanted in (None, "", source)):
            status |= _fetch(name, source)
    return status


def _repair():
    status, n_deleted = 0, 0
    for name in catalogue():
        broken = [source for source in ("bundled", "original") if cache.damaged(name, source)]
        for path in cache.repair(name):
            print(f"Deleted {path}")
            n_deleted += 1
        for source in broken:
            status |= _fetch(name, source)
            for path in cache.damaged(name, source):
                print(f"{path} is damaged and not yours to delete; tell its owner.", file=sys.stderr)
                status = 1
    print(f"Deleted {n_deleted}; {'something is still wrong' if status else 'nothing is wrong now'}.")
    return status


def _fetch(name, source):
    """Get one source and print what it holds, or why not; return the exit status."""
    try:
        print(repr(getattr(data_fetchers, f"fetch_{name}")(source)))
    except FetchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _sources():
    """Return (name, source) of all there is; what is the same in both sources counts once."""
    both = ("bundled", "original")
    return [(name, source) for name, table in catalogue().items() for source in both if source in table]


def _state(name, source):
    """Return in words whether a source is on this machine, and its size if known."""
    table = record(name, source)
    if "shipped" in table:
        return "ready", size_text(sum(path.stat().st_size for path in cache.shipped(table["shipped"])))
    if "simulator" in table:
        folder = cache.find_made(name)
        if folder is None:
            return "made when needed", size_text(table["bytes"])
        return "ready", size_text(sum(path.stat().st_size for path in folder.rglob("*")))
    if "nilearn" in table:
        maps = {path for folder in cache.folders() for path in (folder / name).glob("oasis1/*/mwrc1*.nii.gz")}
        return f"{len(maps)} subjects here" if maps else "not here", "unknown"
    here = sum(cache.find(file) is not None for file in table["files"])
    state = {0: "not here", len(table["files"]): "ready"}.get(
        here, f"{here} of {len(table['files'])} files here"
    )
    return state, size_text(sum(file["bytes"] for file in table["files"]))


if __name__ == "__main__":
    sys.exit(main())
