"""Every module has a test of its own, which is called as it is, or stands here with the reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import faith

ROOT = Path(faith.__file__).parent.parent
TESTS = ROOT / "tests"

WHOLE = "tests/netns/ runs it in whole daemons: by itself there is nothing to see of it"
SERVED = "tests/dns/test_server.py asks it by the network"
WITHOUT = {
    "faith/cli/demo/story.py": "tests/netns/test_demo.py runs it: it is the order of the others",
    "faith/cli/top/dialogs.py": "tests/test_top_app.py presses their keys",
    "faith/cli/top/reading.py": "tests/netns/test_top.py reads a daemon that ends and returns",
    "faith/cli/top/row_list.py": "tests/test_top_app.py moves its cursor",
    "faith/cli/top/top_command.py": "tests/netns/test_top.py runs it with and without a terminal",
    "faith/cli/session_options.py": "it declares options; tests/test_session_commands.py uses them",
    "faith/cli/version_option.py": "tests/test_version.py uses it",
    "faith/cli/status_lines.py": "tests/test_cli_status.py reads its lines",
    "faith/cli/explain/address_facts.py": "tests/netns/test_explain.py gathers in a real network",
    "faith/cli/explain/explanation.py": "tests/test_explain_walk.py makes whole ones",
    "faith/cli/explain/facts.py": "tests/explained.py makes them, for all tests of steps",
    "faith/cli/explain/filter_facts.py": "tests/netns/test_explain.py has real rules",
    "faith/cli/explain/gathering.py": "tests/netns/test_explain.py gathers in a real network",
    "faith/cli/explain/proxied_facts.py": "tests/explained.py makes them, for all tests of steps",
    "faith/cli/explain/proxied_gathering.py": "tests/netns/test_explain_proxied.py has a network",
    "faith/cli/name_options.py": "it declares options; tests/test_cli_names.py uses them all",
    "faith/daemon/config/probe_settings.py": "tests/test_metrics_table.py reads them",
    "faith/cli/standard_output.py": "tests/test_terminals.py closes pipes and fills disks",
    "faith/daemon/config/datagram_tables.py": "tests/test_config.py has every key of faith.toml",
    "faith/daemon/config/dns_table.py": "tests/test_config.py has every key of faith.toml",
    "faith/daemon/observe/datagram_sinks.py": "tests/test_sinks.py has all sinks",
    "faith/daemon/observe/name_server_numbers.py": "tests/netns/test_process_metrics.py has it",
    "faith/daemon/observe/stderr_sink.py": "tests/test_sinks.py has all sinks",
    "faith/daemon/host/guard_findings.py": "tests/test_cli_status.py has all of them",
    "faith/daemon/host/host_findings.py": "tests/test_cli_status.py has all of them",
    "faith/daemon/process/fork.py": "tests/test_worker_pool.py forks by it",
    "faith/daemon/process/heartbeat.py": "tests/test_worker_pool.py has its times pass",
    "faith/daemon/process/messages.py": "tests/test_worker_pool.py and test_child.py send them",
    "faith/daemon/process/peer.py": "tests/test_worker_pool.py has the supervisor's side of it",
    "faith/daemon/services/listener_shares.py": "tests/netns/test_desired_state.py hangs workers",
    "faith/daemon/dns_daemon.py": "tests/netns/test_dns.py runs it",
    "faith/daemon/process/reaping.py": "tests/test_worker_pool.py reaps by it",
    "faith/daemon/process/reception.py": "tests/test_worker_pool.py has workers that babble",
    "faith/daemon/services/dns_workers.py": WHOLE,
    "faith/daemon/services/flow_process.py": WHOLE,
    "faith/daemon/services/ftp_data.py": WHOLE,
    "faith/daemon/services/interface.py": WHOLE,
    "faith/daemon/services/kernel_path_resources.py": WHOLE,
    "faith/daemon/services/liveness.py": "tests/netns/test_desired_state.py hangs workers",
    "faith/daemon/services/local_service.py": WHOLE,
    "faith/daemon/services/relaying.py": WHOLE,
    "faith/daemon/services/service_list.py": WHOLE,
    "faith/daemon/services/session_dump.py": WHOLE,
    "faith/daemon/services/session_queries.py": WHOLE,
    "faith/daemon/services/worker.py": WHOLE,
    "faith/daemon/shutdown.py": WHOLE,
    "faith/daemon/supervisor.py": WHOLE,
    "faith/datagram/ping/ping_translation.py": "tests/datagram/test_ping_v4_to_v6.py has a child",
    "faith/datagram/send.py": "it is a record without behaviour",
    "faith/datagram/udp/udp_translation.py": "tests/datagram/test_udp_v4_to_v6.py has a child",
    "faith/dns/listening.py": SERVED,
    "faith/dns/name_service.py": SERVED,
    "faith/dns/service.py": SERVED,
    "faith/dns/zone.py": "tests/dns/test_server.py and test_resolver.py look names up in zones",
    "faith/ftp/listeners.py": "tests/test_control_connection.py has the control channel whole",
    "faith/kernel/nft/reassembly.py": "tests/netns/test_ping.py has pings in fragments",
    "faith/kernel/steering/owned.py": "tests/netns/test_owned_table.py has tables of it",
    "faith/lab/host.py": "tests/netns/test_lab.py has the whole lab",
    "faith/lab/keep.py": "tests/netns/test_lab.py: what is kept is one for the whole machine",
    "faith/proxy/proxy_events.py": "tests/proxy/test_socks5.py has the machines return them",
    "faith/relay/proxy/tls_passage.py": "tests/test_tls_terminator.py has clients pass it",
    "faith/relay/proxy/destinations.py": "tests/test_association.py sends to them",
    "faith/relay/alg/control_log.py": "tests/test_control_connection.py reads what it logs",
    "faith/relay/alg/data_connections.py": "tests/netns/test_ftp.py has it between real peers",
    "faith/relay/alg/ftp_data.py": "tests/netns/test_ftp.py has it between real peers",
    "faith/relay/proxy/client_requests.py": "tests/test_proxy_client.py asks for servers, "
    "tests/test_awaited_peer.py for peers, tests/test_association.py sends datagrams",
    "faith/relay/proxy/client_session.py": "tests/test_proxy_client.py has such sessions",
    "faith/relay/proxy/name_search.py": "it declares what tests/test_happy_dial.py has",
    "faith/relay/proxy/proxy_means.py": "it declares what tests/proxy_bench.py has",
    "faith/relay/proxy/proxy_settings.py": "it declares what tests/test_proxies.py sets",
    "faith/relay/proxy/server_dial.py": "tests/test_proxy_client.py dials by it",
    "faith/relay/alg/side.py": "tests/test_control_connection.py has both sides of it",
}
"""The modules that have no test of their own, and why."""


def modules() -> list[str]:
    """Return the modules that have code, as paths from the root of the tree."""
    files = sorted((ROOT / "faith").rglob("*.py"))
    return [str(file.relative_to(ROOT)) for file in files if _has_code(file)]


def _has_code(file: Path) -> bool:
    return file.name != "__init__.py" or len(file.read_text().splitlines()) > 3


def own_test(module: str) -> Path | None:
    """``test_NAME.py`` or ``test_ROOM_NAME.py``, wherever below tests/, of a room it is in."""
    *rooms, name = Path(module).with_suffix("").parts[1:]
    if name == "__init__":
        name = rooms.pop() if rooms else "faith"
    names = [f"test_{name}.py", *(f"test_{room}_{name}.py" for room in rooms)]
    return next((found for each in names for found in sorted(TESTS.rglob(each))), None)


@pytest.mark.parametrize("module", modules())
def test_every_module_has_a_test_of_its_own_or_a_reason(module: str) -> None:
    found = own_test(module)
    if found is None:
        assert module in WITHOUT, f"{module} has no test: write one, called by its name"
    else:
        assert module not in WITHOUT, f"{module} has {found.name}: take it out of WITHOUT"


def test_every_reason_is_about_a_module_that_is_there() -> None:
    assert not WITHOUT.keys() - set(modules())
    assert all(reason.split() for reason in WITHOUT.values())


def test_a_reason_that_names_a_file_names_one_that_is_there() -> None:
    for reason in WITHOUT.values():
        named = [word.strip(",:") for word in reason.split() if word.startswith("tests/")]
        assert all((ROOT / name).exists() for name in named), reason


SHARED = {
    "Echo": {"tests/netns/service.py", "tests/netns/datagrams.py"},  # by TCP, and by UDP
    "Gateway": {"tests/netns/gateway.py"},
    "Server": {"tests/netns/service.py"},
    "accept": {"tests/netns/steered.py"},
    "answers": {"tests/netns/service.py"},
    "connect_from": {"tests/netns/service.py"},
    "listener": {"tests/netns/service.py", "tests/netns/conftest.py"},  # and the fixture of it
    "metrics": {"tests/netns/gateway.py"},
    "ordinary_server": {"tests/netns/steered.py"},
    "reread": {"tests/netns/gateway.py"},
    "say_again": {"tests/netns/service.py"},
    "udp": {"tests/netns/datagrams.py"},
}
"""Names that tests in networks share, and the only files that may define each."""


def test_what_tests_share_is_made_in_one_place() -> None:
    made: dict[str, set[str]] = {name: set() for name in SHARED}
    for file in sorted((TESTS / "netns").glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in SHARED:
                made[node.name].add(str(file.relative_to(ROOT)))
    # The host that faith(8) is tried on is no faithd, and has nothing to share.
    made["Gateway"].discard("tests/netns/test_faith_command.py")
    assert made == SHARED
