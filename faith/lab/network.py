"""Networks of namespaces."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from faith.lab.host import Host
from faith.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable


class Network:
    """Hosts and the links between them; a context manager that removes them all.

    Needs root, or the rights that :func:`faith.lab.gain_rights` gives.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._undo.close()

    def host(self, name: str) -> Host:
        """Make a host without links.  Raises SetupError."""
        host = self.hosts[name] = Host(name)
        self._undo.callback(host.close)
        return host

    def link(
        self,
        near: Host,
        far: Host,
        near_addresses: Iterable[str] = (),
        far_addresses: Iterable[str] = (),
        mtu: int = 1500,
    ) -> None:
        """Join two hosts by a link: devices ``to-FAR`` and ``to-NEAR``, up, with the addresses.

        Addresses are ``ADDRESS/LENGTH``.  Packets can pass when it returns.  Raises SetupError.
        """
        near_end, far_end = (f"to-{peer.name}"[:15] for peer in (far, near))
        near.links.join(near_end, far.namespace, far_end, mtu)
        for host, device, addresses in (
            (near, near_end, near_addresses),
            (far, far_end, far_addresses),
        ):
            # Link-local addresses must be usable at once too, and routes must not change later.
            host.sysctl(f"net.ipv6.conf.{device}.accept_dad", 0)
            host.links.up(device)
            for address in addresses:
                host.links.add_address(device, address)
        # The kernel notices the second end's carrier a moment later and drops packets until then.
        wait_until(
            lambda: near.links.is_up(near_end) and far.links.is_up(far_end),
            seconds=5,
            what=f"the link between {near.name} and {far.name}",
        )
