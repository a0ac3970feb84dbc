"""Chains and antichains of a DAG: how many nodes can run in parallel, and in how many steps."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence

Before = Mapping[int, Collection[int]]  # the direct predecessors of each node


def max_antichain_size(order: Sequence[int], before: Before, chosen: Collection[int]) -> int:
    """The largest number of `chosen` nodes of which none depends on another.

    By Dilworth's theorem this is the smallest number of chains that cover the nodes: those that a maximum matching of
    nodes with predecessors leaves without one. Sets are bits of an integer; `order` is topological.
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
                while earlier >= 0:  # along the path each node changes its predecessor, and the start gets one
                    node = via[earlier]
                    before_that = predecessor.get(node, -1)
                    follower[earlier], predecessor[node] = node, earlier
                    earlier = before_that
                queue.clear()
                found, unseen = 0, everyone
    return len(candidates) - len(predecessor)


def predecessors(order: Sequence[int], before: Before, chosen: Collection[int]) -> list[int]:
    """For each chosen node, in order, the chosen nodes it depends on: bit i is the i-th chosen node."""
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
    """The `chosen` nodes by the length of the longest chain of chosen nodes that ends in them.

    Nodes of one level do not depend on each other, and there are as many levels as nodes in the longest chain.
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
