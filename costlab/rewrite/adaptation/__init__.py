"""What NetAdapt does: proposals, the loop over them, its journal and its result."""
