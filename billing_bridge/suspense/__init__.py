"""Usage that cannot be charged to anybody yet."""
