"""Composition root: the one place that knows everybody."""
