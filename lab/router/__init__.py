"""An emulated router that speaks eAPI: JSON-RPC over HTTPS, configuration sessions, commit timer, files that last."""
