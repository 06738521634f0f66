"""Requests whose realm is somebody else's: home servers, their pools and health, and the mirror of accounting."""
