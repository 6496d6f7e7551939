"""Order, pairing, bounds, and what bad input comes to."""

from __future__ import annotations

import pytest

from faith.ftp import CloseData, Hangup, Log, OpenActive, OpenPassive, ToClient, ToServer
from faith.ftp.telnet import LIMIT
from faith.ftp.translator import REFUSALS
from tests.ftp_playbook import (
    Playbook,
    client,
    listening,
    new_translator,
    server,
    to_client,
    to_server,
)

EPRT = "EPRT |2|2001:db8:2::31|5282|"
GOODBYE = to_client("421 Service not available, closing control connection")


# -- order ---------------------------------------------------------------------------------------


def test_pipelined_commands_keep_their_order() -> None:
    assert (
        Playbook()
        >> client(b"TYPE I\r\n" + EPRT.encode() + b"\r\nRETR a\r\nEPSV\r\nRETR b\r\nQUIT\r\n")
        << to_server("TYPE I")
        << OpenActive(1, 5282)
        >> listening(60192)
        << to_server("PORT 192,0,2,31,235,32")
        >> server(b"200 Binary\r\n200 PORT it is\r\n")
        << to_client("200 Binary")
        << to_client("200 PORT it is")
        << to_server("RETR a")
        << to_server("PASV")
        >> server(b"150 a\r\n226 a\r\n227 (192,0,2,21,237,19)\r\n")
        << to_client("150 a")
        << to_client("226 a")
        << CloseData(1)
        << OpenPassive(2, 60691)
        >> listening(60691)
        << to_client("229 Entering Extended Passive Mode (|||60691|)")
        << to_server("RETR b")
        << to_server("QUIT")
    )


def test_replies_keep_their_order() -> None:
    assert (
        Playbook()
        >> client("EPSV")
        << to_server("PASV")
        >> server(b"227 (192,0,2,21,237,19)\r\n\xff\xfd\x18421 Bye\r\n")
        << OpenPassive(1, 60691)
        >> listening(60691)
        << to_client("229 Entering Extended Passive Mode (|||60691|)")
        << to_server(b"\xff\xfc\x18")
        << to_client("421 Bye")
    )


def test_what_is_read_and_when() -> None:
    translator = new_translator()

    def wants() -> tuple[bool, bool]:
        return translator.wants_client, translator.wants_server

    assert wants() == (True, True)
    translator.from_client(b"EPSV\r\n")
    assert wants() == (False, True)
    translator.from_server(b"227 (192,0,2,21,237,19)\r\n")
    assert wants() == (False, False)
    translator.listening(60691)
    assert wants() == (True, True)
    translator.from_client(EPRT.encode() + b"\r\n")
    assert wants() == (False, False)
    translator.refused("too many")
    assert wants() == (False, True)
    translator.from_server(b"200 Good\r\n")
    assert wants() == (True, True)
    translator.from_client(b"AUTH TLS\r\n")
    assert wants() == (False, True)
    translator.from_server(b"234 Go on\r\n")
    assert wants() == (True, True)


def test_what_waits_is_kept_and_no_more() -> None:
    translator = new_translator()
    translator.from_client(b"EPSV\r\n" + b"NOOP\r\n" * 100)
    assert translator.held == 600
    translator.from_server(b"227 (192,0,2,21,237,19)\r\n220 what")
    assert translator.held == 608
    assert translator.listening(60691)[1:] == [ToServer(b"NOOP\r\n")] * 100
    assert translator.held == 8


@pytest.mark.parametrize("begin", [b"", b"EPSV\r\n", b"AUTH TLS\r\n"])
def test_a_listener_is_told_of_when_it_was_asked_for(begin: bytes) -> None:
    translator = new_translator()
    translator.from_client(begin)
    with pytest.raises(RuntimeError):
        translator.listening(60691)
    with pytest.raises(RuntimeError):
        translator.refused("too many")


# -- which reply is to what ----------------------------------------------------------------------


