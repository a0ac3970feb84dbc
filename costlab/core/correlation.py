"""Statistics that reports share."""

from collections.abc import Sequence
from statistics import StatisticsError, correlation


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's rank correlation; equal values share their mean rank. None if a sequence does not vary."""
    from scipy.stats import rankdata  # slow to import

    try:
        return correlation(rankdata(one).tolist(), rankdata(other).tolist())
    except StatisticsError:
        return None
