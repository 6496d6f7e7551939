"""RFC 6384 from section to section: one playbook for each thing that it asks for.

``docs/rfc6384.rst`` is the other side of this: what is done about each requirement.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from faith.ftp import (
    CloseData,
    GoTransparent,
    Hangup,
    Log,
    OpenActive,
    OpenPassive,
    ToServer,
)
from tests.ftp_playbook import (
    Playbook,
    client,
    listening,
    refused,
    server,
    to_client,
    to_server,
)

SYNCH = b"\xff\xf4\xff\xf2"
OWN_EPRT = "EPRT |2|2001:db8:2::31|5282|"


def test_every_playbook_is_in_the_document() -> None:
    document = (Path(__file__).parents[1] / "docs/rfc6384.rst").read_text()
    named = set(re.findall(r"tests/test_ftp_rfc6384\.py::(\w+)", document))
    here = {name for name in globals() if name.startswith("test_section_")}
    assert named == here


# -- 5: control channel translation --------------------------------------------------------------


def test_section_5_negotiation_is_refused_and_not_relayed() -> None:
    assert (
        Playbook()
        >> client(b"\xff\xfd\x18\xff\xfb\x1f")
        << to_client(b"\xff\xfc\x18")
        << to_client(b"\xff\xfe\x1f")
        >> server(b"\xff\xfb\x01\xff\xfd\x03")
        << to_server(b"\xff\xfe\x01")
        << to_server(b"\xff\xfc\x03")
        >> client(b"\xff\xfc\x01\xff\xfe\x01")
        >> server(b"\xff\xfc\x01\xff\xfe\x01")
        >> client("NOOP")
        << to_server("NOOP")
        >> server("200 Good")
        << to_client("200 Good")
    )


def test_section_5_commands_and_replies_straddle_packets() -> None:
    playbook = Playbook()
    for octet in b"EPSV":
        assert playbook >> client(bytes([octet]))
    assert playbook >> client(b"\r") >> client(b"\n") << to_server("PASV")
    for octet in b"227 Entering Passive Mode (192,0,2,31,237,19)\r":
        assert playbook >> server(bytes([octet]))
    assert playbook >> server(b"\n") << OpenPassive(1, 60691)


def test_section_5_negotiations_straddle_packets() -> None:
    assert (
        Playbook()
        >> client(b"NO\xff")
        >> client(b"\xfd")
        >> client(b"\x18")
        << to_client(b"\xff\xfc\x18")
        >> client(b"OP\r\n")
        << to_server("NOOP")
    )


def test_section_5_the_urgent_pointer_keeps_its_meaning() -> None:
    assert (
        Playbook()
        >> client("RETR file")
        << to_server("RETR file")
        >> server("150 Here it comes")
        << to_client("150 Here it comes")
        >> client(SYNCH[:3], urgent=True)
        << to_server(SYNCH[:2])
        >> client(SYNCH[3:] + b"ABOR\r\n")
        << to_server(SYNCH[2:3], urgent=True)
        << to_server(SYNCH[3:])
        << to_server("ABOR")
        >> server("426 Aborted")
        << to_client("426 Aborted")
        >> server("226 Done")
        << to_client("226 Done")
    )


def test_section_5_an_urgent_line_stays_urgent() -> None:
    assert Playbook() >> client("ABOR", urgent=True) << to_server("ABOR", urgent=True)


@pytest.mark.parametrize("accepted", ["234 Go on", "334 ADAT=yes"])
def test_section_5_after_auth_both_streams_are_carried(accepted: str) -> None:
    assert (
        Playbook()
        >> client("AUTH TLS")
        << to_server("AUTH TLS")
        >> server(accepted)
        << to_client(accepted)
        << GoTransparent()
        >> client(b"\x16\x03\x01EPSV\r\n\xff\xfd\x18")
        << to_server(b"\x16\x03\x01EPSV\r\n\xff\xfd\x18")
        >> server(b"\x16\x03\x03\xff\xfb\x01227 (1,2,3,4,5,6)\r\n")
        << to_client(b"\x16\x03\x03\xff\xfb\x01227 (1,2,3,4,5,6)\r\n")
        >> client(b"!", urgent=True)
        << to_server(b"!", urgent=True)
    )


def test_section_5_what_comes_with_auth_is_carried_as_it_is() -> None:
    assert (
        Playbook()
        >> client(b"AUTH TLS\r\nEPSV\r\n\xff\xfd\x18")
        << to_server("AUTH TLS")
        >> server(b"234 Go on\r\n\xff\xfb\x01")
        << to_client("234 Go on")
        << to_server(b"EPSV\r\n\xff\xfd\x18")
        << to_client(b"\xff\xfb\x01")
        << GoTransparent()
    )


@pytest.mark.parametrize("code", [431, 500, 502, 504, 530, 534])
def test_section_5_a_refused_auth_is_forgotten(code: int) -> None:
    assert (
        Playbook()
        >> client(b"auth tls\r\nEPSV\r\n")
        << to_server("auth tls")
        >> server(f"{code} No")
        << to_client(f"{code} No")
        << to_server("PASV")
        >> server("227 (192,0,2,31,237,19)")
        << OpenPassive(1, 60691)
    )


def test_section_5_disabled_it_still_hears_algs() -> None:
    assert (
        Playbook()
        >> client("ALGS DISABLE64")
        << to_server("NOOP")
        >> server("200 Good")
        << to_client("216 NONE")
        >> client(OWN_EPRT)
        << to_server(OWN_EPRT)
        >> server("500 What?")
        << to_client("500 What?")
        >> client("ALGS ENABLE64")
        << to_server("NOOP")
        >> server("200 Good")
        << to_client("216 EPSVEPRT")
        >> client(OWN_EPRT)
        << OpenActive(1, 5282)
    )


# -- 5.1: language negotiation -------------------------------------------------------------------


def test_section_5_1_lang_is_between_client_and_server() -> None:
    assert (
        Playbook()
        >> client("LANG fr")
        << to_server("LANG fr")
        >> server("200 Bien sûr")
        << to_client("200 Bien sûr")
        >> client("MKD Gläser")
        << to_server("MKD Gläser")
        >> server('257 "Gläser" créé')
        << to_client('257 "Gläser" créé')
    )


def test_section_5_1_paths_with_cr_pass() -> None:
    assert Playbook() >> client(b"DELE a\r\0b\r\n") << to_server(b"DELE a\r\0b\r\n")


# -- 6: EPSV to PASV -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["EPSV", "EPSV 2", "epsv", "Epsv 2", "EPSV "])
def test_section_6_epsv_becomes_pasv_and_227_becomes_229(command: str) -> None:
    assert (
        Playbook()
        >> client(command)
        << to_server("PASV")
        >> server("227 Entering Passive Mode (192,0,2,31,237,19)")
        << OpenPassive(1, 60691)
        >> listening(60691)
        << to_client("229 Entering Extended Passive Mode (|||60691|)")
    )


def test_section_6_the_address_in_a_227_is_ignored() -> None:
    assert (
        Playbook()
        >> client("EPSV")
        << to_server("PASV")
        >> server("227 Entering Passive Mode (10,1,2,3,237,19)")
        << OpenPassive(1, 60691)
    )


@pytest.mark.parametrize("number", ["1", "3", "02", "65535"])
def test_section_6_another_network_protocol_is_refused(number: str) -> None:
    assert (
        Playbook()
        >> client(f"EPSV {number}")
        << to_server("NOOP")
        >> server("200 Good")
        << to_client("522 Network protocol not supported, use (2)")
    )


@pytest.mark.parametrize("command", ["EPSV ALL", "epsv all"])
def test_section_6_epsv_all_is_refused(command: str) -> None:
    assert (
        Playbook()
        >> client(command)
        << to_server("NOOP")
        >> server("200 Good")
        << to_client("504 Command not implemented for that parameter")
        >> client("EPSV")
        << to_server("PASV")
    )


def test_section_6_a_reply_without_a_port_is_a_temporary_failure() -> None:
    assert (
        Playbook()
        >> client("EPSV")
        << to_server("PASV")
        >> server("227 Entering Passive Mode (192,0,2,31,237,19,1)")
        << Log("server", "no port in a reply 227")
        << to_client("425 Can't open data connection")
        >> client("EPSV")
        << to_server("PASV")
    )


# -- 7: EPRT to PORT -----------------------------------------------------------------------------


def test_section_7_2_port_goes_out_once_there_is_a_listener() -> None:
    assert (
        Playbook()
        >> client(OWN_EPRT)
        << OpenActive(1, 5282)
        >> listening(60192)
        << to_server("PORT 192,0,2,31,235,32")
        >> server("200 Good")
        << to_client("200 Good")
    )


def test_section_7_2_without_a_listener_there_is_no_port() -> None:
    assert (
        Playbook()
        >> client(OWN_EPRT)
        << OpenActive(1, 5282)
        >> refused("too many")
        << Log("gateway", "no listener for a data connection")
        << to_server("NOOP")
        >> server("200 Good")
        << to_client("425 Can't open data connection")
    )


@pytest.mark.parametrize("address", ["2001:db8:2::32", "::ffff:192.0.2.31", "::1", "::"])
def test_section_7_2_an_address_not_the_clients_is_refused(address: str) -> None:
    assert (
        Playbook()
        >> client(f"EPRT |2|{address}|5282|")
        << Log("client", "a data connection to somebody else was asked for")
        << to_server("NOOP")
        >> server("200 Good")
        << to_client("501 Only the address of this connection, please")
    )


def test_section_7_2_an_ipv4_address_is_refused() -> None:
    assert (
        Playbook()
        >> client("EPRT |1|192.0.2.99|5282|")
        << to_server("NOOP")
        >> server("200 Good")
        << to_client("522 Network protocol not supported, use (2)")
    )


# -- 9: both PORT and PASV -----------------------------------------------------------------------


def test_section_9_commands_are_translated_as_they_occur() -> None:
    assert (
        Playbook()
        >> client("EPSV")
        << to_server("PASV")
        >> server("227 (192,0,2,31,237,19)")
        << OpenPassive(1, 60691)
        >> listening(2000)
        << to_client("229 Entering Extended Passive Mode (|||2000|)")
        >> client(OWN_EPRT)
        << OpenActive(2, 5282)
        >> listening(60192)
        << to_server("PORT 192,0,2,31,235,32")
        >> server("200 Good")
        << to_client("200 Good")
        << CloseData(1)
        >> client("EPSV")
        << to_server("PASV")
        >> server("227 (192,0,2,31,237,19)")
        << CloseData(2)
        << OpenPassive(3, 60691)
    )


# -- 10: default behaviour -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        b"USER anonymous\r\n",
        b"xyzzy  with  blanks \r\n",
        b"SITE EPSV\n",
        b"P@SW\r\n",
        b" pwd\r\n",
        b"RETR \xfc\xff\xff\xfe\r\n",
    ],
)
def test_section_10_other_commands_and_replies_pass_unmodified(command: bytes) -> None:
    reply = b"200-Some text\r\n 227 (1,2,3,4,5,6)\n\xfc\r\n200 (|||1|)\r\n"
    first, second, third, fourth = reply.splitlines(keepends=True)
    assert (
        Playbook()
        >> client(command)
        << to_server(command)
        >> server(reply)
        << to_client(first)
        << to_client(second)
        << to_client(third)
        << to_client(fourth)
    )


def test_section_10_a_227_to_something_else_passes_unmodified() -> None:
    reply = "227 Entering Passive Mode (192,0,2,31,237,19)"
    assert (
        Playbook()
        >> client("STAT")
        << to_server("STAT")
        >> server(reply)
        << to_client(reply)
        >> server(reply)
        << to_client(reply)
    )


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("PASV", "502 PASV is for IPv4, use EPSV"),
        ("pasv", "502 PASV is for IPv4, use EPSV"),
        ("PORT 192,0,2,31,20,162", "502 PORT is for IPv4, use EPRT"),
    ],
)
def test_section_10_pasv_and_port_are_refused_while_enabled(command: str, reply: str) -> None:
    assert (
        Playbook() >> client(command) << to_server("NOOP") >> server("200 Good") << to_client(reply)
    )


# -- 11: ALGS ------------------------------------------------------------------------------------


def algs(playbook: Playbook, argument: str, reply: str) -> bool:
    return bool(
        playbook
        >> client(f"ALGS {argument}")
        << to_server("NOOP")
        >> server("200 Good")
        << to_client(reply)
    )


def test_section_11_status_enable_and_disable() -> None:
    playbook = Playbook()
    assert algs(playbook, "STATUS64", "216 EPSVEPRT")
    assert algs(playbook, "DISABLE64", "216 NONE")
    assert algs(playbook, "status64", "216 NONE")
    assert algs(playbook, "ENABLE64", "216 EPSVEPRT")
    assert algs(playbook, "STATUS64", "216 EPSVEPRT")


def test_section_11_what_cannot_be_enabled_is_no_error() -> None:
    playbook = Playbook(active=False)
    assert algs(playbook, "ENABLE64", "216 EPSV")
    assert algs(playbook, "DISABLE64", "216 NONE")
    assert algs(playbook, "ENABLE64", "216 EPSV")
    assert playbook >> client(OWN_EPRT) << to_server(OWN_EPRT)


@pytest.mark.parametrize("argument", ["", "STATUS", "STATUS46", "ENABLE64 please"])
def test_section_11_other_arguments_are_refused(argument: str) -> None:
    assert algs(Playbook(), argument, "504 STATUS64, ENABLE64 or DISABLE64, please")


@pytest.mark.parametrize(
    ("command", "reply", "port"),
    [
        ("EPSV", "229 Entering Extended Passive Mode (|||60691|)", 60691),
        ("EPSV 2", "229 Entering Extended Passive Mode (|||60691|)", 60691),
        ("PASV", "227 Entering Passive Mode (192,0,2,31,237,19)", 60691),
    ],
)
def test_section_11_disabled_nothing_is_translated(command: str, reply: str, port: int) -> None:
    playbook = Playbook()
    assert algs(playbook, "DISABLE64", "216 NONE")
    assert (
        playbook
        >> client(command)
        << to_server(command)
        >> server(reply)
        << OpenPassive(1, port, same_port=True)
        >> listening(port)
        << to_client(reply)
    )


@pytest.mark.parametrize(
    "command",
    ["EPSV ALL", "EPSV 1", OWN_EPRT, "PORT 192,0,2,31,20,162", "LPRT 4,4", "LPSV", "FEAT"],
)
def test_section_11_disabled_commands_pass(command: str) -> None:
    playbook = Playbook()
    assert algs(playbook, "DISABLE64", "216 NONE")
    assert (
        playbook
        >> client(command)
        << to_server(command)
        >> server("500 What?")
        << to_client("500 What?")
    )


# -- 12: timeouts and translating to NOOP --------------------------------------------------------


def test_section_12_a_noop_keeps_the_server_in_step() -> None:
    assert (
        Playbook()
        >> client(b"PWD\r\nEPSV ALL\r\nPWD\r\n")
        << to_server("PWD")
        << to_server("NOOP")
        >> server('257 "/"')
        << to_client('257 "/"')
        >> server(b"200-NOOP\r\n200 command successful\r\n")
        << to_client("504 Command not implemented for that parameter")
        << to_server("PWD")
    )


@pytest.mark.parametrize("reply", ["331 Who?", "227 (1,2,3,4,5,6)", "421 Bye", "450 Busy"])
def test_section_12_another_reply_to_noop_ends_it(reply: str) -> None:
    assert (
        Playbook()
        >> client("EPSV ALL")
        << to_server("NOOP")
        >> server(reply)
        << Log("server", "no reply to NOOP in its place")
        << to_client("421 Service not available, closing control connection")
        << Hangup()
        >> client("PWD")
        >> server("200 Good")
    )


@pytest.mark.parametrize(
    "reply",
    ["530 Please login with USER and PASS", "500 What?", "202 Superfluous", "200\tok", "200ok"],
)
def test_section_12_who_does_or_refuses_it_is_in_step(reply: str) -> None:
    assert (
        Playbook()
        >> client("ALGS STATUS64")
        << to_server("NOOP")
        >> server(reply)
        << to_client("216 EPSVEPRT")
        >> client("PWD")
        << to_server("PWD")
    )


# -- 2, 5.1: what the ALG itself says ------------------------------------------------------------


def test_section_5_1_what_the_alg_says_is_ascii() -> None:
    playbook = Playbook()
    said = []
    for command in ("EPSV ALL", "EPSV 1", "PASV", "PORT", "ALGS", "ALGS STATUS64", "EPRT", "é"):
        assert playbook.translator.from_client(f"{command}\r\n".encode()) == [ToServer(b"NOOP\r\n")]
        said += playbook.translator.from_server("200 Ça va\r\n".encode())
    assert len(said) == 8
    assert all(re.fullmatch(rb"\d{3} [ -~]+\r\n", event.data) for event in said)  # type: ignore[union-attr]
