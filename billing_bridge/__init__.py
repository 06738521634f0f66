"""From usage records to charges."""
