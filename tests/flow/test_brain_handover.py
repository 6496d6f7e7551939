from __future__ import annotations

import json
from typing import TYPE_CHECKING

from faith.flow.brain_handover import BrainHandover
from tests.flow.stand import Stand, octets

if TYPE_CHECKING:
    from faith.kernel.flow.flow_maps import FlowMaps


def handover(stand: Stand, served: list[str]) -> BrainHandover:
    def serve() -> None:
        stand.table.restore()
        served.append("served")

    return BrainHandover(stand.table, stand.ends, serve)


def test_what_is_not_in_the_maps_goes_to_the_next_brain(maps: FlowMaps) -> None:
    before, after = Stand(maps), Stand(maps)
    one, two, gone = before.open(3)
    for number in (one, two, gone):
        before.ends.learned[number] = maps.generation_of(number), "unreachable"
    before.ends.learned[gone] = 99999, "unreachable"
    before.table.keep_generation(500)
    served: list[str] = []
    giver, taker = handover(before, []), handover(after, served)
    assert giver.left
    states, descriptors = giver.give(100)
    assert not giver.left
    assert giver.give(100) == ([], [])
    taker.adopt(json.loads(json.dumps(states)), descriptors)
    assert served == ["served"]
    assert after.table.open.taken == 3
    assert after.table.generation == 500
    assert after.table.ports.next == before.table.ports.next
    assert set(after.ends.learned) == {one, two}


def test_a_giver_that_has_to_go_on_itself_has_all_again(stand: Stand) -> None:
    (number,) = stand.open()
    served: list[str] = []
    giver = handover(stand, served)
    states, descriptors = giver.give(100)
    giver.adopt(states, descriptors)
    assert giver.left
    assert served == ["served"]
    assert stand.table.by_key6[stand.maps.read(number).key6] == number
    assert octets("198.51.100.9") in stand.table.ports.next
