from __future__ import annotations

from faith.relay.tcp.relay_settings import Settings, V4ToV6Settings
from faith.relay.tcp.routing import CLIENT
from faith.translation.directions import V4_TO_V6, V6_TO_V4
from faith.translation.ports import ALL_PORTS, NO_PORTS, Ports
from faith.translation.proxy_protocol import V1, V2

RSH, RLOGIN = Ports([(514, 514)]), Ports([(513, 513)])
ONE, TWO, FTP = Ports([(80, 80)]), Ports([(443, 445)]), Ports([(21, 21)])


def test_only_rsh_and_rlogin_are_connected_to_from_reserved_ports_unless_all_are() -> None:
    assert Settings(rsh=RSH, rlogin=RLOGIN, ftp=FTP).reserved == Ports([(513, 514)])
    assert Settings(reserved_port=True).reserved == ALL_PORTS


def test_the_version_of_the_proxy_protocol_goes_by_port() -> None:
    settings = Settings(proxy_v1=ONE, proxy_v2=TWO)
    assert [settings.proxy(V6_TO_V4, port) for port in (80, 443, 445, 446)] == [V1, V2, V2, None]


def test_from_ipv4_other_settings_apply() -> None:
    settings = Settings(proxy_v1=ONE, ftp=TWO)
    assert settings.proxy(V4_TO_V6, 80) is None
    assert (settings.ftp_ports(V6_TO_V4), settings.ftp_ports(V4_TO_V6)) == (TWO, FTP)
    settings = Settings(v4_to_v6=V4ToV6Settings(ftp=ONE, proxy=V2))
    assert [settings.proxy(direction, 80) for direction in (V6_TO_V4, V4_TO_V6)] == [None, V2]
    assert settings.ftp_ports(V4_TO_V6) == ONE


def test_dscp_is_carried_to_the_ports_of_services_and_by_maps() -> None:
    settings = Settings(dscp=ONE)
    assert (settings.dscp_ports(V6_TO_V4), settings.dscp_ports(V4_TO_V6)) == (ONE, NO_PORTS)
    settings = Settings(v4_to_v6=V4ToV6Settings(dscp=True))
    assert (settings.dscp_ports(V6_TO_V4), settings.dscp_ports(V4_TO_V6)) == (NO_PORTS, ALL_PORTS)


def test_where_we_have_a_say() -> None:
    settings = Settings(
        ftp=Ports([(2121, 2121)]), rsh=RSH, rlogin=RLOGIN, proxy_v1=ONE, proxy_v2=TWO
    )
    assert settings.spoken_ports == {2121, 514, 80, 443, 444, 445, 21}
    assert Settings(v4_to_v6=V4ToV6Settings(proxy=V2)).spoken_ports == frozenset(ALL_PORTS)


def test_the_usual_times_are_those_that_rfc_5382_asks_for() -> None:
    settings = Settings()
    assert settings.idle_timeout >= 2 * 3600 + 4 * 60
    assert settings.lifetime == 0
    assert settings.v4_to_v6.source == CLIENT
