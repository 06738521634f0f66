"""Moves the SQL data of a FreeRADIUS server in: NAS, logins with what they are given, sessions of the past."""
