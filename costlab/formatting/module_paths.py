"""Module paths: their parents, and how to write those of repeated blocks as one."""

import re
from collections.abc import Collection, Iterator, Sequence

ROOT = "(root)"  # the operators that belong to no child module
NUMBER = re.compile(r"[0-9]{1,9}")


def path_pattern(path: str) -> str:
    """The path with `*` for its numbers, equal for all repetitions of a block: `layer*.*.conv`."""
    return NUMBER.sub("*", path)


def merge_paths(paths: Sequence[str]) -> str:
    """Paths of one pattern as one: `layer{1-3}.0.conv`."""
    ranges = iter([number_ranges(set(column)) for column in zip(*map(NUMBER.findall, paths), strict=True)])
    return NUMBER.sub(lambda _: next(ranges), paths[0])


def number_ranges(numbers: Collection[str]) -> str:
    """`7` for one number, `{1-3,7}` for several."""
    if len(numbers) == 1:
        return next(iter(numbers))
    runs: list[list[int]] = []
    for number in sorted(map(int, numbers)):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return "{" + ",".join("-".join(map(str, run)) for run in runs) + "}"


def ancestry(path: str) -> Iterator[str]:
    """A module path, its parent, and so on up to "", the root."""
    while path:
        yield path
        path = path.rpartition(".")[0]
    yield ""
