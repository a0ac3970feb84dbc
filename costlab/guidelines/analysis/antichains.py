"""The most nodes of a DAG of which none comes before another, and the levels in which they come one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence

Before = Mapping[int, Collection[int]]  # of each node, those right before it


def max_antichain_size(order: Sequence[int], before: Before, chosen: Collection[int]) -> int:
    """How many of the `chosen` nodes, at most, are pairwise unordered.

    As many as the chains that it takes to cover them (Dilworth). Every chain has one node without a predecessor in it,
    so the largest matching of nodes with predecessors leaves just as many over. Sets are the bits of a number.

    Args:
        order: the nodes, each after those before it; nodes that are not in it are ignored.
    """
    candidates = predecessors(order, before, chosen)
    everyone = (1 << len(candidates)) - 1
    free, unseen = everyone, everyone
    follower: dict[int, int] = {}
    predecessor: dict[int, int] = {}
    for node, earlier in enumerate(candidates):
        nearest = (earlier & free).bit_length() - 1
        if nearest >= 0:
            follower[nearest], predecessor[node] = node, nearest
            free ^= 1 << nearest
    for start in range(len(candidates)):
        if start in predecessor:
            continue
        via: dict[int, int] = {}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            found = candidates[node] & unseen
            unseen ^= found
            while found:
                earlier = (found & -found).bit_length() - 1
                found &= found - 1
                via[earlier] = node
                if earlier in follower:
                    queue.append(follower[earlier])
                    continue
                while earlier >= 0:  # each node on the way takes another predecessor, and the start gets one
                    node = via[earlier]
                    before_that = predecessor.get(node, -1)
                    follower[earlier], predecessor[node] = node, earlier
                    earlier = before_that
                queue.clear()
                found, unseen = 0, everyone
    return len(candidates) - len(predecessor)


def predecessors(order: Sequence[int], before: Before, chosen: Collection[int]) -> list[int]:
    """For each chosen node, in order, the chosen nodes anywhere before it: bit i is the i-th of them."""
    earlier: dict[int, int] = {}
    number: dict[int, int] = {}
    result: list[int] = []
    for node in order:
        bits = 0
        for previous in before[node]:
            bits |= earlier.get(previous, 0)
            if previous in number:
                bits |= 1 << number[previous]
        earlier[node] = bits
        if node in chosen:
            number[node] = len(result)
            result.append(bits)
    return result


def levels(order: Sequence[int], before: Before, chosen: Collection[int]) -> list[list[int]]:
    """The `chosen` nodes by how many of them, at most, come one after the other up to there.

    Those of one level are pairwise unordered, and there are as many levels as the longest chain has nodes.
    """
    longest: dict[int, int] = {}
    found: list[list[int]] = []
    for node in order:
        longest[node] = max((longest.get(p, 0) for p in before[node]), default=0) + (node in chosen)
        if node in chosen:
            if longest[node] > len(found):
                found.append([])
            found[longest[node] - 1].append(node)
    return found
