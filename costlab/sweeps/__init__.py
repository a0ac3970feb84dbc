"""Design spaces: every network of a family, or a sample of them, as a table that survives whatever stops its making."""
