"""The configuration: files parsed strictly into settings."""
