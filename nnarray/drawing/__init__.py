"""Pictures of arrays, histories and networks: what knows neither models nor trainings, who draw with it."""
