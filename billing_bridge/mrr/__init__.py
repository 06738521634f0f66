"""Monthly recurring revenue by the day, what moved it, and whose it is."""
