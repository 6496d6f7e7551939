"""The table, from either side."""

from __future__ import annotations

import pytest

from faith.ftp import V4_TO_V6, V6_TO_V4, CloseData, Log, OpenActive, OpenPassive
from tests.ftp_playbook import Playbook, client, listening, server, to_client, to_server

V6_LPRT = "6,16,32,1,13,184,0,2,0,0,0,0,0,0,0,0,0,49,2,20,162"


def refusal(playbook: Playbook, command: str) -> str:
    """What the ALG says to a *command* that goes no further."""
    translator = playbook.translator
    events = translator.from_client(command.encode() + b"\r\n")
    assert [event for event in events if not isinstance(event, Log)] == [to_server("NOOP")]
    (reply,) = translator.from_server(b"200 Good\r\n")
    assert type(reply) is type(to_client(""))
    return reply.data.decode().rstrip()


class TestFromV6:
    def test_lpsv_becomes_pasv_and_227_becomes_228(self) -> None:
        assert (
            Playbook()
            >> client("LPSV")
            << to_server("PASV")
            >> server("227 Entering Passive Mode (192,0,2,21,237,19)")
            << OpenPassive(1, 60691)
            >> listening(2000)
            << to_client(
                "228 Entering Long Passive Mode "
                "(6,16,32,1,13,184,255,255,0,0,0,0,0,0,192,0,2,21,2,7,208)"
            )
        )

    def test_lprt_becomes_port(self) -> None:
        assert (
            Playbook()
            >> client(f"LPRT {V6_LPRT}")
            << OpenActive(1, 5282)
            >> listening(60192)
            << to_server("PORT 192,0,2,31,235,32")
            >> server("200 Good")
            << to_client("200 Good")
        )

    def test_lprt_of_another_family_is_told_ours(self) -> None:
        assert refusal(Playbook(), "LPRT 4,4,192,0,2,31,2,20,162") == (
            "521 Supported address families are (6)"
        )

    @pytest.mark.parametrize(
        "command", ["EPSV here", "EPSV 2 3", "LPSV 6", "EPRT", "EPRT |2|", "LPRT", "LPRT 6,16"]
    )
    def test_arguments_that_make_no_sense(self, command: str) -> None:
        assert refusal(Playbook(), command) == "501 Syntax error in parameters or arguments"


class TestFromV4:
    @pytest.mark.parametrize("command", ["PASV", "pasv"])
    def test_pasv_becomes_epsv_and_229_becomes_227(self, command: str) -> None:
        assert (
            Playbook(V4_TO_V6)
            >> client(command)
            << to_server("EPSV")
            >> server("229 Entering Extended Passive Mode (|||60691|)")
            << OpenPassive(1, 60691)
            >> listening(60691)
            << to_client("227 Entering Passive Mode (198,51,100,80,237,19)")
        )

    def test_port_becomes_eprt(self) -> None:
        assert (
            Playbook(V4_TO_V6)
            >> client("PORT 198,51,100,7,20,162")
            << OpenActive(1, 5282)
            >> listening(60192)
            << to_server("EPRT |2|2001:db8:2::31|60192|")
            >> server("200 Good")
            << to_client("200 Good")
        )

    @pytest.mark.parametrize("command", ["EPSV", "EPSV 1"])
    def test_epsv_tells_the_relays_port(self, command: str) -> None:
        assert (
            Playbook(V4_TO_V6)
            >> client(command)
            << to_server("EPSV")
            >> server("229 Entering Extended Passive Mode (|||60691|)")
            << OpenPassive(1, 60691)
            >> listening(2000)
            << to_client("229 Entering Extended Passive Mode (|||2000|)")
        )

    def test_lpsv_and_lprt(self) -> None:
        assert (
            Playbook(V4_TO_V6)
            >> client("LPSV")
            << to_server("EPSV")
            >> server("229 Entering Extended Passive Mode (|||60691|)")
            << OpenPassive(1, 60691)
            >> listening(2000)
            << to_client("228 Entering Long Passive Mode (4,4,198,51,100,80,2,7,208)")
            >> client("LPRT 4,4,198,51,100,7,2,20,162")
            << OpenActive(2, 5282)
            >> listening(60192)
            << to_server("EPRT |2|2001:db8:2::31|60192|")
            >> server("200 Good")
            << to_client("200 Good")
            << CloseData(1)
        )

    def test_epsv_and_eprt_are_for_ipv4(self) -> None:
        only = "522 Network protocol not supported, use (1)"
        assert refusal(Playbook(V4_TO_V6), "EPSV 2") == only
        assert refusal(Playbook(V4_TO_V6), "EPRT |2|2001:db8::1|5282|") == only
        assert refusal(Playbook(V4_TO_V6), "LPRT 6,16,1") == (
            "521 Supported address families are (4)"
        )

    def test_of_a_227_the_port_is_taken(self) -> None:
        assert (
            Playbook(V4_TO_V6)
            >> client("EPSV")
            << to_server("EPSV")
            >> server("227 Entering Passive Mode (1,2,3,4,5,6)")
            << OpenPassive(1, 1286)
        )

    def test_algs_is_not_for_it(self) -> None:
        assert (
            Playbook(V4_TO_V6)
            >> client("ALGS STATUS64")
            << to_server("ALGS STATUS64")
            >> server("500 What?")
            << to_client("500 What?")
        )


class TestActive:
    BOUNCES = (
        (V6_TO_V4, "EPRT |2|2001:db8:2::32|5282|"),
        (V6_TO_V4, "LPRT 6,16,32,1,13,184,0,2,0,0,0,0,0,0,0,0,0,50,2,20,162"),
        (V4_TO_V6, "PORT 198,51,100,8,20,162"),
        (V4_TO_V6, "EPRT |1|198.51.100.8|5282|"),
        (V4_TO_V6, "LPRT 4,4,198,51,100,8,2,20,162"),
    )

    @pytest.mark.parametrize("active", [True, False])
    @pytest.mark.parametrize(("direction", "command"), BOUNCES)
    def test_only_the_clients_own_address(
        self, direction: object, command: str, active: bool
    ) -> None:
        table = V4_TO_V6 if direction is V4_TO_V6 else V6_TO_V4
        said = refusal(Playbook(table, active=active), command)
        assert said == "501 Only the address of this connection, please"

    @pytest.mark.parametrize("port", [1, 22, 1023])
    def test_a_port_of_the_systems_is_refused(self, port: int) -> None:
        said = refusal(Playbook(), f"EPRT |2|2001:db8:2::31|{port}|")
        assert said == "504 No port below 1024, please"

    def test_both_are_logged(self) -> None:
        events = Playbook().translator.from_client(b"EPRT |2|2001:db8:2::32|5282|\r\n")
        (log,) = [event for event in events if isinstance(event, Log)]
        assert log.peer == "client"
        assert "2001:db8:2::32" in log.detail
