"""One environment: ``pyproject.toml`` names the packages, ``constraints.txt`` their versions."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIN_LINES = (ROOT / "constraints.txt").read_text().splitlines()
PINS = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in PIN_LINES}
INSTALLED = {canonicalize_name(each.name): each for each in importlib.metadata.distributions()}


def test_constraints_are_names_and_versions_only():
    assert [line for line in PIN_LINES if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    assert len(PINS) == len(PIN_LINES)


@pytest.mark.parametrize("group", ["dependencies", *PROJECT["optional-dependencies"]])
def test_every_dependency_is_pinned_to_a_version_it_allows(group):
    wanted = PROJECT["dependencies"] if group == "dependencies" else PROJECT["optional-dependencies"][group]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_installed_versions_are_the_pinned_ones():
    both = INSTALLED.keys() & PINS.keys()
    wrong = {name: INSTALLED[name].version for name in both if INSTALLED[name].version != PINS[name]}
    assert wrong == {} and "numpy" in both


def test_whatever_a_dependency_pulls_in_is_pinned():
    missing = set()
    for name in INSTALLED.keys() & PINS.keys():
        for requirement in map(Requirement, INSTALLED[name].requires or []):
            pulled = canonicalize_name(requirement.name)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and pulled not in PINS and pulled not in {"pip", "setuptools"}:
                missing.add(f"{pulled} (for {name})")
    assert missing == set()


def test_pins_work_on_the_oldest_python_allowed():
    """A pin that wants 3.11.5 shuts out Debian's 3.11.2."""
    oldest = re.search(r">=(3\.\d+)", PROJECT["requires-python"]).group(1) + ".0"
    needs = {
        name: INSTALLED[name].metadata.get("Requires-Python", "") for name in INSTALLED.keys() & PINS.keys()
    }
    assert {name: need for name, need in needs.items() if not SpecifierSet(need).contains(oldest)} == {}


def test_conda_adds_python_and_pip_only():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert (environment["channels"], pip) == (["conda-forge"], "pip")
    assert packages == {"pip": ["-c constraints.txt", "-e ."]}
    name, _, version = python.partition("=")
    assert name == "python" and SpecifierSet(PROJECT["requires-python"]).contains(version)
