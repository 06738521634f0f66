"""Pages: templates, static sources and the HTTP handlers that render them."""
