"""Application-level gateways: FTP and rsh, and the data connections that they announce."""
