"""Names: a DNS64 forwarder (RFC 6147) that shares its prefixes with the relay."""
