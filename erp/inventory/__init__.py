"""Stock items with one place per serial."""
