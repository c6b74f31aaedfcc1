"""What the tests of the fast path share."""

import pytest


@pytest.fixture
def no_fallback(every_reason_is_said_again):
    """A fallback to stock Keras fails the test."""
