"""Schema migrations, run by `headend serve` at start and by `headend migrate`."""
