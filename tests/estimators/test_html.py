"""The HTML that a notebook shows: every parameter with its description, and the links."""

import html as html_module
import inspect
import re

import pytest
import sklearn
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

import fastprop

SMALL = {"hidden_layer_sizes": (5,), "max_iter": 3}

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


def _links(html):
    return re.findall(r'href="([^"]*)"', html)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
@pytest.mark.parametrize("fitted", [False, True], ids=["", "fitted"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_estimator(data, pair, target, fitted, solver):
    ours, _ = pair(target, solver=solver, **SMALL)
    if fitted:
        ours.fit(*data(target))
    html = ours._repr_html_()
    assert ours._repr_mimebundle_()["text/html"]
    assert type(ours).__name__ in html
    assert ("Fitted" if fitted else "Not fitted") in html
    # fastprop has no pages of its own; scikit-learn's page of the same class has these parameters too, n_jobs apart.
    assert {link.partition("#")[0] for link in _links(html)} == {ours._get_doc_link()}
    assert ours._get_doc_link().endswith(f"/sklearn.neural_network.{type(ours).__name__}.html")


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"), reason="scikit-learn 1.9 began to show all of them")
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_every_parameter_and_attribute_has_its_description(data, pair, target):
    ours, _ = pair(target, early_stopping=True, **SMALL)
    html = ours.fit(*data(target))._repr_html_()
    described = set(re.findall(r'param-doc-description"\s*style="[^"]*">\s*(\w+): ', html))
    fitted = {name for name in vars(ours) if name.endswith("_") and not name.startswith("_")}
    assert described == set(inspect.signature(type(ours)).parameters) | fitted
    assert "Not a parameter of scikit-learn's estimator" in html_module.unescape(html).replace("<br>", " ")


def test_a_pipeline(data, pair):
    """The links of the other steps stay, and a user's subclass has none."""
    ours, _ = pair("multiclass", **SMALL)
    links = _links(make_pipeline(StandardScaler(), ours).fit(*data("multiclass"))._repr_html_())
    assert {re.search(r"\.(\w+)\.html", link)[1] for link in links if "generated" in link} >= {"StandardScaler", "MLPClassifier"}
    assert type("Mine", (fastprop.MLPClassifier,), {"__module__": "mine"})()._get_doc_link() == ""


def test_a_user_can_set_a_link_in_a_subclass():
    class Documented(fastprop.MLPClassifier):
        _doc_link_module = __name__.split(".")[0]
        _doc_link_template = "https://example.org/{estimator_name}"

    assert _links(Documented()._repr_html_())[0] == "https://example.org/Documented"
