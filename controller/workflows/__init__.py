"""Use cases that need several rooms; they call the rooms' services, never their tables."""
