"""Access to the admin listener, as the table ``[metrics]`` of faith.toml(5) has it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from faith.daemon.config import tried_files
from faith.daemon.config.readers import flag, path
from faith.errors import ConfigError
from faith.kernel import text_file

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from faith.daemon.config.tables import Table

KEYS = ("token_file", "tls_certificate", "tls_key", "tls_client_ca", "protect_health")
SHORTEST_TOKEN = 16
"""Characters: what can be guessed is no token."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1


class TlsError(ConfigError):
    """A file of TLS that cannot be used: *key* of the table names it."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.message, self.key = message, key


@dataclass(frozen=True)
class TlsFiles:
    """The files of TLS in PEM form: *key* is the certificate's own file if it has both.

    Clients may show a certificate that an authority in *client_ca* has signed.  Two values are
    equal as long as the files are the same ones, unchanged: *stamps* are of their status.
    *expires* is as `certificate_expiry.expiry` has it.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    stamps: tuple[tuple[int, ...], ...] = ()
    expires: float | None = field(default=None, compare=False)

    def context(self) -> ssl.SSLContext:
        """Return the context of a server.  Raises TlsError."""
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key, _refuse_to_ask)
        except (OSError, _EncryptedError) as error:
            raise self._wrong_key(error) from None
        if self.client_ca:
            context.verify_mode = ssl.CERT_OPTIONAL  # for the pages of health
            try:
                context.load_verify_locations(self.client_ca)
            except OSError as error:
                why = _why(error, "there is no certificate in PEM form in it")
                raise TlsError("tls_client_ca", f"{self.client_ca}: {why}") from None
        return context

    def _wrong_key(self, error: Exception) -> TlsError:
        if isinstance(error, _EncryptedError):
            message = f"{self.key}: the key has a passphrase, and nobody is there to type it"
            return TlsError("tls_key", message)
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            return TlsError("tls_key", f"{self.key}: not the key of {self.certificate}")
        there = " and ".join(map(str, dict.fromkeys((self.certificate, self.key))))
        missing = "there is no certificate with its key in PEM form"
        return TlsError("tls_certificate", f"{there}: {_why(error, missing)}")


class _EncryptedError(Exception):
    """OpenSSL asks for a passphrase."""


def _refuse_to_ask() -> str:
    raise _EncryptedError


def _why(error: Exception, otherwise: str) -> str:
    """Return the text of an error of the system, or *otherwise* for one of OpenSSL."""
    import ssl

    return otherwise if isinstance(error, ssl.SSLError) else str(getattr(error, "strerror", error))


@dataclass(frozen=True)
class AdminAccess:
    """The access to the admin listener: for everybody without *tokens* and an authority of clients.

    Of the tokens there are SHA-256 digests.  The pages of health are open unless *protect_health*.
    """

    tokens: frozenset[bytes] = field(default=frozenset(), repr=False)
    tls: TlsFiles | None = None
    protect_health: bool = False

    @property
    def description(self) -> str:
        """How the listener is protected, such as "by TLS and a token"; "" if it is not."""
        certificate = self.tls and self.tls.client_ca
        parts = [
            *(["TLS"] if self.tls else []),
            *(["a client certificate"] if certificate else []),
            *(["a token"] if self.tokens else []),
        ]
        return f"by {' and '.join(parts)}" if parts else ""


EVERYBODY = AdminAccess()
"""The access of everybody who can connect."""


def access(table: Table) -> AdminAccess:
    """Return the access to the listener.  Raises ConfigError."""
    tokens: frozenset[bytes] = table.take("token_file", _tokens, frozenset())
    found = AdminAccess(tokens, tls_files(table), table.take("protect_health", flag, False))
    if found.protect_health and not found.tokens and not (found.tls and found.tls.client_ca):
        message = "it needs a token_file or a tls_client_ca: nothing is protected without"
        raise table.fault(message, "protect_health")
    return found


def _tokens(value: Any) -> frozenset[bytes]:
    """Read the digests of the tokens in a file, one a line."""
    file = path(value)
    numbered = enumerate(tried_files.needed(file).splitlines(), 1)
    tokens = [(number, line.strip()) for number, line in numbered if line.strip()]
    for number, token in tokens:
        if not _TOKEN.fullmatch(token):
            why = "a token has letters, digits and . _ ~ + / - only, and perhaps = at its end"
            raise ConfigError(f"{file}: line {number}: {why}")
        if len(token) < SHORTEST_TOKEN:
            why = f"a token of {len(token)} characters can be guessed"
            raise ConfigError(f"{file}: line {number}: {why}; {SHORTEST_TOKEN} are the least")
    if not tokens:
        raise ConfigError(f"{file}: there is no token in it; openssl rand -hex 32 makes one")
    return frozenset(hashlib.sha256(token.encode()).digest() for _, token in tokens)


def tls_files(table: Table) -> TlsFiles | None:
    """Return the files of TLS, which a server can use, or None without.  Raises ConfigError."""
    names = "tls_certificate", "tls_key", "tls_client_ca"
    certificate, key, client_ca = (table.take(name, path, None) for name in names)
    if certificate is None:
        for name in names[1:]:
            if name in table:
                raise table.fault("it needs a tls_certificate", name)
        return None
    stamps = tuple(
        _stamp(table, name, file)
        for name, file in zip(names, (certificate, key, client_ca), strict=True)
        if file
    )
    files = TlsFiles(certificate, key or certificate, client_ca, stamps)
    try:
        context = files.context()
    except TlsError as error:
        raise table.fault(error.message, error.key) from error
    from faith.daemon.config.certificate_expiry import expiry  # it has ssl, which most do without

    return replace(files, expires=expiry(context, certificate))


def _stamp(table: Table, name: str, file: Path) -> tuple[int, ...]:
    """Return numbers that change with the content of *file*.  Raises ConfigError."""
    try:
        return text_file.state(file)
    except OSError as error:
        raise table.fault(f"{file}: {error.strerror}", name) from error
