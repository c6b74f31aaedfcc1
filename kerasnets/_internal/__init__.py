"""What several parts of the package share and nobody outside should rely on."""
