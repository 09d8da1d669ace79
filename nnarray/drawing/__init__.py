"""Figures of arrays, histories and networks. Models and training import it, not the other way round."""
