"""How fast the bus is, as ratios to programs written by hand for the same work: `python -m benchmarks`."""
