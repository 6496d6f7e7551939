"""faith.toml: what it means, and every mistake told with its place and likely meaning."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.cli import check, serve
from faith.daemon.config import config
from faith.daemon.config.local_server import LocalServer
from faith.daemon.config.settings import KernelPath
from faith.daemon.observe.records import Recording
from faith.datagram.ping.ping_server import PingSettings
from faith.dns.dns_arguments import DnsArguments
from faith.errors import ConfigError
from faith.flow.flow_settings import FlowSettings
from faith.relay.tcp.admission import Limits
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.translation.ports import Ports
from faith.translation.prefix import RFC6052, Prefix
from faith.translation.udp.flows import UdpSettings

if TYPE_CHECKING:
    from faith.daemon.config.settings import Settings

EXAMPLE = Path(__file__).parents[1] / "examples" / "faith.toml"
HTTP = Ports([(80, 80)])
SERVICE = '[[service]]\nports = "80"\n'
MAP = "[[map]]\nv4 = '198.51.100.1'\nv6 = '2001:db8:a::2'\n"


def read(text: str) -> Settings:
    return config.read(text, "faith.toml")


def test_the_example_is_what_it_says() -> None:
    settings = config.load(EXAMPLE)
    assert settings.prefixes == (Prefix.parse("2001:db8:ffff::/96"),)
    assert str(settings.ports) == "21,23,80,8000-8100"
    assert settings.relay == RelaySettings(
        limits=Limits(sessions=100_000, sessions_per_client=1000), ftp=Ports([(21, 21)])
    )
    assert settings.metrics == ("::1", 9064)
    assert settings.dns
    assert list(map(str, settings.dns.forward)) == ["192.0.2.53:53"]
    assert settings.access_rules == "2001:db8:6::/48 permit 0.0.0.0/0"


def test_the_example_has_every_key_and_those_it_hides_are_right() -> None:
    text = EXAMPLE.read_text()
    shown = "\n".join(
        line.removeprefix("# ") for line in text.splitlines() if "=" in line or "[" in line
    )
    for table, keys in config.KEYS.items():
        assert not table or f"[{table}]" in shown
        for key in keys:
            assert f"\n{key} = " in f"\n{shown}", f"{table}.{key}"


def test_a_service_alone_is_what_the_command_line_makes_of_it() -> None:
    command = serve._settings(serve._parser().parse_args(["80"]))
    usual = {"control": config.CONTROL, "drain_timeout": config.DRAIN_TIMEOUT}
    assert read(SERVICE) == replace(command, **usual)  # type: ignore[arg-type]
    command = serve._settings(serve._parser().parse_args(["--path", "kernel", "80"]))
    assert read(f'{SERVICE}path = "kernel"') == replace(command, **usual)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("table", "answered"), [("", False), ("[ping]", True), ("[ping]\nenabled = false", False)]
)
def test_pings_are_answered_when_the_file_says_so(table: str, answered: bool) -> None:
    assert (read(f"{SERVICE}{table}").ping is not None) == answered


def test_all_of_it_arrives() -> None:
    settings = read(
        """
        workers = 3
        user = "root"
        control = "/run/other"
        pid_file = "/run/pid"
        [[prefix]]
        address = "2001:db8:100::/40"
        layout = "rfc6052"
        via = "tproxy"
        [[prefix]]
        address = "2001:db8:ffff::"
        [[service]]
        ports = "2121"
        alg = "ftp"
        [[service]]
        ports = "telnet"
        server = ["/usr/sbin/telnetd", "telnetd", "-h"]
        proxy = "v2"
        dscp = true
        path = "auto"
        [flows]
        mss = 1220
        [timeouts]
        connect = 1.5
        idle = 0
        half_closed = 7
        lifetime = 11
        drain = 9
        lame_duck = 2.5
        [limits]
        sessions = 12
        rate_per_client = 1.5
        [dns]
        prefix = ["2001:db8:100::/40"]
        layout = "rfc6052"
        never = ["example.net"]
        always = ["example.org"]
        workers = 2
        [[map]]
        v4 = "198.51.100.16/28"
        v6 = "2001:db8:c::/124"
        protocols = ["tcp", "icmp"]
        direction = "out"
        [[map]]
        v4 = "198.51.100.1"
        v6 = "2001:db8:a::2"
        ports = "8080"
        to_port = 80
        [ping]
        timeout = 90
        rate = 0
        [log]
        format = "json"
        sample = 100
        destinations = false
        starts = true
        flows = false
        """
    )
    prefix = Prefix.parse("2001:db8:100::/40", RFC6052)
    assert settings.prefixes == (prefix, Prefix.parse("2001:db8:ffff::/96"))
    assert (settings.via, settings.workers, settings.user) == ("tproxy", 3, "root")
    assert (settings.control, settings.pid_file) == (Path("/run/other"), Path("/run/pid"))
    assert settings.local_server(23) == LocalServer("/usr/sbin/telnetd", ("telnetd", "-h"))
    assert settings.relay == RelaySettings(
        1.5,
        0,
        7,
        False,
        11,
        Limits(sessions=12, rate_per_client=1.5),
        Ports([(2121, 2121)]),
        proxy_v2=Ports([(23, 23)]),
        dscp=Ports([(23, 23)]),
    )
    assert (settings.drain_timeout, settings.lame_duck) == (9, 2.5)
    assert (settings.auto_ports, settings.flows) == (Ports([]), None)  # PROXY takes the relay
    assert (settings.log, settings.dns_workers) == ("json", 2)
    assert settings.ping == PingSettings(timeout=90, rate=0)
    assert settings.recording == Recording(100, destinations=False, starts=True, flows=False)
    assert [*map(str, settings.maps)] == [
        "198.51.100.16/28 2001:db8:c::/124 protocols=tcp,icmp direction=out",
        "198.51.100.1 2001:db8:a::2 ports=8080 to_port=80",
    ]
    assert settings.dns
    assert settings.dns.options.prefixes == (prefix,)
    assert len(settings.dns.options.names) == 2


MOST = (1 << 31) - 1
BOUNDS = [
    ("", "workers", 1, 1024),
    ("limits", "sessions", 0, MOST),
    ("limits", "sessions_per_client", 0, MOST),
    ("limits", "sessions_per_prefix", 0, MOST),
    ("limits", "prefix_length", 1, 128),
    ("dns", "workers", 1, 1024),
    ("dns", "serve_stale", 0, 10**7),
    ("udp", "flows", 0, MOST),
    ("udp", "flows_per_client", 0, MOST),
    ("udp", "mtu", 1280, 65535),
    ("flows", "limit", 1, 1 << 22),
    ("flows", "half_open", 1, 1 << 22),
    ("ping", "mtu", 1280, 65535),
    ("log", "sample", 1, MOST),
    ("log", "refusals", 0, MOST),
]


@pytest.mark.parametrize(("table", "key", "first", "last"), BOUNDS)
def test_the_bounds_of_a_whole_number(table: str, key: str, first: int, last: int) -> None:
    def of(number: int) -> object:
        line = f"{key} = {number}\n"
        text = f'{SERVICE}path = "kernel"\n'
        settings = read(f"[{table}]\n{line}{text}" if table else f"{line}{text}")
        places = {
            "": settings,
            "limits": settings.relay.limits,
            "log": settings.recording,
            "udp": settings.udp,
            "flows": settings.flows,
            "ping": settings.ping,
            "dns": settings.dns,
        }
        if (table, key) == ("dns", "workers"):
            return settings.dns_workers
        return getattr(places[table], {"serve_stale": "stale"}.get(key, key))

    assert [of(first), of(last)] == [first, last]
    for number in (first - 1, last + 1):
        with pytest.raises(ConfigError, match=f"{first} to {last}"):
            of(number)


@pytest.mark.parametrize(
    "key", ["connect", "greeting", "idle", "half_closed", "lifetime", "drain", "lame_duck"]
)
def test_the_bounds_of_a_time(key: str) -> None:
    for number in (0, 999_999.5):
        settings = read(f"{SERVICE}[timeouts]\n{key} = {number}")
        relay = {**vars(settings), **vars(settings.relay)}
        assert relay.get(f"{key}_timeout", relay.get(key)) == number
    for number in (-0.5, 1_000_000):
        with pytest.raises(ConfigError, match=f"^faith.toml:4: timeouts.{key}: {number} is not a"):
            read(f"{SERVICE}[timeouts]\n{key} = {number}")


def test_what_is_not_given_is_the_default() -> None:
    settings = read(f"{SERVICE}[dns]\n[udp]\n[ping]")
    assert settings.dns
    assert (settings.dns.stale, settings.dns.mixed_case, settings.dns.authorities) == (
        0,
        False,
        None,
    )
    assert (settings.dns_workers, settings.dns.reserved) == (1, True)
    assert (settings.udp, settings.ping) == (UdpSettings(), PingSettings())
    assert (settings.recording, settings.pid_file) == (Recording(), None)
    assert settings.lame_duck == 0
    assert (settings.services[0].path, settings.kernel_path) == ("relay", None)
    kernel = read(f'{SERVICE}path = "kernel"')
    assert kernel.kernel_path == KernelPath(FlowSettings(HTTP), Path("/sys/fs/bpf"))
    assert (settings.drain_timeout, settings.control) == (30.0, Path("/run/faith/control.sock"))
    assert (settings.workers, settings.log) == (len(os.sched_getaffinity(0)), "text")


def test_a_wrong_layout_is_the_only_mistake_of_its_prefix() -> None:
    with pytest.raises(ConfigError, match="is rfc6052 meant") as told:
        read(f'{SERVICE}[[prefix]]\naddress = "2001:db8:ff00::/40"\nlayout = "rfc"')
    assert [error.line for error in told.value.errors] == [5]


def test_a_misspelt_user_gets_a_guess() -> None:
    with pytest.raises(ConfigError, match="there is no user 'rooot' on this system; is root meant"):
        read(f"user = 'rooot'\n{SERVICE}")


@pytest.mark.parametrize("written", ["false", '"none"'])
def test_the_control_socket_can_be_turned_off(written: str) -> None:
    settings = read(f"control = {written}\n{SERVICE}")
    assert settings.control is None
    assert "control  none: no faith sessions, kill, drain or map" in check.lines(settings)
    for wrong in ("true", '"relative"', '"off"', "0"):
        with pytest.raises(ConfigError, match=r"^faith.toml:1: control: .*, or none$"):
            read(f"control = {wrong}\n{SERVICE}")


def test_all_about_connections_from_ipv4_arrives() -> None:
    relay = read(f'{MAP}[maps]\nftp = "2121"\nsource = "gateway"\nproxy = "v1"\ndscp = true').relay
    assert relay.v4_to_v6.ftp == Ports([(2121, 2121)])
    assert (relay.v4_to_v6.source, relay.v4_to_v6.proxy) == ("gateway", "v1")
    assert relay.v4_to_v6.dscp


def test_all_about_datagrams_arrives() -> None:
    text = """
        [udp]
        idle = 120
        short = 1
        short_ports = "domain,7"
        filtering = "endpoint"
        flows = 5
        flows_per_client = 4
        mtu = 1400
        dscp = false
        [ping]
        timeout = 60
        rate = 1
        rate_per_client = 1.5
        mtu = 1500
        [log]
        refusals = 3
    """
    settings = read(f"{SERVICE}{text}")
    ports = Ports([(7, 7), (53, 53)])
    assert settings.udp == UdpSettings(120, 1, ports, "endpoint", 5, 4, 1400, False)
    assert settings.ping == PingSettings(60, 1, 1.5, 1500)
    assert settings.recording == Recording(refusals=3)
    for table in ("udp", "ping"):
        assert getattr(read(f"{SERVICE}[{table}]\nenabled = false"), table) is None


def test_all_about_flows_arrives() -> None:
    settings = read(
        f"""
        {SERVICE}
        path = "kernel"
        [[service]]
        ports = "20-22"
        path = "auto"
        [flows]
        addresses = ["198.51.100.9", "198.51.100.12/31"]
        ports = "2000-3000,4000-5000"
        shared_ports = "62000-62999"
        mss = 1220
        limit = 1000
        half_open = 100
        pins = "/run/bpf"
        [limits]
        sessions_per_client = 5
        rate = 100
        rate_per_client = 7
        rate_per_prefix = 50
        burst = 2
        prefix_length = 56
        [timeouts]
        lifetime = 86400
        tcp_syn = 6
        tcp_trans = 240.5
        tcp_est = 10000
        """
    )
    assert settings.kernel_path
    assert settings.kernel_path.pins == Path("/run/bpf")
    assert settings.flows == FlowSettings(
        Ports([(20, 20), (22, 22), (80, 80)]),
        addresses=(0xC6336409, 0xC633640C, 0xC633640D),
        address_ports=Ports([(2000, 3000), (4000, 5000)]),
        shared_ports=Ports([(62000, 62999)]),
        mss=1220,
        limit=1000,
        half_open=100,
        flows_per_client=5,  # there is none for a network
        rate=100,
        rate_per_client=50,  # of a network, which a client is
        tcp_syn=6,
        tcp_trans=240.5,
        tcp_est=10000,
        lifetime=86400,
        client_length=56,
        burst=2,
    )


def test_flows_may_come_from_addresses_beside_those_that_are_used() -> None:
    own = read(
        f"{MAP}[[source]]\naddresses = ['198.51.100.4-198.51.100.6']\n{SERVICE}path = 'auto'\n"
        "[flows]\naddresses = ['198.51.100.2/31', '198.51.100.7']"
    ).flows
    assert own
    assert [address & 0xFF for address in own.addresses] == [2, 3, 7]


def test_all_about_names_arrives(tmp_path: Path) -> None:
    text = f"""
        [dns]
        listen = ["::1"]
        forward = ["192.0.2.53"]
        allow = ["2001:db8::/32"]
        client = ["2001:db8:1::/48=2001:db8:a::/96"]
        map = ["198.51.100.0/24=2001:db8:b::/96"]
        filter_a = ["2001:db8:2::/48"]
        exclude = ["2001:db8:3::/48"]
        exclude_v4 = ["203.0.113.0/24"]
        never = ["never.example"]
        missing = ["missing.example"]
        always = ["always.example"]
        pool = ["198.18.0.0/30"]
        pool_client = ["2001:db8:4::/48"]
        pool_file = "{tmp_path}/leases"
        serve_stale = 60
        mixed_case = true
    """
    assert (
        read(f"{SERVICE}{text}").dns
        == DnsArguments(
            listen=["::1"],
            forward=["192.0.2.53"],
            allow=["2001:db8::/32"],
            client=["2001:db8:1::/48=2001:db8:a::/96"],
            map=["198.51.100.0/24=2001:db8:b::/96"],
            filter_a=["2001:db8:2::/48"],
            exclude=["2001:db8:3::/48"],
            exclude_v4=["203.0.113.0/24"],
            never=["never.example"],
            missing=["missing.example"],
            always=["always.example"],
            pool=["198.18.0.0/30"],
            pool_client=["2001:db8:4::/48"],
            pool_file=tmp_path / "leases",
            serve_stale=60,
            mixed_case=True,
        ).settings()
    )


def test_a_pool_has_one_worker() -> None:
    settings = read(f"{SERVICE}[dns]\nworkers = 1\npool = ['198.18.0.0/30']")
    assert settings.dns_workers == 1


def test_what_is_written_the_same_is_the_same() -> None:
    """A reload that finds the [dns] of before leaves those alone who answer, and their cache."""
    text = f"{SERVICE}[dns]\nallow = ['2001:db8::/32']\nfilter_a = ['::/0']\nnever = ['example']\n"
    assert read(text) == read(text)
    assert read(text).dns != read(text.replace("/32", "/33")).dns


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        # what is no TOML
        ("workers 2", 1, "Expected '='"),
        (f'{SERVICE}[dns]\nlisten = "x', None, "Illegal character|Unterminated"),
        # keys
        ("wrokers = 2", 1, "wrokers: no such key; is workers meant?"),
        (f"{SERVICE}[timeout]\nidle = 3", 3, "timeout: no such key; is timeouts meant?"),
        (
            f"{SERVICE}[timeouts]\n\nconect = 3",
            5,
            "timeouts.conect: no such key; is connect meant?",
        ),
        (f"{SERVICE}[timeouts]\nxyz = 3", 4, "there are connect, greeting, idle"),
        (f"{SERVICE}[log]\nuser = 'x'", 4, "it belongs at the top, before the first table"),
        ("[[prefix]]\nprefix = 'x'", 2, "no such key; there are address, layout, via"),
        ("idle = 3", 1, r"it belongs in \[timeouts\]"),
        (f"{SERVICE}port = '90'", 3, "service.port: no such key; is ports meant?"),
        ("timeouts = 3", 1, r"it is a table: \[timeouts\]"),
        ("[service]\nports = '80'", 1, r"there can be several: \[\[service\]\]"),
        ("[[timeouts]]\nidle = 3", 1, r"it is a table: \[timeouts\]"),
        # types
        ('workers = "2"', 1, "workers: '2' is not a whole number"),
        ("workers = true", 1, "true is not a whole number"),
        ("workers = 0", 1, "0 is not a number from 1 to 1024"),
        ("user = 0", 1, "0 is not a text in quotes"),
        ('user = ""', 1, "says something"),
        ('control = "run/x"', 1, "not an absolute path"),
        ("[timeouts]\nidle = '3'", 2, "'3' is not a number"),
        ("[timeouts]\nidle = -3", 2, "-3 is not a number from 0"),
        ("[timeouts]\nidle = nan", 2, "nan is not a number from 0"),
        ("[timeouts]\nidle = 10_000_000", 2, "below a million"),
        ("[limits]\nrate = true", 2, "true is not a number"),
        ("[limits]\nsessions = 1.5", 2, "not a whole number"),
        ("[limits]\nrate = 0.1", 1, "limits: 0.1 new sessions a second are none"),
        (f"{SERVICE}encrypted_data = false", 3, "service.encrypted_data: there is no port of FTP"),
        ("[dns]\nlisten = '::'", 2, "not a list in brackets"),
        ("[dns]\nmixed_case = 1", 2, "1 is not true or false"),
        # values
        ('user = "no.such.user"', 1, "there is no user 'no.such.user'"),
        ("[[prefix]]\nlayout = 'low32'", 1, "prefix: address is missing"),
        ("[[prefix]]\naddress = 'x'", 2, "prefix.address: x: not an IPv6"),
        (
            "[[prefix]]\naddress = '2001:db8::/64'",
            2,
            "prefix.address: 2001:db8::/64 needs a layout: rfc6052",
        ),
        ("[dns]\nprefix = ['2001:db8::/64']", 2, "and older versions of this program"),
        ("[dns]\nclient = ['::/0=2001:db8::/48']", 2, "2001:db8::/48 needs a layout"),
        ("[[prefix]]\naddress = '2001:db8::'\nlayout = 'rfc'", 3, "is rfc6052 meant?"),
        ("[[service]]\nalg = 'ftp'", 1, "service: ports is missing"),
        ("[[service]]\nports = '90-80'", 2, "write 80-90"),
        (f"{SERVICE}alg = 'sip'", 3, "'sip' is not one of auto, ftp, rsh, rlogin, none"),
        (f"{SERVICE}proxy = 'v3'", 3, "'v3' is not one of v1, v2"),
        (
            "[[service]]\nports = '1-99'\nproxy = 'v1'",
            3,
            "service.proxy: port 21 is relayed as FTP",
        ),
        (f"{SERVICE}server = ['telnetd']", 3, "the absolute path of a program"),
        (f"{SERVICE}server = []", 3, "the absolute path of a program"),
        ("[[service]]\nports = '1-99'\nserver = ['/x']", 3, "64 is the most"),
        ("[dns]\nlisten = [\n'::',\n'::x']", 4, "dns.listen: ::x: '::x' is not an address"),
        ("[dns]\nclient = ['::/0']", 2, "dns.client: ::/0: it takes NETWORK=PREFIX"),
        ("[dns]\nnever = ['a..b']", 2, "is not a domain"),
        (f"{SERVICE}path = 'kernal'", 3, "service.path: 'kernal' .*; is kernel meant?"),
        (
            "[[service]]\nports = '21-23'\npath = 'kernel'",
            3,
            "service.path: port 21 cannot go by the kernel path, because FTP takes the relay",
        ),
        (
            f"{SERVICE}proxy = 'v1'\npath = 'kernel'",
            4,
            "service.path: port 80 cannot go .* because PROXY takes the relay; leave proxy out",
        ),
        (
            f"prefix = [{{address = '1::', via = 'redirect'}}]\n{SERVICE}path = 'kernel'",
            4,
            "service.path: port 80 cannot go by the kernel path: the steering method",
        ),
        (
            "[flows]\naddresses = ['2001:db8::1']",
            2,
            "flows.addresses: '2001:db8::1' is not an IPv4",
        ),
        ("[flows]\naddresses = [\n'127.0.0.1']", 3, "flows.addresses: 127.0.0.1: .* cannot be the"),
        ("[flows]\naddresses = ['0.0.0.1']", 2, "cannot be the source of a connection"),
        ("[flows]\naddresses = ['224.0.0.1']", 2, "cannot be the source of a connection"),
        ("[flows]\naddresses = ['10.0.0.0/8']", 2, "16777216 addresses; 1024 is the most"),
        ("[flows]\naddresses = ['10.0.0.1',\n'10.0.0.1']", 3, "repeats an address of the list"),
        ("[flows]\nports = '1000-2000'", 2, "flows.ports: must be 1024 or more"),
        ("[flows]\nshared_ports = '9-8'", 2, "flows.shared_ports: .* write 8-9"),
        ("[flows]\nmss = 535", 2, "flows.mss: must be from 536 to 65495, or 0"),
        ("[flows]\nmss = 65496", 2, "flows.mss: 65496 is not a number from 0 to 65495"),
        ("[flows]\npins = 'bpf'", 2, "flows.pins: 'bpf' is not an absolute path"),
        ("[timeouts]\ntcp_est = 7439", 2, "timeouts.tcp_est: must be at least 7440 seconds"),
        ("[timeouts]\ntcp_trans = 0", 2, "timeouts.tcp_trans: must be at least 240 seconds"),
        ("[timeouts]\ntcp_syn = 5.9", 2, "timeouts.tcp_syn: must be at least 6 seconds"),
        ("tcp_est = 3", 1, r"it belongs in \[timeouts\]"),
        ("[ping]\ntimeout = 59", 2, "ping.timeout: must be at least 60 seconds"),
        ("[ping]\nrate = 0.5", 2, "ping.rate: must be at least 1, or 0 for no limit"),
        ("[ping]\nenabled = 1", 2, "1 is not true or false"),
        ("[udp]\nmtu = 'x'", 2, "^faith.toml:2: udp.mtu: 'x' is not a whole number$"),
        ("[udp]\nidle = 119", 2, "^faith.toml:2: udp.idle: must be at least 120 seconds"),
        ("[udp]\nshort = 0", 2, "^faith.toml:2: udp.short: must be more than 0 seconds"),
        ("[udp]\nshort_ports = 'telnet'", 2, "'telnet' is not a UDP service"),
        ("[ping]\nrate_per_client = 0.5", 2, "ping.rate_per_client: must be at least 1"),
        ("[dns]\npool_client = ['::/0']", 2, "dns.pool_client: needs a pool"),
        ("[dns]\npool_file = '/x'", 2, "dns.pool_file: needs a pool"),
        ("[dns]\npool = ['2001:db8::/64']", 2, "an IPv4 network belongs here"),
        (
            "[dns]\npool = ['198.51.100.0/24']\nworkers = 2",
            3,
            "must be 1 with a pool: its leases have one owner",
        ),
        (
            "[[map]]\nv4 = '198.51.100.9'\nv6 = '2001:db8::9'\n[dns]\npool = ['198.51.100.0/24']",
            5,
            "dns.pool: 198.51.100.9 is mapped, and in the pool",
        ),
        ("[dns]\nforward = []\nauthorities = '/nowhere'", 3, "dns.authorities: /nowhere: No such"),
        ("[dns]\nauthorities = '/'\nforward = ['::1']", 2, "dns.authorities: /: Is a directory"),
        (
            "[dns]\nlisten = []\npool = ['10.0.0.0/16', '11.0.0.0/32']",
            3,
            "dns.pool: a pool has 65536 addresses at most",
        ),
        ("[metrics]\nlisten = 'x'", 2, "'x' is not an address"),
        (
            "[access]\nrules = ['::/0 permit 0.0.0.0/0',\n'::/0 allow 0.0.0.0/0']",
            3,
            "permit nor deny",
        ),
        ("[access]\nrules = ['']", 2, "says something"),
        ("[access]\nrules = ['#']", 2, "exactly one rule"),
        ("[[map]]\nv4 = '198.51.100.1'", 1, "map: v6 is missing"),
        ("[[map]]\nv4 = '198.51.100'", 2, "map.v4: '198.51.100' is not an IPv4 address"),
        (f"{MAP}ports = '80'\nto_port = 0", 5, "0 is not a number from 1 to 65535"),
        (f"{MAP}protocols = ['tcp',\n'icpm']", 5, "is icmp meant?"),
        (f"{MAP}protocols = []", 4, "there is nothing in it"),
        (f"{MAP}direction = 'inn'", 4, "is in meant?"),
        (f"\n{MAP}to_port = 80", 2, "map: to_port needs ports with exactly one port"),
        ("[maps]\nfile = 'maps'", 2, "not an absolute path"),
        # clashes
        (
            f"{MAP}[flows]\naddresses = ['198.51.100.9',\n'198.51.100.0/30']",
            6,
            r"flows.addresses: 198.51.100.0/30 is mapped \(faith.toml:1\); flows need addresses",
        ),
        (
            "[[source]]\naddresses = ['198.51.100.8/30']\n[flows]\naddresses = ['198.51.100.9']",
            4,
            r"198.51.100.9 is in the \[\[source\]\] on line 2",
        ),
        (
            "[dns]\npool = ['198.51.100.0/24']\n[flows]\naddresses = ['198.51.100.9']",
            4,
            r"198.51.100.9 is in the pool of \[dns\]",
        ),
        (f"{MAP}\n{MAP}", 5, r"the same map is there already \(line 1\)"),
        (f"[[prefix]]\naddress = '2001:db8:a::'\n{MAP}", 3, "is under the prefix 2001:db8:a::/96"),
        ("", None, r"nothing to relay: a \[\[service\]\], a \[\[map\]\] or a \[\[proxy\]\] is"),
        (
            f"{SERVICE}[[service]]\nports = '70-90'",
            4,
            "port 80 is in the service on line 2 already",
        ),
        (
            "[[prefix]]\naddress = '2001:db8::'\n[[prefix]]\naddress = '2001:db8::/65'",
            4,
            "overlaps 2001:db8::/96 on line 2",
        ),
        (
            "prefix = [{address = '1::', via = 'route'},\n{address = '2::', via = 'tproxy'}]",
            2,
            "tproxy, but route on line 1: all prefixes have one steering method",
        ),
        ("[access]\nfile = '/x'\nrules = []", 3, "there is a file on line 2 already"),
    ],
)
def test_a_mistake_is_told(text: str, line: int | None, says: str) -> None:
    if "service" not in text and line is not None:
        text += "\n" + SERVICE
    with pytest.raises(ConfigError, match=says) as told:
        read(text)
    assert (told.value.file, told.value.line) == ("faith.toml", line)


def test_a_mistake_in_the_access_file_is_told_of_that(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("\nnonsense")
    with pytest.raises(ConfigError, match="three or four words") as told:
        read(f"{SERVICE}[access]\nfile = '{rules}'")
    assert (told.value.file, told.value.line) == (str(rules), 2)


def test_maps_come_from_their_file_too(tmp_path: Path) -> None:
    file = tmp_path / "maps"
    file.write_text("198.51.100.2 2001:db8:a::3\n")
    settings = read(f"{SERVICE}{MAP}[maps]\nfile = '{file}'")
    assert [(str(one), one.file, one.line) for one in settings.maps] == [
        ("198.51.100.1 2001:db8:a::2", "faith.toml", 3),
        ("198.51.100.2 2001:db8:a::3", str(file), 1),
    ]
    assert settings.maps_file == file
    file.write_text("\n198.51.100.1 2001:db8:a::3\n")
    with pytest.raises(ConfigError, match=r"2001:db8:a::2 already \(faith.toml:3\)") as told:
        read(f"{SERVICE}{MAP}[maps]\nfile = '{file}'")
    assert (told.value.file, told.value.line) == (str(file), 2)


@pytest.mark.parametrize(("octets", "says"), [(None, "No such file"), (b"\xff", "not a text file")])
def test_a_file_that_cannot_be_read(tmp_path: Path, octets: bytes | None, says: str) -> None:
    file = tmp_path / "faith.toml"
    if octets is not None:
        file.write_bytes(octets)
    with pytest.raises(ConfigError, match=says):
        config.load(file)


def test_check_shows_which_way_connections_are_to_go() -> None:
    settings = read(
        f"{SERVICE}path = 'kernel'\n[[service]]\nports = '20-22'\npath = 'auto'\n"
        "[[service]]\nports = '8080'\nproxy = 'v1'\npath = 'auto'\n"
        "[flows]\naddresses = ['198.51.100.9']"
    )
    lines = list(check.lines(settings))
    assert lines[1:4] == [
        "service  port 80, by the kernel path",
        "service  ports 20-22, FTP on 21, by the kernel path where it can be had: 20,22",
        "service  port 8080, told their clients by PROXY v1",
    ]
    most, times = "65536 at most, 4096 half open", "SYN 75 s, idle 7440 s, closing 240 s"
    assert f"flows    {most}, from 1 address of their own, ports 1024-65535, {times}" in lines
    shared = list(check.lines(read(f"{SERVICE}path = 'auto'")))
    assert f"flows    {most}, from the gateway's addresses, ports 61000-65535, {times}" in shared


def test_check_shows_what_a_configuration_asks_for() -> None:
    assert list(check.lines(config.load(EXAMPLE))) == [
        "prefix   2001:db8:ffff::/96, layout low32, reserved while it runs",
        "service  ports 23,80,8000-8100",
        "service  port 21, FTP on 21",
        "steered  by the first method that works",
        "access   1 rule in access.rules",
        "maps     1, IPv4 addresses of them: 1, FTP on 21, from addresses that stand for clients",
        "workers  2, as nobody",
        "limits   sessions 100000, sessions_per_client 1000",
        (
            "timeouts connect 10 s, idle 7440 s, half-closed 300 s, lifetime 0 s, drain 30 s,"
            " lame duck 0 s"
        ),
        "dns      on [::]:53, asking 192.0.2.53:53",
        (
            "udp      idle 300 s, 10 s for ports 53,123, flows 16384, of a client 1024, answers"
            " from any port of a host that was sent to, MTU 1280"
        ),
        "ping     1000 a second, 100 of a client, identifiers kept 60 s",
        "metrics  on ::1 port 9064",
        "control  /run/faith/control.sock",
        "log      as text",
        "records  of all sessions, UDP flows as well",
    ]
