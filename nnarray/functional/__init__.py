"""Pure functions of a network and its parameter vector: layout, propagation, folding, hooks, summary."""
