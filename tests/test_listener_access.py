"""The table [metrics]: tokens and TLS, and every mistake with its file, line and key."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from faith.daemon.config.config import read
from faith.daemon.config.listener_access import EVERYBODY, TlsError
from faith.errors import ConfigError
from tests.certificates import certify

if TYPE_CHECKING:
    from pathlib import Path

    from faith.daemon.config.listener_access import AdminAccess
    from tests.certificates import Certify

__all__ = ["certify"]

TOKEN = "0123456789abcdef0123"


def access(*lines: str) -> AdminAccess:
    """The access of a configuration with these *lines* in its table."""
    text = "\n".join(['[[service]]\nports = "80"\n[metrics]\nlisten = "[::1]:9064"', *lines])
    return read(text, "faith.toml").admin_access


def mistake(*lines: str) -> str:
    with pytest.raises(ConfigError) as caught:
        access(*lines)
    return str(caught.value)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return tmp_path / "token"


def test_without_anything_everybody_may_read() -> None:
    assert access() == EVERYBODY
    assert EVERYBODY.description == ""


def test_tokens_are_kept_as_digests_only(token_file: Path) -> None:
    token_file.write_text(f"{TOKEN}\n\n  {TOKEN}x=  \n")
    found = access(f'token_file = "{token_file}"')
    texts = TOKEN, f"{TOKEN}x="
    assert found.tokens == {hashlib.sha256(text.encode()).digest() for text in texts}
    assert TOKEN not in repr(found)
    assert found.description == "by a token"


def test_another_token_is_another_access(token_file: Path) -> None:
    token_file.write_text(f"{TOKEN}\n")
    before = access(f'token_file = "{token_file}"')
    assert access(f'token_file = "{token_file}"') == before
    token_file.write_text(f"{TOKEN}1\n")
    assert access(f'token_file = "{token_file}"') != before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, ": No such file or directory"),
        ("", ": there is no token in it; openssl rand -hex 32 makes one"),
        (" \n", ": there is no token in it; openssl rand -hex 32 makes one"),
        ("secret\n", ": line 1: a token of 6 characters can be guessed; 16 are the least"),
        (f"{TOKEN}\ntwo words of one token\n", ": line 2: a token has letters, digits"),
        (f"\n{TOKEN}:x\n", ": line 2: a token has letters, digits"),
        (f"{TOKEN}é\n", ": line 1: a token has letters, digits"),
    ],
)
def test_a_bad_token_file_is_refused(content: str | None, message: str, token_file: Path) -> None:
    if content is not None:
        token_file.write_text(content)
    said = mistake(f'token_file = "{token_file}"')
    assert said.startswith(f"faith.toml:5: metrics.token_file: {token_file}{message}")
    assert content is None or TOKEN not in said


def test_a_token_file_that_is_no_text_is_refused(token_file: Path) -> None:
    token_file.write_bytes(b"\xff\xfe\x00")
    said = mistake(f'token_file = "{token_file}"')
    assert f"metrics.token_file: {token_file}: not a text file" in said
    token_file.unlink()
    token_file.mkdir()
    assert f"{token_file}: Is a directory" in mistake(f'token_file = "{token_file}"')


def test_health_cannot_be_protected_by_nothing() -> None:
    assert mistake("protect_health = true").startswith(
        "faith.toml:5: metrics.protect_health: it needs a token_file or a tls_client_ca"
    )


# -- TLS -----------------------------------------------------------------------------------------


def lines(certificate: Path, key: Path | None = None, client_ca: Path | None = None) -> list[str]:
    named = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": client_ca}
    return [f'{name} = "{file}"' for name, file in named.items() if file]


def test_a_certificate_with_its_key_makes_tls(certify: Certify) -> None:
    certificate, key = certify("gateway")
    found = access(*lines(certificate, key))
    assert found.tls
    assert found.description == "by TLS"
    assert found.tls.context().cert_store_stats()["x509"] == 0
    certificate.write_text(certificate.read_text() + key.read_text())
    assert access(*lines(certificate)).tls


def test_an_authority_of_clients_makes_certificates_needed(
    certify: Certify,
) -> None:
    certificate, key = certify("gateway")
    authority, _ = certify("authority")
    found = access(*lines(certificate, key, authority), "protect_health = true")
    assert found.tls
    assert found.description == "by TLS and a client certificate"
    assert found.tls.context().cert_store_stats()["x509_ca"] == 1


def test_a_renewed_certificate_is_another_access(
    certify: Certify,
) -> None:
    files = certify("gateway")
    before = access(*lines(*files))
    assert access(*lines(*files)) == before
    certify("gateway")
    assert access(*lines(*files)) != before


def test_mistakes_of_tls_say_which_file(certify: Certify, tmp_path: Path) -> None:
    certificate, key = certify("gateway")
    _, strange = certify("strange")
    _, locked = certify("locked", "-passout", "pass:secret")
    empty, gone = tmp_path / "empty", tmp_path / "gone"
    empty.write_text("")
    at = "faith.toml:5: metrics.tls_certificate: "
    missing = "there is no certificate with its key in PEM form"
    assert mistake(*lines(gone)) == f"{at}{gone}: No such file or directory"
    assert mistake(*lines(empty, key)) == f"{at}{empty} and {key}: {missing}"
    assert mistake(*lines(certificate)) == f"{at}{certificate}: {missing}"
    at = "faith.toml:6: metrics.tls_key: "
    assert mistake(*lines(certificate, gone)) == f"{at}{gone}: No such file or directory"
    assert mistake(*lines(certificate, strange)) == f"{at}{strange}: not the key of {certificate}"
    locked_said = mistake(*lines(certificate, locked))
    assert locked_said.startswith(f"{at}{locked}: the key has a passphrase")
    at = "faith.toml:7: metrics.tls_client_ca: "
    said = mistake(*lines(certificate, key, empty))
    assert said == f"{at}{empty}: there is no certificate in PEM form in it"


@pytest.mark.parametrize("name", ["tls_key", "tls_client_ca"])
def test_a_certificate_is_needed_for_the_others(name: str) -> None:
    said = mistake(f'{name} = "/etc/x.pem"')
    assert said == f"faith.toml:5: metrics.{name}: it needs a tls_certificate"


def test_files_that_break_later_are_reported_by_their_key(
    certify: Certify,
) -> None:
    certificate, key = certify("gateway")
    found = access(*lines(certificate, key))
    certificate.unlink()
    assert found.tls
    with pytest.raises(TlsError, match=r"tls_certificate: .*: No such file or directory"):
        found.tls.context()
