"""The host as the daemon has changed it: prefixes, mapped networks, sockets, leases, files."""
