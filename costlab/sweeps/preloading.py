"""What every worker process needs, imported once for all of them."""
