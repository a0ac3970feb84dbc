"""One forward pass, written down: the only part of costlab that knows torch's operators."""
