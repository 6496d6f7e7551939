"""FAITH: IPv6-only clients reach IPv4-only servers through a relay of sockets (RFC 3142)."""
