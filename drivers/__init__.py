"""Device families behind the provisioning driver port."""
