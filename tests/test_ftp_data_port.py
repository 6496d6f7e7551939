"""Data connections: ports asked for and told, listeners made and closed."""

from __future__ import annotations

import json

import pytest

from faith.ftp import V6_TO_V4, CloseData, Log, OpenActive, OpenPassive, ToClient, ToServer
from faith.ftp.data_port import ActiveTranslated, PassiveTranslated, PassiveUntouched
from faith.ftp.listeners import Listeners
from faith.ftp.notation import Endpoint
from faith.ftp.reply import ReplyLine
from faith.ftp.telnet import LIMIT
from tests.ftp_playbook import (
    Playbook,
    client,
    listening,
    refused,
    server,
    to_client,
    to_server,
    with_listener,
)

EPRT = "EPRT |2|2001:db8:2::31|5282|"
NO_LISTENER = Log("gateway", "no listener for a data connection")


LISTENERS = Listeners(3, (1, 2))
GOOD = ReplyLine(b"200 Good\r\n", 200, starts=True, ends=True, fresh=True)


def active() -> ActiveTranslated:
    return ActiveTranslated(5282, V6_TO_V4.ask, Endpoint(4, 0xC000021F, 0), LISTENERS)


def test_227_and_229_are_to_nothing_else() -> None:
    assert PassiveTranslated.codes == PassiveUntouched.codes == {227, 229}


class TestPassiveTranslated:
    @pytest.mark.parametrize("reply", ["421 Bye", "500 What?", "530 Login first", "200 Hm"])
    def test_another_reply_passes(self, reply: str) -> None:
        assert (
            Playbook()
            >> client(b"EPSV\r\nPWD\r\n")
            << to_server("PASV")
            >> server(reply)
            << to_client(reply)
            << to_server("PWD")
        )

    def test_a_227_of_several_lines_is_one_reply(self) -> None:
        assert (
            Playbook()
            >> client("EPSV")
            << to_server("PASV")
            >> server(b"227-Now\r\n listen:\r\n227 (192,0,2,21,237,19)\r\n")
            << OpenPassive(1, 60691)
        )

    @pytest.mark.parametrize(
        "reply", ["229 Entering Extended Passive Mode (|||60691|)", "229 (!!!60691!)"]
    )
    def test_a_229_tells_a_port_as_well(self, reply: str) -> None:
        assert (
            Playbook()
            >> client("EPSV")
            << to_server("PASV")
            >> server(reply)
            << OpenPassive(1, 60691)
            >> listening(60691)
            << to_client("229 Entering Extended Passive Mode (|||60691|)")
        )

    def test_or_none(self) -> None:
        assert (
            Playbook()
            >> client("EPSV")
            << to_server("PASV")
            >> server("229 Extended Passive Mode")
            << Log("server", "no port in a reply 229")
            << to_client("425 Can't open data connection")
        )

    def test_a_refusal_of_several_lines_passes(self) -> None:
        assert (
            Playbook()
            >> client("EPSV")
            << to_server("PASV")
            >> server(b"530-Not\r\n227 yet\r\n530 now\r\n")
            << to_client("530-Not")
            << to_client("227 yet")
            << to_client("530 now")
        )

    def test_without_a_listener_the_failure_is_temporary(self) -> None:
        assert (
            Playbook()
            >> client(b"EPSV\r\nPWD\r\n")
            << to_server("PASV")
            >> server(b"227 (192,0,2,21,237,19)\r\n")
            << OpenPassive(1, 60691)
            >> refused("too many")
            << NO_LISTENER
            << to_client("425 Can't open data connection")
            << to_server("PWD")
        )

    def test_the_next_one_closes_the_listener(self) -> None:
        playbook = with_listener()
        for number, port in ((2, 1025), (3, 1026)):
            assert (
                playbook
                >> client("EPSV")
                << to_server("PASV")
                >> server(f"227 (192,0,2,21,4,{port - 1024})")
                << CloseData(number - 1)
                << OpenPassive(number, port)
                >> listening(port)
                << to_client(f"229 Entering Extended Passive Mode (|||{port}|)")
            )

    def test_unless_the_server_refuses(self) -> None:
        assert (
            with_listener()
            >> client("EPSV")
            << to_server("PASV")
            >> server("425 No")
            << to_client("425 No")
            >> client("EPSV")
            << to_server("PASV")
            >> server("227 what")
            << CloseData(1)
            << Log("server", "no port in a reply 227")
            << to_client("425 Can't open data connection")
        )

    def test_what_was_refused_closes_nothing(self) -> None:
        playbook = with_listener()
        for command, reply in (
            ("EPSV 1", "522 Network protocol not supported, use (2)"),
            ("EPSV ALL", "504 Command not implemented for that parameter"),
            ("PASV", "502 PASV is for IPv4, use EPSV"),
        ):
            assert (
                playbook
                >> client(command)
                << to_server("NOOP")
                >> server("200 Good")
                << to_client(reply)
            )

    def test_a_line_beyond_the_limit_has_no_port(self) -> None:
        assert (
            Playbook()
            >> client("EPSV")
            << to_server("PASV")
            >> server(b"227 " + b"x" * LIMIT + b" (192,0,2,21,237,19)\r\n")
            << Log("server", "no port in a reply 227")
            << to_client("425 Can't open data connection")
        )