def test_the_greeting_is_to_no_command() -> None:
    assert (
        Playbook(greeted=False)
        >> client("EPSV ALL")
        << to_server("NOOP")
        >> server("120 Wait")
        << to_client("120 Wait")
        >> server(b"220-Hello\r\n200 times\r\n220 welcome\r\n")
        << to_client("220-Hello")
        << to_client("200 times")
        << to_client("220 welcome")
        >> server("200 Good")
        << to_client("504 Command not implemented for that parameter")
    )


def test_what_the_server_says_unasked_passes() -> None:
    assert (
        Playbook()
        >> server("421 Timeout")
        << to_client("421 Timeout")
        >> server("a warning")
        << to_client("a warning")
        >> client("EPSV ALL")
        << to_server("NOOP")
        >> server("another warning")
        << to_client("another warning")
        >> server("200 Good")
        << to_client("504 Command not implemented for that parameter")
    )


def test_abor_and_the_transfer_have_a_reply_each() -> None:
    assert (
        Playbook()
        >> client(b"RETR a\r\nABOR\r\nEPSV\r\n")
        << to_server("RETR a")
        << to_server("ABOR")
        << to_server("PASV")
        >> server(b"150 a\r\n426 Aborted\r\n226 Done\r\n227 (192,0,2,21,237,19)\r\n")
        << to_client("150 a")
        << to_client("426 Aborted")
        << to_client("226 Done")
        << OpenPassive(1, 60691)
    )


def test_a_server_that_is_one_reply_short() -> None:
    assert (
        Playbook()
        >> client(b"RETR a\r\nABOR\r\nEPSV\r\nEPSV ALL\r\n")
        << to_server("RETR a")
        << to_server("ABOR")
        << to_server("PASV")
        >> server(b"226 Done\r\n227 (192,0,2,21,237,19)\r\n")
        << to_client("226 Done")
        << OpenPassive(1, 60691)
        >> listening(60691)
        << to_client("229 Entering Extended Passive Mode (|||60691|)")
        << to_server("NOOP")
        >> server("200 Good")
        << to_client("504 Command not implemented for that parameter")
    )


@pytest.mark.parametrize(
    "replies",
    [
        [],  # pure-ftpd
        ["426 Aborted"],
        ["426 Aborted", "226 Done"],
        ["226 Sent", "225 Nothing to abort"],
    ],
)
def test_however_many_replies_an_abort_has_the_next_listener_is_not_waited_for(
    replies: list[str],
) -> None:
    playbook = Playbook()
    assert playbook >> client("RETR a") << to_server("RETR a")
    assert playbook >> server("150 a") << to_client("150 a")
    assert playbook >> client("ABOR") << to_server("ABOR")
    for reply in replies:
        assert playbook >> server(reply) << to_client(reply)
    assert (
        playbook
        >> client(EPRT)
        << OpenActive(1, 5282)
        >> listening(60192)
        << to_server("PORT 192,0,2,31,235,32")
        >> server("200 PORT it is")
        << to_client("200 PORT it is")
        >> client("RETR b")
        << to_server("RETR b")
    )


def test_stat_during_a_transfer_is_answered_before_it() -> None:
    assert (
        Playbook()
        >> client(b"RETR a\r\nSTAT\r\nEPSV\r\n")
        << to_server("RETR a")
        << to_server("STAT")
        << to_server("PASV")
        >> server(b"150 a\r\n213 So far so good\r\n226 Done\r\n227 (192,0,2,21,237,19)\r\n")
        << to_client("150 a")
        << to_client("213 So far so good")
        << to_client("226 Done")
        << OpenPassive(1, 60691)
    )


def test_quit_during_a_transfer() -> None:
    assert (
        Playbook()
        >> client(b"RETR a\r\nQUIT\r\n")
        << to_server("RETR a")
        << to_server("QUIT")
        >> server(b"226 Done\r\n221 Bye\r\n")
        << to_client("226 Done")
        << to_client("221 Bye")
    )


def transferred(*replies: str) -> Playbook:
    """A transfer with a NOOP of the client's in its midst, to which the server's *replies* are."""
    playbook = Playbook()
    assert (
        playbook >> client("RETR a") << to_server("RETR a") >> server("150 a") << to_client("150 a")
    )
    assert playbook >> client("NOOP") << to_server("NOOP")
    for reply in replies:
        assert playbook >> server(reply) << to_client(reply)
    return playbook


