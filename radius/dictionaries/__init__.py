"""Attribute dictionaries in FreeRADIUS's format, written from the RFCs and the vendors' documentation."""