class TestActiveTranslated:
    @pytest.mark.parametrize(
        "reply", ["300 Hm", "425 No", "500 Illegal PORT command", "530 Login first"]
    )
    def test_a_refusal_closes_the_listener(self, reply: str) -> None:
        assert (
            Playbook()
            >> client(EPRT)
            << OpenActive(1, 5282)
            >> listening(60192)
            << to_server("PORT 192,0,2,31,235,32")
            >> server(reply)
            << to_client(reply)
            << CloseData(1)
        )

    def test_a_reply_of_several_lines_is_one(self) -> None:
        assert (
            with_listener()
            >> client(EPRT)
            << OpenActive(2, 5282)
            >> listening(60192)
            << to_server("PORT 192,0,2,31,235,32")
            >> server("200-Good,")
            << to_client("200-Good,")
            >> server("200 very good")
            << to_client("200 very good")
            << CloseData(1)
        )

    def test_the_one_before_stays_until_the_server_agrees(self) -> None:
        assert (
            with_listener()
            >> client(b"RETR a\r\n" + EPRT.encode() + b"\r\n")
            << to_server("RETR a")
            << OpenActive(2, 5282)
            >> listening(60192)
            << to_server("PORT 192,0,2,31,235,32")
            >> server(b"150 a\r\n226 a\r\n200 Good\r\n")
            << to_client("150 a")
            << to_client("226 a")
            << to_client("200 Good")
            << CloseData(1)
        )

    def test_the_one_before_stays_if_the_server_refuses(self) -> None:
        assert (
            with_listener()
            >> client(EPRT)
            << OpenActive(2, 5282)
            >> listening(60192)
            << to_server("PORT 192,0,2,31,235,32")
            >> server("500 No")
            << to_client("500 No")
            << CloseData(2)
            >> client(EPRT)
            << OpenActive(3, 5282)
            >> listening(60193)
            << to_server("PORT 192,0,2,31,235,33")
            >> server("200 Good")
            << to_client("200 Good")
            << CloseData(1)
        )

    def test_a_reply_that_seems_to_have_passed_closes_the_ones_before(self) -> None:
        assert active().presume() == [CloseData(1), CloseData(2)]
        instead = active()
        instead.refused("too many")
        assert instead.presume() == [ToClient(b"425 Can't open data connection\r\n")]

    @pytest.mark.parametrize("is_refused", [False, True])
    def test_it_goes_on_elsewhere(self, is_refused: bool) -> None:
        before, after = active(), active()
        if is_refused:
            before.refused("too many")
        after.restore(json.loads(json.dumps(before.state())))
        assert after.hear(GOOD) == before.hear(GOOD)
        assert after.presume() == before.presume()
        assert (after.state(), after.presume() == active().presume()) == (
            [is_refused],
            not is_refused,
        )

    def test_what_was_not_opened_is_not_closed(self) -> None:
        assert (
            with_listener()
            >> client(EPRT)
            << OpenActive(2, 5282)
            >> refused("too many")
            << NO_LISTENER
            << to_server("NOOP")
            >> server("200 Good")
            << to_client("425 Can't open data connection")
            >> client("EPSV")
            << to_server("PASV")
            >> server("227 (192,0,2,21,237,19)")
            << CloseData(1)
            << OpenPassive(3, 60691)
        )


class TestPassiveUntouched:
    def test_it_goes_on_elsewhere_with_the_reply_that_it_holds(self) -> None:
        data = b"229 \xe4 (|||60691|)\r\n"
        before, after = (PassiveUntouched(ToServer(b"EPSV\r\n"), LISTENERS) for _ in range(2))
        before.hear(ReplyLine(data, 229, starts=True, ends=True, fresh=True))
        after.restore(json.loads(json.dumps(before.state())))
        assert after.state() == before.state()
        assert after.listening(60691) == [ToClient(data)]

    def test_the_port_is_in_the_last_line(self) -> None:
        assert (
            self.disabled()
            >> client("EPSV")
            << to_server("EPSV")
            >> server(b"229-was (|||60690|)\r\n229 (|||60691|)\r\n")
            << to_client("229-was (|||60690|)")
            << OpenPassive(1, 60691, same_port=True)
        )

    @staticmethod
    def disabled() -> Playbook:
        playbook = Playbook()
        assert (
            playbook
            >> client("ALGS DISABLE64")
            << to_server("NOOP")
            >> server("200 Good")
            << to_client("216 NONE")
        )
        return playbook

    def test_without_a_listener_the_reply_passes_all_the_same(self) -> None:
        reply = "229 Entering Extended Passive Mode (|||60691|)"
        assert (
            self.disabled()
            >> client(b"EPSV\r\nPWD\r\n")
            << to_server("EPSV")
            >> server(reply)
            << OpenPassive(1, 60691, same_port=True)
            >> refused("in use")
            << NO_LISTENER
            << to_client(reply)
            << to_server("PWD")
        )

    def test_several_lines(self) -> None:
        assert (
            self.disabled()
            >> client("EPSV")
            << to_server("EPSV")
            >> server(b"229-Now\r\n229 (|||60691|)\r\n")
            << to_client("229-Now")
            << OpenPassive(1, 60691, same_port=True)
            >> listening(60691)
            << to_client("229 (|||60691|)")
        )

    def test_a_reply_without_a_port_passes(self) -> None:
        assert (
            self.disabled()
            >> client("PASV")
            << to_server("PASV")
            >> server("227 (1,2,3,4,5,6,7)")
            << to_client("227 (1,2,3,4,5,6,7)")
        )
