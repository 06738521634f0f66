"""Bank statements: read, checked, posted and matched."""
