"""The rank correlation is scipy's, where that is defined."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from costlab.core.correlation import rank_correlation

pairs = st.lists(st.tuples(st.integers(0, 5), st.floats(-2, 2).map(lambda x: round(x, 1))), max_size=20)


@given(pairs)
def test_rank_correlation_is_scipys(points: Sequence[tuple[float, float]]) -> None:
    one, other = [x for x, _ in points], [y for _, y in points]
    found = rank_correlation(one, other)
    if len(set(one)) < 2 or len(set(other)) < 2:
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic)
