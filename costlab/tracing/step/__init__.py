"""A whole training step in one graph: forward, backward through autograd itself, optimizer."""
