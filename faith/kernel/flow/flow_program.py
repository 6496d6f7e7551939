"""The program of flows, loaded: one for interfaces with an Ethernet header, one for those without.

The verifier takes its time once for each of them; no compiler and no library is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from faith.kernel.bpf import bpf
from faith.kernel.flow.flow_object import FlowObject

if TYPE_CHECKING:
    from faith.kernel.flow.flow_maps import FlowMaps

ETHERNET, LAYER3 = "ethernet", "layer3"
"""The programs, by the names of their sections."""

NAME = "faith_flow"


def load(maps: FlowMaps, program: str) -> bpf.Object:
    """Load *program*, which uses *maps*.

    Needs CAP_BPF and CAP_NET_ADMIN.  Raises OSError; bpf.VerifierError where the kernel does not
    know what the program uses.
    """
    return bpf.load(bpf.PROGRAM_TC, NAME, code(maps, program), 0)


def code(maps: FlowMaps, program: str) -> bytes:
    """Return the instructions of *program*, which use *maps*."""
    descriptors = {name: each.fd for name, each in maps.maps.items()}
    return FlowObject.read(Path(__file__).parent).instructions(program, descriptors)
