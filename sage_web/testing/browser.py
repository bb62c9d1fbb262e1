"""Fixtures that drive a real browser."""
