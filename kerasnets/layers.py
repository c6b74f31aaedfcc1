"""layers (being written)."""