@pytest.mark.parametrize(
    "replies",
    [["226 Done"], ["200 ok", "226 Done"], ["226 Done", "200\tok"], ["226 Done", "200ok"]],
    ids=str,
)
def test_whether_or_not_a_noop_is_answered_nothing_waits_for_it(replies: list[str]) -> None:
    assert (
        transferred(*replies)
        >> client(EPRT)
        << OpenActive(1, 5282)
        >> listening(60192)
        << to_server("PORT 192,0,2,31,235,32")
        >> server("200 PORT it is")
        << to_client("200 PORT it is")
        >> client("PASV")
        << to_server("NOOP")
        >> server("200 ok")
        << to_client("502 PASV is for IPv4, use EPSV")
        >> client("EPSV")
        << to_server("PASV")
        >> server("530 No")
        << to_client("530 No")
        >> client("PWD")
        << to_server("PWD")
    )


def test_an_answer_to_noop_that_comes_late_is_none_to_pasv() -> None:
    assert (
        transferred("226 Done")
        >> client("EPSV")
        << to_server("PASV")
        >> server(b"200 ok\r\n227 (192,0,2,21,237,19)\r\n")
        << to_client("200 ok")
        << OpenPassive(1, 60691)
    )


@pytest.mark.parametrize("late", ["227 (192,0,2,21,237,19)", "229 (|||60691|)", "227-"])
def test_a_port_that_comes_too_late_is_none(late: str) -> None:
    playbook = transferred("226 Done") >> client("EPSV") << to_server("PASV")
    assert playbook >> server("500 NOOP? Not now") << to_client("500 NOOP? Not now")
    if late.endswith("-"):
        assert playbook >> server(late)
        late = "227 (192,0,2,21,237,19)"
    assert (
        playbook
        >> server(late)
        << to_client("425 Can't open data connection")
        >> server("227 is another matter")
        << to_client("227 is another matter")
    )


def test_a_port_that_comes_too_late_is_no_answer_to_noop() -> None:
    assert (
        transferred("226 Done")
        >> client("EPSV")
        << to_server("PASV")
        >> server("500 NOOP? Not now")
        << to_client("500 NOOP? Not now")
        >> client("EPSV ALL")
        << to_server("NOOP")
        >> server("227 (192,0,2,21,237,19)")
        << to_client("425 Can't open data connection")
        >> server("200 ok")
        << to_client("504 Command not implemented for that parameter")
    )


# -- replies that do not end as they begin -------------------------------------------------------


def logged_in_oddly(*pipelined: str) -> Playbook:
    playbook = Playbook() >> client("PASS x") << to_server("PASS x")
    for command, event in zip(pipelined[::2], pipelined[1::2], strict=True):
        playbook = playbook >> client(command) << to_server(event)
    playbook = playbook >> server("230-Welcome") << to_client("230-Welcome")
    assert playbook >> server("231 In") << to_client("231 In")
    return playbook


@pytest.mark.parametrize(
    ("reply", "port"), [("227 (192,0,2,21,237,19)", 60691), ("229 (|||1234|)", 1234)]
)
def test_no_port_reaches_the_client_as_the_text_of_another_reply(reply: str, port: int) -> None:
    for playbook in (
        logged_in_oddly() >> client("EPSV") << to_server("PASV"),
        logged_in_oddly("EPSV", "PASV"),
    ):
        assert playbook >> server(reply) << OpenPassive(1, port)


def test_who_goes_on_has_seen_the_end() -> None:
    assert (
        logged_in_oddly()
        >> client(EPRT)
        << OpenActive(1, 5282)
        >> listening(60192)
        << to_server("PORT 192,0,2,31,235,32")
        >> server("500 Never")
        << to_client("500 Never")
        << CloseData(1)
    )


def test_a_refusal_in_which_a_port_is_told_is_none() -> None:
    assert (
        Playbook()
        >> client("EPSV")
        << to_server("PASV")
        >> server(b"200-Passive mode\r\n227 (192,0,2,21,237,19)\r\n")
        << to_client("200-Passive mode")
        << OpenPassive(1, 60691)
    )


