"""Fixtures of the tests that publish to Nucleus."""

from tests.fixtures.nucleus_publisher import publisher, there

__all__ = ["publisher", "there"]
