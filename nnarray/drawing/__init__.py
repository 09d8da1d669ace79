"""Figures of arrays, histories and networks; it knows neither models nor trainings, which draw with it."""