# -- replies that seem to have passed ------------------------------------------------------------


def test_while_all_is_clear_nothing_is_overdue() -> None:
    translator = new_translator()
    translator.from_server(b"220 Hello\r\n")
    translator.from_client(b"RETR a\r\nEPSV ALL\r\n")
    for reply in (b"", b"150 a\r\n", b"213 Half of it\r\n"):
        translator.from_server(reply)
        if b"213" not in reply:
            assert not translator.doubts
            assert translator.overdue() == []
    assert not translator.wants_client


@pytest.mark.parametrize(
    ("reply", "doubts"), [("257 /", False), ("399 Hm", False), ("400 No", True), ("550 No", True)]
)
def test_a_refusal_to_another_command_may_have_been_to_epsv(reply: str, doubts: bool) -> None:
    translator = new_translator()
    translator.from_server(b"220 Hello\r\n")
    translator.from_client(b"PWD\r\nEPSV\r\n")
    translator.from_server(reply.encode() + b"\r\n")
    assert translator.doubts is doubts


def test_an_own_reply_that_goes_on_leaves_no_doubt() -> None:
    playbook = Playbook() >> client("EPSV") << to_server("PASV")
    assert playbook >> server("227-Listening")
    assert not playbook.translator.doubts


def test_a_reply_taken_for_anothers_is_presumed_to_have_passed() -> None:
    playbook = transferred() >> client("EPSV ALL") << to_server("NOOP")
    playbook = playbook >> server("226 Done") << to_client("226 Done")
    assert playbook >> server("200 ok") << to_client("200 ok")
    assert playbook.translator.doubts
    assert playbook.translator.overdue() == [
        to_client("504 Command not implemented for that parameter")
    ]
    assert not playbook.translator.doubts
    assert playbook >> client("PWD") << to_server("PWD")


def test_so_is_one_to_port() -> None:
    playbook = Playbook() >> client(b"SITE silence\r\n") << to_server("SITE silence")
    playbook = playbook >> client(EPRT) << OpenActive(1, 5282) >> listening(60192)
    playbook = playbook << to_server("PORT 192,0,2,31,235,32")
    assert playbook >> server("200 ok") << to_client("200 ok")
    assert playbook.translator.overdue() == []
    assert playbook.translator.wants_client


def test_an_own_reply_that_may_be_over_is_presumed_to_be() -> None:
    playbook = Playbook() >> client("EPSV") << to_server("PASV")
    assert playbook >> server(b"227-Listening\r\n200 ok\r\n")
    assert playbook.translator.doubts
    events = playbook.translator.overdue()
    assert events[1:] == [to_client("425 Can't open data connection")]
    assert playbook >> server("250 more") << to_client("250 more")


# -- ends ----------------------------------------------------------------------------------------


def test_the_last_line_of_a_server_may_have_no_end() -> None:
    playbook = Playbook(greeted=False)
    translator = playbook.translator
    assert translator.from_server(b"421 Too many users, bye") == []
    assert not translator.server_is_through
    assert translator.server_ended() == [ToClient(b"421 Too many users, bye")]
    assert translator.server_is_through
    assert not translator.client_is_through


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        (b"QUIT", b"QUIT"),
        (b"\xff\xf4RETR a\xff", b"\xff\xf4RETR a\xff"),
        (b"EPSV", b"PASV\r\n"),
        (b"PORT 1,2,3,4,5,6", b"NOOP\r\n"),
        (b"AUTH TLS", b"AUTH TLS"),
        (b"x" * LIMIT + b"y", b"NOOP\r\n"),
    ],
)
def test_nor_that_of_a_client(line: bytes, sent: bytes) -> None:
    translator = new_translator()
    translator.from_server(b"220 Hello\r\n")
    events = [*translator.from_client(line), *translator.client_ended()]
    assert b"".join(event.data for event in events if isinstance(event, ToServer)) == sent


