"""Regression trees as LightGBM writes them, checked and evaluated without LightGBM.

LightGBM's own reader trusts its text: a damaged one can end the process. Forecasts of single rows are faster here, too.
"""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np

from flts.params import MAX_LEAVES, MAX_TREES
from flts.timeseries.arrays import Floats, Indices

_HEAD = re.compile(r"tree\nversion=v4\n")
_GREATEST = repr(float(np.finfo(np.float64).max))
_NUMBERS = 1 << 16  # nodes looked at together
# Of a node's decision_type: its kind of split, and what missing values mean to it.
_CATEGORICAL, _DEFAULT_LEFT, _MISSING = 1, 2, 12
_MISSING_NONE, _MISSING_NAN = 0, 8


@dataclass(frozen=True)
class Trees:
    """Trees whose leaves add up, all nodes in one array; the right child of a node follows its left one.

    A leaf is its own left child, and no value exceeds its threshold, so that every row may go down equally far.

    Attributes:
        text: LightGBM's own text.
        roots: (trees,) the first node of each, deepest tree first.
        depths: (trees,) splits above the deepest leaf of each.
        order: (trees,) positions of the trees in the text's order among these.
        feature: (nodes,) column that is compared: of the features with NaN as the least value, then as the greatest.
        threshold: (nodes,) greatest value that goes left.
        left: (nodes,) left child.
        value: (nodes,) of a leaf.
        features: Number of features.
    """

    text: str
    roots: Indices
    depths: Indices
    order: Indices
    feature: Indices
    threshold: Floats
    left: Indices
    value: Floats
    features: int

    @classmethod
    def parse(cls, text: str, features: int) -> Self:
        """Read the text of a booster with so many features.

        Raises:
            ValueError: It is not such a text.
        """
        head, *blocks = text.split("\nend of trees\n", 1)[0].split("\nTree=")
        if not _HEAD.match(head) or "\nend of trees\n" not in text:
            raise ValueError("is not the whole text of a booster")
        fields = _Fields.of(head)
        if fields.get("max_feature_idx") != str(features - 1) or fields.get("num_tree_per_iteration") != "1":
            raise ValueError(f"is not a booster of {features} features and one output")
        if not 1 <= len(blocks) <= MAX_TREES:
            raise ValueError(f"must have 1 to {MAX_TREES} trees")
        trees, start = [], 0
        for number, block in enumerate(blocks):
            if not block.startswith(f"{number}\n"):
                raise ValueError(f"lacks tree {number}")
            trees.append(_tree(_Fields.of(block), features, start))
            start += len(trees[-1].left)
        depths = np.array([tree.depth for tree in trees])
        deepest = np.argsort(-depths, kind="stable")
        roots = np.cumsum([0, *(len(tree.left) for tree in trees[:-1])])
        return cls(
            text,
            roots[deepest],
            depths[deepest],
            np.argsort(deepest, kind="stable"),
            np.concatenate([tree.feature for tree in trees]),
            np.concatenate([tree.threshold for tree in trees]),
            np.concatenate([tree.left for tree in trees]),
            np.concatenate([tree.value for tree in trees]),
            features,
        )

    def __call__(self, rows: Floats) -> Floats:
        """Return (k,) sums of the leaves that (k, features) rows reach; NaN is missing. Bits as of LightGBM."""
        sums = np.empty(len(rows))
        at_once = max(1, _NUMBERS // len(self.roots))
        for first in range(0, len(rows), at_once):
            part = slice(first, first + at_once)
            sums[part] = self._sums(rows[part])
        return sums

    def _sums(self, rows: Floats) -> Floats:
        missing = np.isnan(rows)
        seen = np.concatenate([np.where(missing, -np.inf, rows), np.where(missing, np.inf, rows)], axis=1)
        column = np.arange(len(rows))[:, None] * seen.shape[1]
        # A column of nodes for each tree, the deepest first: those that are at their leaves drop out.
        node = np.repeat(self.roots[None], len(rows), axis=0)
        for step in range(int(self.depths[0])):
            going = int(np.searchsorted(-self.depths, -step))
            here = node[:, :going]
            right = seen.take(column + self.feature.take(here)) > self.threshold.take(here)
            node[:, :going] = self.left.take(here) + right
        # Cumulative sums add up in order, as LightGBM does.
        total: Floats = np.cumsum(self.value.take(node.take(self.order, axis=1)), axis=1)[:, -1]
        return total


@dataclass(frozen=True)
class _Tree:
    feature: Indices
    threshold: Floats
    left: Indices
    value: Floats
    depth: int


class _Fields(dict[str, str]):
    """The fields of a block of the text; ``ValueError`` names one that is missing."""

    @classmethod
    def of(cls, block: str) -> Self:
        return cls(line.split("=", 1) for line in block.split("\n") if "=" in line)

    def __missing__(self, name: str) -> str:
        raise ValueError(f"has a block without {name}")


def _tree(fields: _Fields, features: int, start: int) -> _Tree:
    """Return a tree whose first node is number ``start``; ``ValueError`` where it is none."""
    leaves = int(fields["num_leaves"]) if fields["num_leaves"].isdecimal() else 0
    if not 1 <= leaves <= MAX_LEAVES or fields["num_cat"] != "0" or fields.get("is_linear", "0") != "0":
        raise ValueError("has a tree of another kind")
    value = _numbers(fields["leaf_value"], leaves)
    if leaves == 1:
        return _Tree(np.zeros(1, np.int64), np.array([np.inf]), np.array([start]), value, 0)
    splits = leaves - 1
    split_feature = _whole(fields["split_feature"], splits, 0, features - 1)
    kind = _whole(fields["decision_type"], splits, 0, 15)
    missing = kind & _MISSING
    if (kind & _CATEGORICAL).any() or not np.isin(missing, (_MISSING_NONE, _MISSING_NAN)).all():
        raise ValueError("has a split of another kind")
    # Infinity has every number go left; as the largest number it has NaN, which then counts as infinity, go right.
    threshold = _numbers(fields["threshold"].replace("inf", _GREATEST), splits)
    # A node without missing values in training takes NaN for 0.
    to_left = np.where(missing == _MISSING_NAN, (kind & _DEFAULT_LEFT) > 0, threshold >= 0)
    children = np.stack([_whole(fields[f"{side}_child"], splits, -leaves, splits - 1) for side in ("left", "right")])
    position, depth = _positions(children.T, leaves)
    nodes = 2 * leaves - 1
    feature, bound = np.zeros(nodes, np.int64), np.full(nodes, np.inf)
    left, values = start + np.arange(nodes), np.zeros(nodes)
    inner, leaf = position[:splits], position[splits:]
    feature[inner] = split_feature + np.where(to_left, 0, features)
    bound[inner] = threshold
    left[inner] = start + 1 + 2 * np.arange(splits)
    values[leaf] = value
    return _Tree(feature, bound, left, values, depth)


def _positions(children: Indices, leaves: int) -> tuple[Indices, int]:
    """Return where the inner nodes and then the leaves stand, children of one parent side by side, and the depth.

    ``children`` (splits, 2) are inner nodes, or leaves counted down from -1.
    """
    splits = len(children)
    node = np.where(children < 0, splits + ~children, children)
    # Every node but the root is the child of one node before it, so that every path ends at a leaf.
    if (np.sort(node, axis=None) != np.arange(1, splits + leaves)).any():
        raise ValueError("has a tree whose nodes are not joined to one")
    if (node <= np.arange(splits)[:, None]).any():
        raise ValueError("has a tree that runs in a circle")
    position = np.zeros(splits + leaves, np.int64)
    position[node] = 1 + 2 * np.arange(splits)[:, None] + np.arange(2)
    depth = np.zeros(splits + leaves, np.int64)
    for parent, pair in enumerate(node):
        depth[pair] = depth[parent] + 1
    return position, int(depth.max())


def _numbers(text: str, count: int) -> Floats:
    try:
        values = np.array(text.split(" "), dtype=np.float64)
    except ValueError:
        values = np.empty(0)
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(f"must give {count} finite numbers for each tree")
    return values


def _whole(text: str, count: int, least: int, greatest: int) -> Indices:
    values = _numbers(text, count)
    whole = values.astype(np.int64)
    if (whole != values).any() or (whole < least).any() or (whole > greatest).any():
        raise ValueError(f"must give {count} whole numbers from {least} to {greatest} for each tree")
    return whole
