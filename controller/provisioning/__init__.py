"""Desired state of access services, reconciled against devices through a driver port; owns the device registry."""
