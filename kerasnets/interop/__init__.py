"""Weights and optimizer state to and from PyTorch."""
