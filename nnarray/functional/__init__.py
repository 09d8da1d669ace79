"""Pure functions of a network and its one vector: layout, propagation, folding, hooks, summary."""
