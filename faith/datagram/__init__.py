"""What comes in datagrams: UDP and ping."""
