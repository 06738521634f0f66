"""Product offerings and their versions."""
