"""Training: what `Model.fit` does, from the call to the history."""
