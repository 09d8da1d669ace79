"""Text tables: their beginning, reading, and errors."""
