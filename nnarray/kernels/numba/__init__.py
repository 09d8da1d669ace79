"""Loops compiled by Numba, for the extra `nnarray[fast]`."""
