"""Descriptors in a state: each is found once, however deep, and nothing else is."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import pytest

from faith.kernel.descriptor import Descriptor, close_others, descriptors


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    held: list[Descriptor] = field(default_factory=list)


class Struct(msgspec.Struct):
    number: int
    held: Descriptor


class Pair(NamedTuple):
    one: Descriptor
    other: int


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (None, []),
        (Descriptor(7), [7]),
        ({"a": Descriptor(7), "b": {"c": [1, (Descriptor(8), "x")]}}, [7, 8]),
        ([[[[Descriptor(3)]]], {}], [3]),
        (Pair(Descriptor(4), 5), [4]),
        (Record("7", [Descriptor(1), Descriptor(2)]), [1, 2]),
        ({"deep": [Struct(5, Descriptor(6))]}, [6]),
    ],
    ids=["nothing", "itself", "dicts", "lists", "named tuple", "dataclass", "msgspec"],
)
def test_all_are_found_in_their_order(state: object, found: list[int]) -> None:
    assert descriptors(state) == found


@pytest.mark.parametrize("other", [True, False, 0, 3, -1, 7.0, "7", b"7", range(3, 5)], ids=repr)
def test_what_is_not_marked_is_no_descriptor(other: object) -> None:
    assert descriptors([other, {"a": other}]) == []


def test_a_key_is_no_descriptor() -> None:
    assert descriptors({Descriptor(3): 1}) == []


def test_one_that_stands_twice_is_passed_once() -> None:
    assert descriptors({"a": [Descriptor(9), Descriptor(8)], "b": Descriptor(9)}) == [9, 8]


def test_in_json_it_is_its_number() -> None:
    state = json.loads(json.dumps({"a": [Descriptor(9), 1], "b": Descriptor(10)}))
    assert state == {"a": [9, 1], "b": 10}
    assert descriptors(state) == []  # so whoever adopts it and passes it on marks it anew


def test_it_is_the_descriptor_of_its_source() -> None:
    with open(os.devnull) as file:
        assert Descriptor.of(file) == file.fileno()


def kept_by_a_child(*kept: socket.socket) -> set[int]:
    """The descriptors that a child has open which keeps *kept*."""
    said, say = socket.socketpair()
    with said, say:
        pid = os.fork()
        if not pid:
            try:
                close_others([say, *kept])
                say.sendall(" ".join(os.listdir("/proc/self/fd")).encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        found = set(map(int, said.recv(4096).split()))
        assert say.fileno() in found
        listing = min(set(range(3, 4096)) - {say.fileno(), *(one.fileno() for one in kept)})
        return found - {say.fileno(), listing}


def test_a_child_keeps_what_it_names_and_the_standard_streams() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert kept_by_a_child(one) == {0, 1, 2, one.fileno()}
        assert kept_by_a_child() == {0, 1, 2}


def test_one_that_is_named_twice_is_no_error() -> None:
    with socket.socket() as one:
        assert kept_by_a_child(one, one) == {0, 1, 2, one.fileno()}


def test_the_parent_loses_nothing() -> None:
    before = os.listdir("/proc/self/fd")
    kept_by_a_child()
    assert os.listdir("/proc/self/fd") == before
