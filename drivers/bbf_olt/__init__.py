"""OLTs of the BBF model (TR-385, TR-383) over NETCONF: how a service is rendered, read and applied there."""
