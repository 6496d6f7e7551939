"""Inetd mode: one connection, one process."""