def test_the_end_comes_after_what_waits() -> None:
    translator = new_translator()
    translator.from_server(b"220 Hello\r\n")
    translator.from_client(b"EPSV\r\nQUIT")
    translator.client_ended()
    assert not translator.client_is_through
    translator.from_server(b"227 (192,0,2,21,237,19)")
    assert translator.server_ended() == [OpenPassive(1, 60691)]
    assert not translator.server_is_through
    assert translator.listening(60691)[1:] == [ToServer(b"QUIT")]
    assert translator.client_is_through
    assert translator.server_is_through


def test_and_after_a_command_that_waits_for_its_listener() -> None:
    translator = new_translator()
    translator.from_server(b"220 Hello\r\n")
    translator.from_client(EPRT.encode())
    assert translator.client_ended() == [OpenActive(1, 5282)]
    assert not translator.client_is_through
    assert translator.listening(60192) == [to_server("PORT 192,0,2,31,235,32")]
    assert translator.client_is_through


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "log", "reply"),
    [
        (b"RETR a\0b\r\n", "a NUL in a command", "501 No NUL in a command, please"),
        (
            b"RETR a\r\0\nPORT 1,2,3,4,5,6\r\n",
            "a line feed in a command",
            "501 No line feed in a command, please",
        ),
        (
            b"RETR " + b"x" * LIMIT * 3 + b"\r\n",
            f"a command of more than {LIMIT} octets",
            "500 Line too long",
        ),
        (b"\r\n", None, "500 Syntax error, command unrecognized"),
        (b"\xff\x01PORT 1,2,3,4,5,6\r\n", None, "500 Syntax error, command unrecognized"),
    ],
    ids=["NUL", "line feed", "too long", "empty", "not graphic"],
)
def test_bad_input_is_refused(line: bytes, log: str | None, reply: str) -> None:
    playbook = Playbook() >> client(line)
    if log:
        playbook <<= Log("client", log)
    assert (
        playbook
        << to_server("NOOP")
        >> server("200 Good")
        << to_client(reply)
        >> client("PWD")
        << to_server("PWD")
    )


def test_a_long_line_that_is_going_on_is_not_kept() -> None:
    translator = new_translator()
    translator.from_server(b"220 Hello\r\n")
    events = []
    for _ in range(20):
        events += translator.from_client(b"x" * 1000)
        events += translator.from_server(
            b"200 Good\r\n" if ToServer(b"NOOP\r\n") in events else b""
        )
        assert translator.held < LIMIT + 1000
    said = [event for event in events if isinstance(event, ToClient)]
    assert said[0] == to_client("500 Line too long")
    assert translator.from_client(b"\r\nPWD\r\n") == [to_server("PWD")]


def test_a_long_reply_passes_in_pieces() -> None:
    text = b"211-" + b"x" * LIMIT * 2 + b"\r\n"
    assert (
        Playbook()
        >> client("STAT")
        << to_server("STAT")
        >> server(text)
        << to_client(text[:LIMIT])
        << to_client(text[LIMIT : 2 * LIMIT])
        << to_client(text[2 * LIMIT :])
    )


@pytest.mark.parametrize("peer", ["client", "server"])
def test_negotiation_without_end(peer: str) -> None:
    assert REFUSALS == 2 * 256
    translator = new_translator()
    feed = translator.from_client if peer == "client" else translator.from_server
    events = feed(b"\xff\xfd\x18" * (REFUSALS + 10))
    answer = ToClient if peer == "client" else ToServer
    assert events == [
        *[answer(b"\xff\xfc\x18")] * REFUSALS,
        Log(peer, "Telnet negotiation without end"),
        GOODBYE,
        Hangup(),
    ]
    assert translator.held == 0
    assert feed(b"NOOP\r\n") == []


def test_the_same_log_comes_once() -> None:
    translator = new_translator()
    translator.from_server(b"220 Hello\r\n")
    events = []
    for line in (b"\0\r\n", b"a\0\r\n", b"x" * LIMIT + b"\r\n", b"\0\r\n"):
        events += translator.from_client(line)
        events += translator.from_server(b"200 Good\r\n")
    assert [event for event in events if isinstance(event, Log)] == [
        Log("client", "a NUL in a command"),
        Log("client", f"a command of more than {LIMIT} octets"),
    ]
