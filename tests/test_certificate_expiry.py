"""When the certificates of listeners end."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from faith.daemon.config.certificate_expiry import INVALID, expiry
from faith.daemon.config.listener_access import TlsFiles
from tests.certificates import certify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.certificates import Certify

__all__ = ["certify"]

DAY = 86400.0


def end(certificate: Path, key: Path) -> float | None:
    return expiry(TlsFiles(certificate, key).context(), certificate)


def test_one_that_is_valid(certify: Certify) -> None:
    found = end(*certify("valid"))
    assert found == pytest.approx(time.time() + 2 * DAY, abs=300)


def test_one_that_an_authority_has_signed_with_its_key_and_chain(certify: Certify) -> None:
    authority = certify("authority")
    certificate, key = certify("signed", by=authority)
    whole = certificate.with_name("whole.pem")
    whole.write_bytes(b"".join(file.read_bytes() for file in (certificate, key, authority[0])))
    assert end(whole, whole) == pytest.approx(time.time() + 2 * DAY, abs=300)


def test_one_that_has_ended(certify: Certify, need: Callable[[str], str]) -> None:
    _, key = certify("old")
    old = key.with_name("ended.pem")
    openssl = need("openssl")
    for words in (
        f"req -new -key {key} -subj /CN=old -out {key}.request",
        f"x509 -req -in {key}.request -signkey {key} -days -1 -out {old}",
    ):
        subprocess.run([openssl, *words.split()], check=True, capture_output=True)
    assert end(old, key) == INVALID


def test_one_for_clients_only_is_not_told(certify: Certify) -> None:
    certificate, key = certify("client", "-nodes", "-addext", "extendedKeyUsage=clientAuth")
    assert end(certificate, key) is None
