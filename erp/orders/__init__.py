"""Product orders and subscriptions."""
