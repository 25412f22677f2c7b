"""The HTML that a notebook shows: every parameter, and no link to a page about another class."""

import re

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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
    # scikit-learn would link to its own page, which does not know n_jobs; fastprop has no pages of its own.
    assert _links(html) == []
    assert ours._get_doc_link() == ""


def test_a_pipeline(data, pair):
    """The links of the other steps stay."""
    ours, theirs = (make_pipeline(StandardScaler(), e).fit(*data("multiclass")) for e in pair("multiclass", **SMALL))
    links = _links(ours._repr_html_())
    assert any("StandardScaler" in link for link in links)
    assert not [link for link in links if "MLP" in link]
    assert [link for link in _links(theirs._repr_html_()) if "MLP" in link]


def test_a_user_can_set_a_link_in_a_subclass():
    class Documented(fastprop.MLPClassifier):
        _doc_link_module = __name__.split(".")[0]
        _doc_link_template = "https://example.org/{estimator_name}"

    assert _links(Documented()._repr_html_())[0] == "https://example.org/Documented"
