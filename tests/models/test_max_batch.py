"""The largest batch that fits: found for any growing need, and from traces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab.errors import CostlabError
from costlab.models import ModelSpec
from costlab.models._max_batch import LARGEST, OVERHEAD_BYTES, max_batch, needed_bytes, search


@given(
    fixed=st.integers(0, 10**9),
    slopes=st.lists(st.integers(1, 10**7), min_size=1, max_size=3),
    memory=st.integers(1, 10**11),
)
def test_the_search_finds_the_last_batch_that_fits(fixed: int, slopes: list[int], memory: int) -> None:
    def needed(batch: int) -> int:  # a peak is a maximum of sums that each grow with the batch
        return max(fixed // (i + 1) + slope * batch for i, slope in enumerate(slopes))

    if needed(1) > memory:
        with pytest.raises(CostlabError, match="not even a batch of 1 fits"):
            search(needed, memory)
        return
    batch, need, more = search(needed, memory)
    assert need == needed(batch) <= memory
    assert batch == LARGEST or (more == needed(batch + 1) and more > memory)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["eval", "step"])
def test_the_batch_that_is_found_fits_and_the_next_does_not(mode: str) -> None:
    memory = OVERHEAD_BYTES + 300_000_000
    found = max_batch(ModelSpec("zoo:shufflenet_v2", mode=mode), memory)  # type: ignore[arg-type]
    assert needed_bytes(found.profile) == found.needed_bytes <= memory
    assert found.profile.trace.inputs[0].shape[0] == found.batch
    assert found.next_bytes is not None
    assert found.next_bytes > memory


def test_a_network_that_never_fits_is_one_line() -> None:
    with pytest.raises(CostlabError, match="not even a batch of 1 fits: it needs 9"):
        max_batch(ModelSpec("zoo:shufflenet_v2"), 1_000_000)
