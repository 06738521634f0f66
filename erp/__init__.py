"""The business: customers, catalogue, stock, orders and finance."""
