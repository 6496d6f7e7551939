"""The contract of every way of binding a client and a mapped address to a listener."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from faith.errors import PermissionNeeded
from faith.kernel.descriptor import descriptors
from faith.kernel.sockets.tcp_sockets import listener
from tests.netns.rights import without_capabilities

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterator

    from tests.netns.conftest import Arrive

    ComesTo = Callable[[str], int | None]

CLIENT = "2001:db8:6::2"
MAPPED, OTHER = "2001:db8:ffff::1", "2001:db8:ffff::2"
PAIR = IPv6Address(CLIENT).packed + IPv6Address(MAPPED).packed


class Contract:
    """Tests of *way*, which takes *right*; one host is client and gateway."""

    way: Any
    right: str

    @pytest.fixture
    def listeners(self, private_network: None) -> Iterator[list[_socket.socket]]:
        subprocess.run(["ip", "route", "add", "local", "2001:db8::/32", "dev", "lo"], check=True)
        client = ["ip", "address", "add", f"{CLIENT}/128", "dev", "lo", "nodad"]
        subprocess.run(client, check=True)
        made = [listener("::1", 0, transparent=True) for _ in range(2)]
        yield made
        for one in made:
            one.close()

    @pytest.fixture
    def made(self, listeners: list[_socket.socket]) -> Iterator[Any]:
        """One, closed again."""
        made = self.way.create(listeners)
        yield made
        made.close()

    @pytest.fixture
    def comes_to(self, listeners: list[_socket.socket], arrive: Arrive) -> ComesTo:
        """The number of the listener that a connection to the address comes to."""

        def comes_to(address: str) -> int | None:
            try:
                number, accepted = arrive(listeners, address, 40000)
            except ConnectionRefusedError:
                return None
            accepted.close()
            return number

        return comes_to

    def test_a_pair_comes_to_its_listener_until_it_is_taken(
        self, made: Any, comes_to: ComesTo
    ) -> None:
        assert comes_to(MAPPED) is None
        made.put(PAIR, 1)
        assert comes_to(MAPPED) == 1
        assert comes_to(OTHER) is None
        made.put(PAIR, 0)
        assert comes_to(MAPPED) == 0
        made.remove(PAIR)
        assert comes_to(MAPPED) is None
        made.put(PAIR, 1)
        assert comes_to(MAPPED) == 1

    def test_taking_what_was_never_put_says_so(self, made: Any) -> None:
        with pytest.raises(OSError, match="No such file") as error:
            made.remove(PAIR)
        assert error.value.errno == errno.ENOENT

    def test_it_goes_on_in_the_next_program_and_ends_when_closed(
        self, listeners: list[_socket.socket], comes_to: ComesTo
    ) -> None:
        first = self.way.create(listeners)
        first.put(PAIR, 1)
        copies = {fd: os.dup(fd) for fd in descriptors(first.state())}
        state = json.loads(json.dumps(first.state()))
        first.close()
        for fd, copy in copies.items():  # as execve(2) leaves them
            os.dup2(copy, fd)
            os.close(copy)
        again = self.way.adopt(state)
        try:
            assert comes_to(MAPPED) == 1
            again.put(PAIR, 0)
            assert comes_to(MAPPED) == 0
        finally:
            again.close()
        assert comes_to(MAPPED) is None

    def test_the_missing_right_is_named_and_nothing_stays_open(
        self, listeners: list[_socket.socket]
    ) -> None:
        before = os.listdir("/proc/self/fd")
        with pytest.raises(PermissionNeeded, match=self.right):
            without_capabilities(lambda: self.way.create(listeners))
        assert os.listdir("/proc/self/fd") == before
