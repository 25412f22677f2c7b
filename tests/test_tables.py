"""Tables as text and as HTML, and what is shown by them: models, traces, gradient checks, gradient flows, statistics."""

import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import activation_statistics, check_gradients, gradient_flow, trace_step
from fastprop.tables import Table

X, Y = np.random.default_rng(0).normal(size=(3, 4)), np.array([0, 1, 1])


class Cells(HTMLParser):
    """The cells of HTML as rows of texts, with every tag closed in order."""

    def __init__(self, text):
        super().__init__()
        self.rows, self._open, self.attributes = [], [], {}
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self._open.append(tag)
        self.attributes.setdefault(tag, []).append(dict(attrs))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(4, 5, activation="tanh", random_state=0), nn.Residual(nn.Linear(5, 5)), nn.Linear(5, 2))


def test_text_and_html_have_the_same_cells():
    table = Table(("name", "size"), [("a", "1"), ("<b> & 'c'", "200")], "<>", caption="two rows", footer="<end>")
    assert str(table).splitlines() == ["two rows", "name       size", "a             1", "<b> & 'c'   200", "<end>"]
    html = table.html()
    cells = Cells(html)
    assert cells.rows == [["name", "size"], ["a", "1"], ["<b> & 'c'", "200"], ["<end>"]]
    assert [cell["style"].rpartition(" ")[2] for cell in cells.attributes["td"][:2]] == ["left", "right"]
    assert "<b>" not in html  # escaped
    assert "two rows</caption>" in html


def shown(model):
    loss = nn.SoftmaxCrossEntropy()
    yield "model", model
    yield "layer", model[0]
    yield "gradient check", check_gradients(model, loss, X, Y, n_elements=2)
    yield "gradient flow", gradient_flow(model, loss, X, Y)
    yield "trace", trace_step(model, loss, X, Y, file=io.StringIO())
    yield "statistics", activation_statistics(model, X)
    x = nn.Input()
    yield "graph", nn.Graph(x, nn.Linear(4, 4, random_state=0)(x) + x)


def test_what_is_shown_in_a_notebook_is_plain_html(model):
    """One table, no colour of its own (so that it is legible on any page), nothing from elsewhere."""
    for name, value in shown(model):
        html = value._repr_html_()
        assert len(Cells(html).rows) > 1, name
        assert html.startswith("<table ")
        assert html.endswith("</table>")
        assert not re.search(r"#[0-9a-f]{3}|rgb|color:|script|src=|href=|class=", html), name


def test_a_model_is_a_table_of_its_layers(model):
    lines = str(model).splitlines()
    assert lines[0] == f"Sequential, {model.n_parameters} parameters"
    assert [line.split()[0] for line in lines[2:]] == ["0", "1", "1.block", "2"] == [name for name, _ in model.named_modules()][1:]
    column = lines[1].index("shapes")
    assert [line[column:].split("  ")[0] for line in lines[2:]] == [
        "weight (4, 5), bias (5,)",
        "",
        "weight (5, 5), bias (5,)",
        "weight (5, 2), bias (2,)",
    ]
    loss = nn.SoftmaxCrossEntropy()
    loss(model(X), Y)
    model.backward(loss.backward())
    last = Cells(model._repr_html_()).rows[-1]
    block = model[2]
    for cell, arrays in zip(last[-2:], ([p.data for p in block.parameters()], [p.grad for p in block.parameters()]), strict=True):
        assert float(cell) == pytest.approx(np.linalg.norm(np.concatenate([a.ravel() for a in arrays])), rel=5e-3)
    assert str(model[0]) == repr(model[0])


def test_a_trace_shows_each_array_once(model):
    trace = trace_step(model, nn.SoftmaxCrossEntropy(), X, Y, precision=2, file=io.StringIO())
    rows = Cells(trace._repr_html_()).rows[1:]
    assert [row[2] for row in rows] == [entry.name for entry in trace.entries]
    assert [row[0] for row in rows if row[0]] == ["forward", "loss", "backward"]
    assert [row[3] for row in rows] == [str(entry.value.shape) for entry in trace.entries]
    assert float(rows[0][4]) == pytest.approx(np.linalg.norm(X), rel=5e-3)
    assert rows[0][5] == np.array2string(X, precision=2, suppress_small=True)


def test_a_gradient_check_is_aligned(model):
    check = check_gradients(model, nn.SoftmaxCrossEntropy(), X, Y, n_elements=2)
    rows = Cells(check._repr_html_()).rows
    assert [row[0] for row in rows[1:]] == [row.name for row in check.rows] + [f"together: {check.verdict}"]
    lines = repr(check).splitlines()
    assert len({line.index(row.verdict) for line, row in zip(lines[1:], check.rows, strict=False)}) == 1
