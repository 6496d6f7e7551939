"""Netlink: routes, addresses, interfaces and logged packets."""
