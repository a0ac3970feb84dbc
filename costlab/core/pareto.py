"""The Pareto front: the points that no other one beats in both of two costs."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]], larger_x: bool, larger_y: bool) -> list[int]:
    """The positions of the points that no other point dominates, the best in x first."""
    right, up = (-1 if larger else 1 for larger in (larger_x, larger_y))
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (right * points[i][0], up * points[i][1])):
        if not front or up * points[i][1] < up * points[front[-1]][1] or points[i] == points[front[-1]]:
            front.append(i)
    return front
