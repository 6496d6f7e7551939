"""Commands that the ALG takes part in, and every way they end."""

from __future__ import annotations

import pytest

from faith.ftp import CloseData, GoTransparent, Hangup, Log, OpenPassive, ToClient
from faith.ftp.exchange import Securing, Substituted
from faith.ftp.reply import ReplyLine
from tests.ftp_playbook import (
    Playbook,
    client,
    server,
    to_client,
    to_server,
    with_listener,
)


class TestSecuring:
    def test_a_preliminary_reply_decides_nothing(self) -> None:
        assert (
            Playbook()
            >> client("AUTH GSSAPI")
            << to_server("AUTH GSSAPI")
            >> server("120 Wait")
            << to_client("120 Wait")
            >> server(b"334-What\r\n334 then?\r\n")
            << to_client("334-What")
            << to_client("334 then?")
            << GoTransparent()
        )

    def test_replies_to_earlier_commands_decide_nothing(self) -> None:
        assert (
            Playbook()
            >> client(b"PWD\r\nAUTH TLS\r\nEPSV\r\n")
            << to_server("PWD")
            << to_server("AUTH TLS")
            >> server('257 "/"')
            << to_client('257 "/"')
            >> server("504 No")
            << to_client("504 No")
            << to_server("PASV")
        )

    def test_234_and_334_are_to_nothing_else(self) -> None:
        assert Securing.codes == {234, 334}

    @pytest.mark.parametrize("code", [400, 431, 504])
    def test_a_refusal_leaves_all_as_it_is(self, code: int) -> None:
        assert (
            Playbook()
            >> client("AUTH TLS")
            << to_server("AUTH TLS")
            >> server(f"{code} No")
            << to_client(f"{code} No")
            >> client("EPSV")
            << to_server("PASV")
        )


class TestReinitialising:
    def test_everything_is_as_at_the_beginning(self) -> None:
        playbook = with_listener()
        assert (
            playbook
            >> client("ALGS DISABLE64")
            << to_server("NOOP")
            >> server("200 Good")
            << to_client("216 NONE")
            >> client("REIN")
            << to_server("REIN")
            >> server("120 Wait")
            << to_client("120 Wait")
            >> server("220 Hello")
            << to_client("220 Hello")
            << CloseData(1)
            >> client("EPSV")
            << to_server("PASV")
        )

    @pytest.mark.parametrize("reply", ["300 Hm", "502 REIN not implemented"])
    def test_unless_the_server_refuses(self, reply: str) -> None:
        assert (
            with_listener()
            >> client("REIN")
            << to_server("REIN")
            >> server(reply)
            << to_client(reply)
            >> client("EPSV")
            << to_server("PASV")
            >> server("227 (192,0,2,21,237,19)")
            << CloseData(1)
            << OpenPassive(2, 60691)
        )


class TestSubstituted:
    def test_preliminary_replies_say_nothing(self) -> None:
        assert (
            Playbook()
            >> client("EPSV ALL")
            << to_server("NOOP")
            >> server("120 Wait")
            >> server("200 Good")
            << to_client("504 Command not implemented for that parameter")
        )

    @pytest.mark.parametrize("reply", ["200 Good", "500 NOOP?", "530 Login first"])
    def test_any_answer_will_do(self, reply: str) -> None:
        assert (
            Playbook()
            >> client("EPSV ALL")
            << to_server("NOOP")
            >> server(reply)
            << to_client("504 Command not implemented for that parameter")
        )

    @pytest.mark.parametrize("code", [227, 228, 229, 331, 600])
    def test_but_not_one_that_can_be_to_no_noop(self, code: int) -> None:
        line = ReplyLine(b"%d what" % code, code, starts=True, ends=True, fresh=True)
        assert Substituted("504 No").hear(line) == [
            Log("server", "no reply to NOOP in its place", str(code)),
            ToClient(b"421 Service not available, closing control connection\r\n"),
            Hangup(),
        ]

    def test_after_the_end_nothing_is_kept(self) -> None:
        playbook = Playbook()
        assert (
            playbook
            >> client("EPSV ALL")
            << to_server("NOOP")
            >> server("421 Bye")
            << Log("server", "no reply to NOOP in its place")
            << to_client("421 Service not available, closing control connection")
            << Hangup()
            >> client(b"x" * 1000)
            >> server(b"x" * 1000)
        )
        assert playbook.translator.held == 0
        assert not playbook.translator.wants_client
        assert not playbook.translator.wants_server
