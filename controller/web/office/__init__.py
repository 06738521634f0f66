"""Plain pages over the public API: sessions, orders, customers, invoices, devices."""
