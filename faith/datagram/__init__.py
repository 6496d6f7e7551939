"""Datagrams: UDP and ping, translated both ways."""
