"""The list of features."""

from __future__ import annotations

from faith.ftp import V4_TO_V6
from faith.ftp.telnet import LIMIT
from tests.ftp_playbook import Playbook, client, server, to_client, to_server


def test_what_the_alg_gives_is_added() -> None:
    assert (
        Playbook()
        >> client("FEAT")
        << to_server("FEAT")
        >> server(b"211-Features:\r\n SIZE\r\n EPSV\r\n211 End\r\n")
        << to_client("211-Features:")
        << to_client(" SIZE")
        << to_client(" EPSV")
        << to_client(" EPRT")
        << to_client("211 End")
    )


def test_what_the_alg_refuses_is_taken_out() -> None:
    assert (
        Playbook()
        >> client("feat")
        << to_server("feat")
        >> server(b"211-Features:\r\n EPRT\r\n PASV\r\n epsv\r\n MLST size*;\r\n211 End\r\n")
        << to_client("211-Features:")
        << to_client(" EPRT")
        << to_client(" epsv")
        << to_client(" MLST size*;")
        << to_client("211 End")
    )


def test_without_active_mode() -> None:
    assert (
        Playbook(active=False)
        >> client("FEAT")
        << to_server("FEAT")
        >> server(b"211-Features:\r\n EPRT\r\n EPSV\r\n211 End\r\n")
        << to_client("211-Features:")
        << to_client(" EPSV")
        << to_client("211 End")
    )


def test_from_ipv4_pasv_stays() -> None:
    assert (
        Playbook(V4_TO_V6)
        >> client("FEAT")
        << to_server("FEAT")
        >> server(b"211-Features:\r\n PASV\r\n EPSV\r\n EPRT\r\n211 End\r\n")
        << to_client("211-Features:")
        << to_client(" PASV")
        << to_client(" EPSV")
        << to_client(" EPRT")
        << to_client("211 End")
    )


def test_the_code_in_front_of_every_line() -> None:
    assert (
        Playbook()
        >> client("FEAT")
        << to_server("FEAT")
        >> server(b"211-Features:\r\n211-PASV\r\n211-EPSV\r\n211-EPRT\r\n211 End\r\n")
        << to_client("211-Features:")
        << to_client("211-EPSV")
        << to_client("211-EPRT")
        << to_client("211 End")
    )


def test_no_features_become_some() -> None:
    assert (
        Playbook()
        >> client("FEAT")
        << to_server("FEAT")
        >> server("211 No features")
        << to_client("211-Extensions supported:")
        << to_client(" EPRT")
        << to_client(" EPSV")
        << to_client("211 End")
    )


def test_a_server_without_feat() -> None:
    assert (
        Playbook()
        >> client("FEAT")
        << to_server("FEAT")
        >> server("500 What?")
        << to_client("500 What?")
    )


def test_the_pieces_of_a_long_line_go_the_same_way() -> None:
    hidden = b" PASV " + b"x" * LIMIT + b"\r\n"
    shown = b" SIZE " + b"x" * LIMIT + b"\r\n"
    assert (
        Playbook()
        >> client("FEAT")
        << to_server("FEAT")
        >> server(b"211-Features:\r\n" + hidden + shown + b" EPSV\r\n EPRT\r\n211 End\r\n")
        << to_client("211-Features:")
        << to_client(shown[:LIMIT])
        << to_client(shown[LIMIT:])
        << to_client(" EPSV")
        << to_client(" EPRT")
        << to_client("211 End")
    )
