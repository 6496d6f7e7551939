"""The file hosts(5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.services.hosts_file import MOST_ADDRESSES, HostsFile

if TYPE_CHECKING:
    from pathlib import Path


def test_names_have_the_addresses_of_both_families(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text(
        "192.0.2.9\tBoth.Example other # third\n2001:db8::9 both.example.\n"
        "fe80::1%eth0 both.example\nnonsense both.example\n192.0.2.9 both.example\n"
    )
    hosts = HostsFile(str(file))
    assert hosts.addresses("both.example") == {4: ("192.0.2.9",), 6: ("2001:db8::9",)}
    assert hosts.addresses("other") == {4: ("192.0.2.9",)}
    assert hosts.addresses("third") is None


def test_it_is_read_again_when_it_has_changed_or_gone(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    hosts = HostsFile(str(file))
    assert hosts.addresses("one") is None
    file.write_text("192.0.2.1 one\n")
    assert hosts.addresses("one") == {4: ("192.0.2.1",)}
    file.unlink()
    assert hosts.addresses("one") is None


def test_a_name_has_so_many_addresses_at_most(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("".join(f"192.0.2.{n} many\n" for n in range(MOST_ADDRESSES + 5)))
    found = HostsFile(str(file)).addresses("many")
    assert found is not None
    assert len(found[4]) == MOST_ADDRESSES
