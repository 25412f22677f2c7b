"""What is said twice about packages: Pythons, dependencies and modules in pyproject.toml, the workflows, .ci/run and the recipe."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = ROOT / ".github" / "workflows"

pytestmark = pytest.mark.skipif(not WORKFLOWS.exists(), reason="not a checkout")


@pytest.fixture
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def python_versions(pyproject):
    prefix = "Programming Language :: Python :: 3."
    return {line.removeprefix(prefix) for line in pyproject["project"]["classifiers"] if line.startswith(prefix)}


def test_there_are_wheels_for_every_python(pyproject):
    built = set(re.findall(r"cp3(\d+)-", " ".join(pyproject["tool"]["cibuildwheel"]["build"])))
    assert python_versions(pyproject) <= built
    assert f"3.{min(built, key=int)}" == pyproject["project"]["requires-python"].removeprefix(">=")


def test_workflows_test_the_oldest_and_the_newest_python(pyproject):
    (matrix,) = re.findall(r"python: \[(.*)\]", (WORKFLOWS / "tests.yml").read_text())
    built = sorted(re.findall(r"cp3(\d+)-", " ".join(pyproject["tool"]["cibuildwheel"]["build"])), key=int)
    assert re.findall(r"3\.(\d+)", matrix) == [built[0], built[-1]]


@pytest.mark.parametrize("name", ["tests", "wheels", "docs", "nightly"])
def test_workflows_may_read_and_little_more(name):
    text = (WORKFLOWS / f"{name}.yml").read_text()
    assert "\npermissions:\n  contents: read\n" in text
    assert "pull_request_target" not in text
    assert all("@" in used for used in re.findall(r"uses: (\S+)", text))


def test_ci_asks_for_every_module_that_is_compiled():
    setup, ci = (ROOT / "setup.py").read_text(), (ROOT / ".ci" / "run").read_text()
    (table,) = re.findall(r"^ISA_FLAGS = \{\n(.*?)^\}", setup, re.DOTALL | re.MULTILINE)
    isas = re.findall(r'^    "(\w+)":', table, re.MULTILINE) + re.findall(r'^ISA_FLAGS\["(\w+)"\] = \[\*', setup, re.MULTILINE)
    (asked,) = re.findall(r"modules = (\[.*?\]) if", ci)
    assert {f"_{isa}" for isa in isas} == set(re.findall(r'"(\w+)"', asked))
    assert {path.stem for path in (ROOT / "kernels" / "cython_backend").glob("_*.pyx")} == {f"_{isa}" for isa in isas}


def test_ci_builds_with_what_pyproject_requires(pyproject):
    (required,) = re.findall(r"^BUILD_REQUIRES=\((.*)\)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert re.findall(r"'([^']+)'", required) == pyproject["build-system"]["requires"]


def test_the_recipe_is_that_of_pyproject(pyproject):
    recipe = (ROOT / "conda" / "recipe" / "recipe.yaml").read_text()
    run = recipe.split("  run:\n")[1].split("\n\n")[0]
    for requirement in pyproject["project"]["dependencies"]:
        assert requirement.replace(">=", " >=") in run
    for requirement in pyproject["build-system"]["requires"]:
        assert re.split("[>=]", requirement)[0].lower() in recipe.split("  host:\n")[1].split("  run:")[0]
