"""Services of the daemon, each by processes of its own: relaying, datagrams, names, admin."""
