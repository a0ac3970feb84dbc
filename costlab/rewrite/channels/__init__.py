"""The channels of a network: where they go, which of them can be removed, and the network without them."""
