"""Validate, de-duplicate, correlate and aggregate usage."""
