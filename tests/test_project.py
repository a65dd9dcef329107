"""The files around the library agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
MAIN_COMMAND = "pip install . && calscipy demo"
TEST_COMMAND = 'pip install -e ".[test]" && pytest -n auto --dist worksteal'


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(read("pyproject.toml"))["project"]


@pytest.fixture(scope="module")
def conda():
    """Bound of every conda package in environment.yml, by name."""
    listed = yaml.safe_load(read("environment.yml"))["dependencies"]
    requirements = [Requirement(line) for line in listed if isinstance(line, str)]
    return {requirement.name: requirement.specifier for requirement in requirements}


def test_environment_has_every_core_dependency_with_its_bound(project, conda):
    core = [Requirement(line) for line in project["dependencies"]]
    wanted = {requirement.name: requirement.specifier for requirement in core}
    assert {name: conda.get(name) for name in wanted} == wanted


def test_environment_asks_for_the_same_python(project, conda):
    assert str(conda["python"]) == project["requires-python"]


def test_environment_has_the_gpu_and_the_interactive_figures(conda):
    assert {"cupy", "cupy-xarray", "bokeh", "panel"} <= conda.keys()


def test_no_dependency_pulls_zarr_back_to_version_2(project):
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    names = {Requirement(line).name for line in [*project["dependencies"], *extras]}
    assert names.isdisjoint({"hdmf-zarr", "neuroconv"})


def test_version_is_written_once_and_cited():
    version = re.search(r'^__version__ = "(.+)"$', read("calscipy/_version.py"), re.MULTILINE)
    assert version is not None
    assert str(yaml.safe_load(read("CITATION.cff"))["version"]) == version.group(1)


@pytest.mark.parametrize("command", [MAIN_COMMAND, TEST_COMMAND])
def test_readme_gives_the_command_in_a_block_of_its_own(command):
    assert f"```sh\n{command}\n```" in read("README.md")


def test_ci_runs_the_command_of_the_readme():
    assert TEST_COMMAND in [line.strip() for line in read(".ci/run").splitlines()]
