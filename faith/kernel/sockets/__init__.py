"""Sockets as the relays need them: TCP, UDP and raw ICMP."""
