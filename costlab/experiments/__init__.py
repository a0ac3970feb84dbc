"""The experiments of ShuffleNet V2 (Ma et al., arXiv 1807.11164) on the machine at hand, beside the paper's figures."""
