"""Who may read at the admin listener: tokens, certificates and the open pages."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from pathlib import Path

import pytest

from faith.daemon.config.listener_access import EVERYBODY, AdminAccess, TlsFiles
from faith.daemon.services.admin_access import HEALTH, Caller

TOKEN = "0123456789abcdef0123"
OTHER = "fedcba9876543210fedc"
CERTIFIED = TlsFiles(Path("cert"), Path("key"), Path("ca"))


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


BY_TOKEN = AdminAccess(frozenset({digest(TOKEN), digest(OTHER)}))


def status(authorization: str, access: AdminAccess = BY_TOKEN, path: str = "/metrics") -> int:
    """The status of what the caller lacks; 200 if it is nothing."""
    lack = Caller(authorization, False).lacks(access, path)
    return lack.status if lack else 200


def basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {TOKEN}",
        f"bearer   {OTHER}",
        basic("anybody", TOKEN),
        basic("", OTHER),
        basic("", TOKEN).replace("Basic", "basic"),
    ],
)
def test_a_token_opens_as_a_bearer_and_as_a_password(authorization: str) -> None:
    assert status(authorization) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        TOKEN,
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {digest(TOKEN).hex()}",
        f"Digest {TOKEN}",
        basic(TOKEN, "x"),
        basic("x", f"x:{TOKEN}"),
        f"Basic {TOKEN}",
        "Basic !!!!",
        "Basic \xff",
        f"Basic {b64encode(TOKEN.encode()).decode()}",
    ],
)
def test_anything_else_does_not(authorization: str) -> None:
    assert status(authorization) == 401


def test_a_browser_asks_for_the_password_and_a_program_learns_what_is_needed() -> None:
    lack = Caller("", False).lacks(BY_TOKEN, "/")
    assert lack
    schemes = [header.split()[1] for header in lack.headers]
    assert schemes == ["Basic", "Bearer"]
    assert all(header.startswith("WWW-Authenticate: ") for header in lack.headers)


def test_every_token_is_compared_whole_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time says nothing: digests of equal length are compared, all of them, in any case."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for authorization in (f"Bearer {TOKEN}", f"Bearer {OTHER}", "Bearer x", ""):
        status(authorization)
        assert compared == [(32, 32)] * 2
        compared.clear()


@pytest.mark.parametrize("path", HEALTH)
def test_health_is_open_unless_it_is_protected(path: str) -> None:
    assert status("", path=path) == 200
    protected = AdminAccess(BY_TOKEN.tokens, protect_health=True)
    assert status("", protected, path) == 401
    assert status(f"Bearer {TOKEN}", protected, path) == 200


def test_a_certificate_is_needed_where_there_is_an_authority() -> None:
    access = AdminAccess(tls=CERTIFIED)
    assert status("", access) == 403
    assert not Caller("", True).lacks(access, "/metrics")
    assert status("", access, "/readyz") == 200


def test_both_are_needed_where_both_are_configured() -> None:
    access = AdminAccess(BY_TOKEN.tokens, CERTIFIED)
    assert status(f"Bearer {TOKEN}", access) == 403
    lack = Caller("", True).lacks(access, "/status.json")
    assert lack
    assert lack.status == 401
    assert not Caller(f"Bearer {TOKEN}", True).lacks(access, "/status.json")


def test_tls_alone_keeps_nobody_out() -> None:
    assert status("", AdminAccess(tls=TlsFiles(Path("cert"), Path("cert")))) == 200
    assert status("", EVERYBODY) == 200
