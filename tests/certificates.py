"""Certificates that a test makes by openssl(1ssl), and the authorities that sign them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Certify = Callable[..., tuple[Path, Path]]


@pytest.fixture
def certify(need: Callable[[str], str], tmp_path: Path) -> Certify:
    """``certify(name)`` makes a certificate of ``::1`` and its key, signed by itself or *by*."""

    def make(name: str, *options: str, by: tuple[Path, Path] | None = None) -> tuple[Path, Path]:
        certificate, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2"
        signed = ["-CA", str(by[0]), "-CAkey", str(by[1])] if by else []
        files = ["-subj", f"/CN={name}", "-out", str(certificate), "-keyout", str(key)]
        names = ["-addext", "subjectAltName=IP:::1"]
        protection = options or ("-nodes",)
        command = [need("openssl"), *words.split(), *protection, *signed, *files, *names]
        subprocess.run(command, check=True, capture_output=True)
        return certificate, key

    return make
