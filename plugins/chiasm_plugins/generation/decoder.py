"""The picture decoder."""
