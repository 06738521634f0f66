"""Cycles and charges."""
