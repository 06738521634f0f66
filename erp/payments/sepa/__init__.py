"""SEPA: mandates, direct debit and credit transfer files, and what banks answer to them."""
