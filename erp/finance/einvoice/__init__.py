"""E-invoices of EN 16931: what an invoice says as a semantic model, written as UBL and as CII (Factur-X)."""
