"""Saving models: files that are replaced as a whole or not at all, and PyTorch's names and layouts."""
