"""``pyftpd.py PORT USER PASSWORD DIRECTORY CERTIFICATE``: pyftpdlib, in clear or after AUTH TLS."""

from __future__ import annotations

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import FTPServer

port, user, password, directory, certificate = sys.argv[1:]
authorizer = DummyAuthorizer()
authorizer.add_user(user, password, directory, perm="elradfmwMT")
TLS_FTPHandler.authorizer = authorizer
TLS_FTPHandler.certfile = certificate
FTPServer(("0.0.0.0", int(port)), TLS_FTPHandler).serve_forever()
