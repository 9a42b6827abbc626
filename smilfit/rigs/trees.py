"""Trees of joints: the one tree that a body model has, sums along it, and orders in which parents come first."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class BodyTree:
    """How a rig's J joints stand in a body model.

    `order` lists the rig's joints as the model has them, parents first, and `parents` are indices in that order.
    `fitted` says of each, in that order, whether skin or keypoints move with it or with what hangs on it. `above` are
    the rig's joints over the model's root, which now hang below it; `joined` are other roots, which do too.
    """

    order: tuple[int, ...]
    parents: tuple[int, ...]
    fitted: tuple[bool, ...]
    above: tuple[int, ...]
    joined: tuple[int, ...]


def body_tree(parents: Int[np.ndarray, ' J'], influence: Float[np.ndarray, ' J']) -> BodyTree:
    """Choose the model's root and put all joints below it.

    The root is the first joint, from the root that carries most of the skin on, that moves skin itself or from which
    more than one branch with skin goes out. Joints above it turn the whole animal, as the root does, so nothing could
    tell them apart: they are turned round to hang below it and are not fitted. No vertex moves otherwise by this.

    Args:
        parents: -1 for roots; a loop is refused.
        influence: how much skin, or how many keypoints, hang on each joint itself.

    Raises:
        ValueError: a joint below itself.
    """
    count = len(parents)
    check_no_loop(parents)
    below = subtree_sums(parents, influence)
    roots = [j for j in range(count) if parents[j] < 0]
    main = max(roots, key=lambda j: (below[j], -j))
    new = np.array(parents, int)
    top, above = main, []
    children = children_of(parents)
    while influence[top] == 0 and below[top] > 0:
        carrying = [j for j in children.get(top, ()) if below[j] > 0]
        if len(carrying) != 1:
            break
        above.append(top)
        new[top] = carrying[0]
        top = carrying[0]
    new[top] = -1
    joined = [j for j in roots if j != main]
    new[joined] = top
    order = outwards(new)
    rank = {j: i for i, j in enumerate(order)}
    sums = subtree_sums(new, influence)
    return BodyTree(
        tuple(order),
        tuple(rank[int(new[j])] if new[j] >= 0 else -1 for j in order),
        tuple(bool(sums[j] > 0) or j == top for j in order),
        tuple(above),
        tuple(joined),
    )


def subtree_sums(parents: Int[np.ndarray, ' J'], values: Float[np.ndarray, ' J']) -> Float[np.ndarray, ' J']:
    """Sum values over each joint and all below it."""
    result = np.array(values, float)
    for j in reversed(outwards(parents)):
        if parents[j] >= 0:
            result[parents[j]] += result[j]
    return result


def end_joints(parents: Int[np.ndarray, ' J'], influence: Float[np.ndarray, ' J']) -> Bool[np.ndarray, ' J']:
    """Return which joints only mark the end of a bone: they have no skin, and nothing hangs on them."""
    has_child = np.isin(np.arange(len(parents)), parents)
    return ~has_child & (influence == 0)


def check_no_loop(parents: Int[np.ndarray, ' J'], where: str = 'rig') -> None:
    """Check that joints form trees.

    Raises:
        ValueError: a joint below itself; the message begins with `where`.
    """
    above = np.asarray(parents).tolist()
    # Of those that are known to stand below a root.
    good: set[int] = set()
    for j in range(len(above)):
        way, node = set(), j
        while node >= 0 and node not in good:
            if node in way:
                raise ValueError(
                    f'{where}: joints must form trees; got joint {j}, below itself. Mend its parents.'
                )
            way.add(node)
            node = above[node]
        good |= way


def children_of(parents: Int[np.ndarray, ' J']) -> dict[int, list[int]]:
    """List the children of each joint that has some; of -1 the roots."""
    result: dict[int, list[int]] = {}
    for j, parent in enumerate(np.asarray(parents).tolist()):
        result.setdefault(max(parent, -1), []).append(j)
    return result


def outwards(parents: Int[np.ndarray, ' J']) -> list[int]:
    """List joints from the roots on, each branch to its end, siblings as the rig has them; none of a loop."""
    children = children_of(parents)
    order, waiting = [], children.get(-1, [])[::-1]
    while waiting:
        order.append(waiting.pop())
        waiting += children.get(order[-1], [])[::-1]
    return order
