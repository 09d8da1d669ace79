"""Generation: a model of sequences continues a prompt, token by token."""
