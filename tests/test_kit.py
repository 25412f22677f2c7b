"""What is around the code is true: metadata, citation, forms, hooks, links to the repository."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import fastprop

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not (ROOT / ".github").exists(), reason="not a checkout")

FORMS = ("bug", "feature", "performance")
ADDRESS = "https://github.com/fastprop/fastprop"
YAML = [
    ".clang-format",
    ".pre-commit-config.yaml",
    "CITATION.cff",
    ".github/ISSUE_TEMPLATE/config.yml",
    *(f".github/ISSUE_TEMPLATE/{name}.yml" for name in FORMS),
]


def load(name):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", YAML)
def test_yaml(name):
    assert load(name)


def test_the_version_is_in_one_place():
    settings = project()
    assert "version" not in settings["project"]
    assert settings["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "fastprop.__version__"}
    # A literal is read without importing the package, which would need NumPy at that moment.
    tree = ast.parse((ROOT / "fastprop/__init__.py").read_text(encoding="utf-8"))
    (value,) = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__version__"]
    assert ast.literal_eval(value) == fastprop.__version__
    assert load("CITATION.cff")["version"] == fastprop.__version__


def test_citation_and_metadata_agree():
    citation, metadata = load("CITATION.cff"), project()["project"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == metadata["license"]
    assert citation["repository-code"] == metadata["urls"]["Repository"] == ADDRESS


def test_classifiers():
    """Those of the Python versions begin with the oldest that is allowed."""
    metadata = project()["project"]
    minors = [int(minor) for minor in re.findall(r":: 3\.(\d+)", "\n".join(metadata["classifiers"]))]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert metadata["requires-python"] == f">=3.{minors[0]}"


@pytest.mark.parametrize("name", FORMS)
def test_form(name):
    form = load(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "labels", "body"} == form.keys()
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    for field in form["body"]:
        assert field.keys() <= {"type", "id", "attributes", "validations"}
        assert field["attributes"]["label"]
        assert field["type"] in {"textarea", "input", "dropdown", "checkboxes"}
        assert field["type"] not in {"dropdown", "checkboxes"} or field["attributes"]["options"]


def test_hooks_are_pinned_and_find_files():
    config = load(".pre-commit-config.yaml")
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "kernels").rglob("*.*")]
    for repository in config["repos"]:
        assert re.fullmatch(r"v\d+\.\d+\.\d+", repository["rev"]), repository["repo"]
        for hook in repository["hooks"]:
            assert "files" not in hook or any(re.search(hook["files"], name) for name in files), hook["id"]
    left_out = [name for name in files if re.search(config["exclude"], name)]
    assert set(left_out) == {f"kernels/cython_backend/{name}" for name in ("spec.h", "spec.pxi", "api.pxi")}


def test_links_to_the_repository_are_to_one_address():
    names = ["CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "README.md", "SECURITY.md", "CITATION.cff", "pyproject.toml", *YAML]
    for name in names:
        found = re.findall(r"https://github\.com/[\w.-]+/fastprop\b", (ROOT / name).read_text(encoding="utf-8"))
        assert set(found) <= {ADDRESS}, name


@pytest.mark.parametrize("name", ["CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_between_pages(name):
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text(encoding="utf-8")):
        path, _, heading = link.partition("#")
        if link.startswith("http"):
            continue
        assert (ROOT / path).exists(), link
        headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
        assert not heading or heading in {text.lower().replace(" ", "-") for text in headings}, link


def test_the_code_of_conduct_has_a_contact():
    text = (ROOT / "CODE_OF_CONDUCT.md").read_text(encoding="utf-8")
    assert "INSERT CONTACT" not in text
    assert f"<{ADDRESS}/security/advisories/new>" in text
