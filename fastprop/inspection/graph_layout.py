"""Where the nodes of a computational graph are drawn: in columns by depth, with as few crossing edges as some sweeps find.

The steps are those of Sugiyama, Tagawa and Toda, *Methods for visual understanding of hierarchical system structures* (1981):
depths, placeholders where an edge passes a column, an order of each column by the mean place of the neighbours, and then heights.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple

N_SWEEPS = 12


class Layout(NamedTuple):
    """Depths and heights.

    Parameters
    ----------
    depth : list of int
        The column of each node.
    y : dict
        (node, column) -> the position of its middle, from 0 downwards: in its own column, and where its edges pass later ones.
    height : float
        Height of the whole picture.
    """

    depth: list[int]
    y: dict[tuple[int, int], float]
    height: float


def layered(operands: list[list[int]], heights: list[float], passing: float) -> Layout:
    """Place the nodes of a graph.

    Parameters
    ----------
    operands : list of list of int
        For each node the nodes that it is computed from, which come before it in the list.
    heights : list of float
        The height that each node needs in its column.
    passing : float
        The height that an edge needs in a column that it passes.
    """
    depth = _depths(operands)
    users = defaultdict(list)
    for node, sources in enumerate(operands):
        for source in sources:
            users[source].append(node)
    columns: list[list[tuple[int, int]]] = [[] for _ in range(max(depth, default=-1) + 1)]
    neighbours = defaultdict(list)
    for node in sorted(range(len(operands)), key=_ranks(operands).__getitem__):
        last = max((depth[user] - 1 for user in users[node]), default=depth[node])
        for column in range(depth[node], max(last, depth[node]) + 1):
            columns[column].append((node, column))
            following = [(user, column + 1) for user in users[node] if depth[user] == column + 1]
            for place in [*following, *([(node, column + 1)] if column < last else [])]:
                neighbours[node, column].append(place)
                neighbours[place].append((node, column))
    _order(columns, neighbours)
    room = {place: heights[place[0]] if place[1] == depth[place[0]] else passing for column in columns for place in column}
    y = _heights(columns, neighbours, room)
    top = min((y[place] - room[place] / 2 for place in y), default=0.0)
    bottom = max((y[place] + room[place] / 2 for place in y), default=0.0)
    return Layout(depth, {place: value - top for place, value in y.items()}, bottom - top)


def _depths(operands):
    """The length of the longest path from a leaf; leaves are in the column before the first node that uses them."""
    depth = []
    for sources in operands:
        depth.append(1 + max((depth[source] for source in sources), default=-1))
    for node, sources in enumerate(operands):
        if not sources:
            depth[node] = min((depth[user] for user, its in enumerate(operands) if node in its), default=1) - 1
    return depth


def _ranks(operands):
    """A first order: the leaves as in the formula, every other node in the middle of its operands."""
    rank, n_leaves = {}, 0

    def visit(node):
        nonlocal n_leaves
        stack = [node]
        while stack:
            node = stack[-1]
            missing = [source for source in operands[node] if source not in rank]
            stack.extend(reversed(missing))
            if not missing:
                stack.pop()
                if node not in rank:
                    sources = operands[node]
                    rank[node] = sum(rank[source] for source in sources) / len(sources) if sources else n_leaves
                    n_leaves += not sources

    for node in reversed(range(len(operands))):
        visit(node)
    return rank


def _order(columns, neighbours):
    """Sort the columns, left to right and back, by the mean place of the neighbours; keep the order with the fewest crossings."""
    best, fewest = [list(column) for column in columns], _n_crossings(columns, neighbours)
    for sweep in range(N_SWEEPS):
        forwards = sweep % 2 == 0
        for i in range(1, len(columns)) if forwards else range(len(columns) - 2, -1, -1):
            before = {place: k for k, place in enumerate(columns[i - 1 if forwards else i + 1])}
            own = {place: k for k, place in enumerate(columns[i])}

            def key(place, before=before, own=own):
                around = [before[other] for other in neighbours[place] if other in before]
                return sum(around) / len(around) if around else own[place]

            columns[i].sort(key=key)
        crossings = _n_crossings(columns, neighbours)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    columns[:] = best


def _n_crossings(columns, neighbours):
    n = 0
    for left, right in pairwise(columns):
        place = {other: k for k, other in enumerate(right)}
        edges = [(k, place[other]) for k, node in enumerate(left) for other in neighbours[node] if other in place]
        n += sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(edges) for c, d in edges[:i])
    return n


def _heights(columns, neighbours, room):
    """Every place as near as possible to the mean of its neighbours, with room for all.

    Where an edge passes, only what follows it counts, first the edge itself, so that it is straight from its first column on.
    """
    ahead = {}
    for column in columns:
        for place in column:
            following = [other for other in neighbours[place] if other[1] > place[1]]
            passing = [other for other in following if other[0] == place[0]]
            ahead[place] = (passing or following) if (place[0], place[1] - 1) in ahead else neighbours[place]
    y = {}
    for column in columns:
        y.update(zip(column, _apart([0.0] * len(column), [room[place] for place in column]), strict=True))
    for sweep in range(N_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            around = [[y[other] for other in ahead[place]] or [y[place]] for place in column]
            wanted = [sum(each) / len(each) for each in around]
            y.update(zip(column, _apart(wanted, [room[place] for place in column]), strict=True))
    return y


def _apart(wanted, rooms):
    """The heights nearest to the wanted ones, by the sum of squares, that keep the order and leave everyone its room.

    After the room of the nodes above is subtracted, the heights only must not decrease: neighbours that would decrease are merged
    into their mean.
    """
    blocks, needed = [], 0.0  # [sum, number]
    offsets = []
    for i, (value, room) in enumerate(zip(wanted, rooms, strict=True)):
        needed += (room + rooms[i - 1]) / 2 if i else 0
        offsets.append(needed)
        blocks.append([value - needed, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, n = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + n]
    heights = [total / n for total, n in blocks for _ in range(n)]
    return [height + offset for height, offset in zip(heights, offsets, strict=True)]
