"""Faster ways through a network than its layers' own: training and inference, prepared once."""
