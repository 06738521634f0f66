"""Pure price models."""
