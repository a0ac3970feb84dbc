"""Other counters run on the same network, and every difference explained."""
