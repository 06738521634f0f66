"""Looks at what is charged before it becomes a document, and at what is carried but not charged."""
