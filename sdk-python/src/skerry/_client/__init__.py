"""How the SDK speaks with the server: connections, calls, payloads and results."""
