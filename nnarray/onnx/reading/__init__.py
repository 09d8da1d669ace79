"""Graphs from files: nothing in them is executed, and every size is checked before memory is allocated."""
