"""SOCKS and HTTP proxies, pure: octets of clients and servers in, events out."""
