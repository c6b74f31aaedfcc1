"""losses (being written)."""
