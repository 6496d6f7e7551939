"""Clients that ask for a server by SOCKS or HTTP, until they are sessions."""
