"""Lay a directed graph out in columns: who follows whom from left to right, with few crossings.

Edges that lead back are found first and put aside; every other edge leads to a later column, and where it passes columns it gets a
place of its own in each. Pure, and the same for the same input.
"""

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SWEEPS: Final = 8

Node = Hashable


@dataclass(frozen=True, slots=True)
class Laid:
    """Where things are: (column, row) of each node, the ways of edges through the columns, and the edges that lead back."""

    places: Mapping[Node, tuple[int, float]]
    ways: Mapping[tuple[Node, Node], tuple[tuple[int, float], ...]]
    back: frozenset[tuple[Node, Node]]
    columns: int
    rows: int


def lay_out(roots: Sequence[Node], edges: Iterable[tuple[Node, Node]]) -> Laid:
    """Return places; every node that an edge names, and every root, gets one.

    >>> laid = lay_out(["a"], [("a", "b"), ("b", "c"), ("a", "c"), ("c", "a")])
    >>> [laid.places[node][0] for node in "abc"], sorted(laid.back)
    ([0, 1, 2], [('c', 'a')])
    """
    following: dict[Node, list[Node]] = {root: [] for root in roots}
    for source, target in edges:
        following.setdefault(source, []).append(target)
        following.setdefault(target, [])
    back = _find_back(following)
    ahead = {node: [one for one in every if (node, one) not in back] for node, every in following.items()}
    rank = _rank(ahead)
    columns: list[list[Node]] = [[] for _ in range(max(rank.values(), default=0) + 1)]
    for node in following:
        columns[rank[node]].append(node)
    neighbours: dict[Node, list[Node]] = {}
    chains: dict[tuple[Node, Node], list[Node]] = {}
    for source, every in ahead.items():
        for target in every:
            chain: list[Node] = [
                source,
                *((source, target, at) for at in range(rank[source] + 1, rank[target])),
                target,
            ]
            for at, middle in enumerate(chain[1:-1], rank[source] + 1):
                columns[at].append(middle)
            for one, other in itertools.pairwise(chain):
                neighbours.setdefault(one, []).append(other)
                neighbours.setdefault(other, []).append(one)
            chains[source, target] = chain
    _order(columns, neighbours)
    tallest = max((len(column) for column in columns), default=0)
    places: dict[Node, tuple[int, float]] = {}
    for at, column in enumerate(columns):
        for row, node in enumerate(column):
            places[node] = (at, row + (tallest - len(column)) / 2)
    ways = {edge: tuple(places[node] for node in chain) for edge, chain in chains.items()}
    return Laid({node: places[node] for node in following}, ways, back, len(columns), tallest)


def _find_back(following: Mapping[Node, Sequence[Node]]) -> frozenset[tuple[Node, Node]]:
    """Return the edges that close a circle, found by going deep, without recursion."""
    back, done, open_nodes = set(), set(), set()
    for root in following:
        if root in done:
            continue
        stack = [(root, iter(following[root]))]
        open_nodes.add(root)
        while stack:
            node, rest = stack[-1]
            step = next(rest, None)
            if step is None:
                stack.pop()
                open_nodes.discard(node)
                done.add(node)
            elif step in open_nodes:
                back.add((node, step))
            elif step not in done:
                open_nodes.add(step)
                stack.append((step, iter(following[step])))
    return frozenset(back)


def _rank(ahead: Mapping[Node, Sequence[Node]]) -> dict[Node, int]:
    """Return each node's column: one after the last of those that lead to it."""
    left = dict.fromkeys(ahead, 0)
    for every in ahead.values():
        for target in every:
            left[target] += 1
    rank = dict.fromkeys(ahead, 0)
    ready = [node for node, count in left.items() if not count]
    while ready:
        node = ready.pop(0)
        for target in ahead[node]:
            rank[target] = max(rank[target], rank[node] + 1)
            left[target] -= 1
            if not left[target]:
                ready.append(target)
    return rank


def _order(columns: list[list[Node]], neighbours: Mapping[Node, Sequence[Node]]) -> None:
    """Order each column by where its neighbours stand, from the left and from the right in turns."""
    for sweep in range(SWEEPS):
        row = {node: at - len(column) / 2 for column in columns for at, node in enumerate(column)}
        near = {node: at for at, column in enumerate(columns) for node in column}
        way = range(1, len(columns)) if sweep % 2 == 0 else range(len(columns) - 2, -1, -1)
        step = -1 if sweep % 2 == 0 else 1
        for at in way:
            wanted = {}
            for node in columns[at]:
                beside = [row[one] for one in neighbours.get(node, ()) if near[one] == at + step]
                wanted[node] = sum(beside) / len(beside) if beside else row[node]
            columns[at].sort(key=wanted.__getitem__)
            row.update({node: place - len(columns[at]) / 2 for place, node in enumerate(columns[at])})
