"""FTP through a translator: the control connection, octets in and events out (RFC 6384)."""
