"""Lambda and the web adapter: their HTTP APIs, the readiness check, the failures that are reported."""
