"""The state of the host that the daemon holds: prefixes, mapped networks, sockets,
leases, files."""
