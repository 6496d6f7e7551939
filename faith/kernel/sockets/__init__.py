"""Sockets of the relays: TCP, UDP and raw ICMP."""
