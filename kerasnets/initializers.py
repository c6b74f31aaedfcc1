"""initializers (being written)."""
