"""What is said where a package is missing that calscipy does not install by itself."""

import tomllib
from pathlib import Path

import pytest

from calscipy.blocks.device import INSTALL_CUPY
from calscipy.io.optional import PACKAGES, MissingPackageError, optional

EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]["optional-dependencies"]


def test_the_packages_are_those_of_the_extras():
    assert {extra: list(packages) for extra, packages in PACKAGES.items()} == {
        extra: EXTRAS[extra] for extra in PACKAGES
    }
    for extra in ("gpu-cuda12", "gpu-cuda13"):
        assert f'"{EXTRAS[extra][0]}"' in INSTALL_CUPY


@pytest.mark.parametrize("extra", PACKAGES)
def test_the_packages_are_named_not_calscipy(extra):
    """The name calscipy on PyPI belongs to another package."""
    with pytest.raises(MissingPackageError, match="pip install ") as caught:
        optional("no_such_module_at_all", extra=extra, purpose="tests")
    said = str(caught.value)
    assert "calscipy" not in said
    assert all(f'"{package}"' in said for package in EXTRAS[extra])


def test_no_message_asks_for_an_extra_of_a_package_on_pypi():
    sources = (Path(__file__).parents[2] / "calscipy").rglob("*.py")
    assert [file for file in sources if "calscipy[" in file.read_text(encoding="utf-8")] == []
