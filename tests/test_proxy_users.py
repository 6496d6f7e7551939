"""The file of the users of a proxy, and what is wrong with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from faith.daemon.config import proxy_users
from faith.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

HASH = "$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43


def read(tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "users"
    file.write_text(text)
    return proxy_users.read(str(file))


def test_a_line_is_a_user(tmp_path: Path) -> None:
    text = f"# comment\nalice:{HASH}\n\n  bjørn:{HASH}  \n"
    assert read(tmp_path, text) == {"alice": HASH, "bjørn": HASH}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("alice", "line 2: this is not NAME:HASH; faith proxy password NAME makes a line"),
        (f":{HASH}", "line 2: '' is no name of a user"),
        (f"carol :{HASH}", "line 2: 'carol ' is no name of a user"),
        ("carol:secret", "line 2: a password's hash is not $scrypt$ln=LN,r=R,p=P$SALT$DIGEST"),
        ("carol:$6$secret$hash", "line 2: a password's hash is not $scrypt$"),
        (f"carol:{HASH.replace('14', '20')}", "line 2: ln=20 of a password's hash is not 1 to 17"),
        (f"alice:{HASH}", "line 2: alice is there already"),
        (f"{'x' * 256}:{HASH}", "line 2: the name has more than 255 octets"),
    ],
)
def test_a_wrong_line_is_told_without_its_password(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as told:
        read(tmp_path, f"alice:{HASH}\n{line}\n")
    assert "secret" not in str(told.value)


def test_all_wrong_lines_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        read(tmp_path, f"one\ntwo\nalice:{HASH}\n")
    assert len(told.value.errors) == 2


def test_a_file_without_users_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no user in it; faith proxy password NAME"):
        read(tmp_path, "# nobody\n")


@pytest.mark.parametrize(
    ("mode", "found"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)]
)
def test_a_file_is_open_to_users_without_rights(
    open_directory: Path, mode: int, found: bool
) -> None:
    users = open_directory / "users"
    users.write_text(f"alice:{HASH}\n")
    users.chmod(mode)
    assert proxy_users.is_open(users) == found
    open_directory.chmod(0o750)
    assert not proxy_users.is_open(users), "nobody else comes to it"
    assert not proxy_users.is_open(open_directory / "none")


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        proxy_users.read(str(tmp_path / "users"))
    with pytest.raises(ConfigError, match="Is a directory"):
        proxy_users.read(str(tmp_path))
