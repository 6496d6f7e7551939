"""The page in a real browser: what it shows of a daemon's reports, how it is used, what it refuses.

The reports are a test's own, so that each can be any; `test_page_of_a_daemon` has a real faithd.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from faith.daemon.observe.status_report import (
    Finding,
    Process,
    Proxied,
    Reload,
    ServedProxy,
    Traffic,
)
from faith.lab import wait_until
from tests.peers.browser import Browser
from tests.peers.page_samples import UP, report
from tests.peers.page_server import PageServer
from tests.test_admin_access import BY_TOKEN, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from faith.daemon.observe.status_report import Report

    Serve = Callable[..., PageServer]

pytestmark = pytest.mark.peers

WARNING = Finding(
    "warning", "dns-server", "the server 192.0.2.53 does not answer", "dig @192.0.2.53"
)
FAILURE = Finding("failure", "no-worker", "no worker serves: connections wait, or are refused")
BUSY = Traffic("relay", 12, 1000, 50_000, 900_000, {"closed": 900}, {"denied by a rule": 5})
LATER = Traffic("relay", 15, 1030, 90_000, 2_900_000, {"closed": 920}, {"denied by a rule": 8})


@pytest.fixture(scope="module")
def chromium(
    need: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    browser = Browser(need, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser, as wide and light as usual; at the end it has nothing to complain of."""
    chromium.width(1400)
    chromium.prefer("light")
    yield chromium
    chromium.open("about:blank")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """``serve(reports)`` serves the page with one after the other; the last stays."""
    with contextlib.ExitStack() as servers:

        def start(reports: Iterable[Report | None], **options: Any) -> PageServer:
            coming = iter(reports)
            now: list[Report | None] = [None]

            def advance() -> Report | None:
                now[0] = next(coming, now[0])
                return now[0]

            server = PageServer(advance, **options)
            servers.callback(server.close)
            return server

        yield start


def story(*changes: dict[str, Any]) -> list[Report]:
    """Reports two seconds apart, each with *changes* of its daemon."""
    return [report(2.0 * number, **one) for number, one in enumerate(changes)]


def until(browser: Browser, what: str, holds: Callable[[], bool]) -> None:
    wait_until(holds, 20, f"the page showing {what}; it shows: {browser.text('body')[:300]}")


def until_text(browser: Browser, selector: str, text: str) -> None:
    until(browser, text, lambda: text in browser.text(selector))


# -- numbers -------------------------------------------------------------------------------------


def test_it_shows_the_numbers_and_how_they_grow(browser: Browser, serve: Serve) -> None:
    browser.open(serve(story({"traffic": [BUSY]}, {"traffic": [LATER]})).url)
    until(browser, "growth", lambda: browser.rows("traffic")[0][2] == "15")
    assert browser.rows("traffic") == [["relay", "15", "15", "20 kB/s", "1 MB/s", "1,030"]]
    assert browser.rows("reasons") == [
        ["closed", "relay", "ended", "20", "920"],
        ["denied by a rule", "relay", "refused", "3", "8"],
    ]
    assert browser.text("#state") == "ready"
    assert "up 3 d 4 h" in browser.text("#facts")
    assert ["2001:db8:64::/96", "rfc6052", "yes"] in browser.rows("prefixes")
    assert ["pool leases", "dns 1", "121", "126", "96 %"] in browser.rows("uses")
    assert ["look-ups", "dns 1", "611", "4,096", "15 %"] in browser.rows("uses"), "as elsewhere"
    descriptors = [row for row in browser.rows("uses") if row[0] == "descriptors"]
    assert descriptors == [["descriptors", "worker 2", "13,941", "16,384", "85 %"]], "the fullest"
    assert ["the last minute", "10.7 ms", "83 ms"] in browser.rows("dialling")
    assert ["2001:db8:53::1", "fails", "no answer within 2 s"] in browser.rows("names")
    assert ["dns 1", "serving", "0.5 s ago", "3", "253", "1", "4107"] in browser.rows("processes")
    assert browser.text("#fine") == "Nothing is amiss."
    assert browser.complaints() == []


def test_findings_are_listed_with_what_to_do(browser: Browser, serve: Serve) -> None:
    browser.open(
        serve([report(0, FAILURE, WARNING, ready=False, obstacles=["no worker serves"])]).url
    )
    until_text(browser, "#state", "not ready: no worker serves")
    words = browser.text("#findings-list").split("\n")
    assert words == [
        f"failure {FAILURE.text}",
        f"warning {WARNING.text}",
        WARNING.action,
    ]
    assert not browser.is_shown("#fine")
    assert browser.run("return document.title").startswith("(!)")


def test_text_of_a_report_is_text_and_never_markup(browser: Browser, serve: Serve) -> None:
    nasty = Finding("warning", "x", "<img src=x onerror=alert(1)>", "<script>alert(2)</script>")
    browser.open(serve([report(0, nasty)]).url)
    until_text(browser, "#findings-list", nasty.text)
    assert browser.run("return document.querySelectorAll('main img, main script').length") == 0
    assert browser.complaints() == []


def test_sections_without_numbers_are_not_there(browser: Browser, serve: Serve) -> None:
    none: dict[str, Any] = {"names": None, "flows": None, "paths": [], "probes": [], "uses": []}
    browser.open(serve(story({**none, "dialling": None})).url)
    until_text(browser, "#state", "ready")
    for section in ("names", "paths", "proxies", "probes", "uses", "dialling", "seen"):
        assert not browser.is_shown(f"#{section}"), section


def test_proxies_and_what_their_clients_do(browser: Browser, serve: Serve) -> None:
    served = [
        ServedProxy("[::]:1080", ["socks5", "http"]),
        ServedProxy("192.0.2.1:3129", ["connect"], ["192.0.2.0/24"], 1_200, tls=True),
    ]
    first = {"proxies": served, "proxied": Proxied(2, 0, {"socks5": 5}, {"bad request": 1})}
    later = {"proxies": served, "proxied": Proxied(3, 1, {"socks5": 9}, {"bad request": 1})}
    browser.open(serve(story(first, later, later)).url)
    until_text(browser, "#state", "ready")
    assert browser.rows("proxies") == [
        ["[::]:1080", "no", "socks5, http", "on the gateway's links", "no login"],
        ["192.0.2.1:3129", "yes", "connect", "192.0.2.0/24", "1,200"],
    ]
    until(browser, "the later numbers", lambda: "9 in all" in browser.text("#proxies-numbers"))
    shown = browser.text("#proxies-numbers").split("\n")
    for words in (
        ("open sessions", "3"),
        ("that send datagrams", "1"),
        ("asked by socks5", "4 in five minutes, 9 in all"),
        ("refused: bad request", "0 in five minutes, 1 in all"),
    ):
        assert shown[shown.index(words[0]) + 1] == words[1]
    assert browser.violations() == []
    assert browser.complaints() == []


def test_a_report_of_a_later_version_is_shown_and_another_schema_is_not(
    browser: Browser, serve: Serve
) -> None:
    browser.open(serve([replace(report(0), schema=2)]).url)
    until_text(browser, "#stale", "its report has schema 2, not 1")


# -- changes -------------------------------------------------------------------------------------


def test_a_restart_makes_no_negative_rates(browser: Browser, serve: Serve) -> None:
    first = Traffic("relay", 1, 7, 100, 200)
    restarted = {"traffic": [first], "pid": 9000, "started": 1_790_000_000.0 + UP + 3}
    reports = story({"traffic": [BUSY]}, {"traffic": [LATER]}, restarted, restarted)
    browser.open(serve(reports).url)
    until_text(browser, "#seen-list", "the daemon was restarted; its counters began anew")
    assert browser.text("#announce") == "the daemon was restarted; its counters began anew"
    assert "-" not in "".join(itertools.chain(*browser.rows("traffic")))
    until(browser, "no growth", lambda: browser.rows("traffic")[0][2] == "0")
    new_a_second = browser.run("return document.querySelector('.plot path').getAttribute('d')")
    assert new_a_second.count("M") == 2, "there is a gap in the curve"
    assert "NaN" not in browser.run("return document.querySelector('#charts').innerHTML")


def test_a_worker_that_counts_anew_makes_no_negative_rate(browser: Browser, serve: Serve) -> None:
    def worker(begun: int, restarts: int) -> dict[str, Any]:
        one = Process("worker 1", 5000 + restarts, "serving", 0.1, restarts, 3, begun)
        return {"processes": [one]}

    browser.open(serve(story(worker(500, 0), worker(20, 1), worker(60, 1))).url)
    until(browser, "growth", lambda: browser.rows("processes")[0][4] == "20")
    assert browser.rows("processes")[0][5:] == ["1", "5001"]


def test_an_upgrade_goes_on_counting_and_asks_for_the_new_page(
    browser: Browser, serve: Serve
) -> None:
    before, after = story({"traffic": [BUSY]}, {"traffic": [LATER], "programs": 2})
    browser.open(serve([before, replace(after, version="0.3.0")]).url)
    until_text(browser, "#seen-list", "the daemon was upgraded, to version 0.3.0")
    assert browser.rows("traffic")[0][2] == "15"
    assert browser.is_shown("#newer")
    browser.driver.find_element("id", "again").click()
    until(browser, "its page", lambda: not browser.is_shown("#newer"))


def test_reloads_and_failed_upgrades_are_noted(browser: Browser, serve: Serve) -> None:
    bad = Reload(1_790_000_000.0, False, "faith.toml:3: no such key")
    reports = story({"failed": 0}, {"failed": 1, "reload": bad})
    browser.open(serve(reports).url)
    until_text(browser, "#seen-list", "a reload failed: faith.toml:3: no such key")
    assert "an upgrade failed" in browser.text("#seen-list")
    assert "faith.toml:3: no such key" in browser.text("#upkeep-numbers")


def test_readiness_that_changes_is_said(browser: Browser, serve: Serve) -> None:
    reports = story({}, {"ready": False, "obstacles": ["draining"]}, {})
    browser.open(serve(reports).url)
    until_text(browser, "#seen-list", "not ready: draining")
    until(browser, "ready", lambda: browser.text("#announce") == "ready")


# -- silence -------------------------------------------------------------------------------------


def is_stale(browser: Browser) -> bool:
    return bool(browser.run("return document.body.classList.contains('stale')"))


def test_old_numbers_are_grey_with_their_age_until_new_ones_come(
    browser: Browser, serve: Serve
) -> None:
    """The daemon's supervisor hangs: the listener answers with the last report."""
    server = serve([report(0)])
    browser.open(server.url)
    until_text(browser, "#state", "ready")
    assert not is_stale(browser)
    until_text(browser, "#stale", "No new numbers: the daemon's supervisor does not report.")
    assert is_stale(browser)
    assert " ago." in browser.text("#stale-for")
    assert browser.text("#announce") == "There are no new numbers."
    assert browser.text("#state") == "not known (was ready)"
    assert browser.run("return document.title").startswith("(!)")
    server.told.make = lambda: report(30)
    until(browser, "news", lambda: not is_stale(browser))
    assert not browser.is_shown("#stale")
    assert browser.text("#state") == "ready"


def test_a_daemon_that_is_gone_is_said_to_be(browser: Browser, serve: Serve) -> None:
    server = serve([report(0)])
    browser.open(server.url)
    until_text(browser, "#state", "ready")
    server.close()
    until_text(browser, "#stale", "No new numbers: the daemon cannot be reached.")
    assert is_stale(browser)


def test_a_listener_without_a_report_says_so(browser: Browser, serve: Serve) -> None:
    browser.open(serve([None]).url)
    until_text(browser, "#stale", "the daemon does not say what it does")


# -- people --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_keeps_anybody_from_using_it(
    browser: Browser, serve: Serve, scheme: str, width: int
) -> None:
    browser.prefer(scheme)
    browser.width(width)
    bad = {"ready": False, "obstacles": ["draining"]}
    server = serve([report(0, WARNING), report(2, WARNING, FAILURE, **bad)])
    browser.open(server.url)
    until_text(browser, "#state", "not ready")
    assert browser.violations() == []
    until(browser, "its age", lambda: is_stale(browser))
    assert browser.violations() == []


def test_violations_would_be_found(browser: Browser, serve: Serve) -> None:
    browser.open(serve([report(0)]).url)
    until_text(browser, "#state", "ready")
    browser.run("document.querySelector('main').append(document.createElement('img'))")
    assert browser.violations() == ["image-alt: <img>"]


def test_the_keyboard_is_enough(browser: Browser, serve: Serve) -> None:
    moments = [report(2.0 * number) for number in range(4)]
    browser.open(serve(moments).url)
    until(browser, "four moments", lambda: browser.run(POINTS) == 3)
    browser.press("TAB")
    assert browser.focus() == "Skip to the numbers"
    browser.press("ENTER")
    assert browser.focus() == "main"
    browser.press("TAB")
    assert browser.focus() == "New a second"
    browser.press("ARROW_LEFT")
    words = browser.run("return document.activeElement.getAttribute('aria-valuetext')")
    assert words.startswith("2 s ago: relay ")
    assert browser.text("figcaption").startswith("New a second, 2 s ago")
    browser.press("HOME")
    assert browser.run(VALUE) == "-6"
    browser.press("END")
    assert browser.run(VALUE) == "0"
    seen = set()
    for _ in range(8):
        browser.press("TAB")
        seen.add(browser.focus())
    assert {"Open", "Octets a second, both ways", "status.json", "metrics", "readyz"} <= seen


POINTS = (
    "return (document.querySelector('.plot path')?.getAttribute('d').match(/[ML]/g) ?? []).length"
)
VALUE = "return document.activeElement.getAttribute('aria-valuenow')"
GROUND = "return getComputedStyle(document.body).backgroundColor"
LIGHT, DARK = "rgb(244, 245, 247)", "rgb(20, 23, 27)"


def test_colours_are_the_systems_or_those_of_the_switch(browser: Browser, serve: Serve) -> None:
    url = serve([report(0)]).url
    for scheme, colour in (("light", LIGHT), ("dark", DARK)):
        browser.prefer(scheme)
        browser.open(url)
        until_text(browser, "#state", "ready")
        assert browser.run(GROUND) == colour
    browser.run("document.getElementById('scheme').focus()")
    browser.press("ARROW_DOWN")
    assert browser.run(GROUND) == LIGHT, "the switch says light"
    browser.open(url)
    assert browser.run(GROUND) == LIGHT, "it is remembered"
    browser.prefer("light")
    browser.run("document.getElementById('scheme').focus()")
    browser.press("ARROW_DOWN")
    assert browser.run(GROUND) == DARK, "the switch says dark"
    browser.press("ARROW_UP", "ARROW_UP")
    assert browser.run(GROUND) == LIGHT, "the system says light"


@pytest.mark.parametrize("width", [1400, 900, 400, 320])
def test_nothing_overlaps_or_is_cut(browser: Browser, serve: Serve, width: int) -> None:
    browser.width(width)
    long = Finding("warning", "x", "w" * 120, "faith " + "x" * 200)
    browser.open(serve([report(0, long), report(2, long)]).url)
    until_text(browser, "#state", "ready")
    assert browser.run("return document.documentElement.scrollWidth") == width
    assert browser.run(OVERLAPS) == []


OVERLAPS = """
const boxes = [...document.querySelectorAll("header, section, figure, footer")]
  .filter((one) => one.offsetParent).map((one) => [one, one.getBoundingClientRect()]);
const found = [];
for (const [one, a] of boxes) {
  if (one.scrollWidth > one.clientWidth + 1) found.push(`cut: ${one.id || one.className}`);
  for (const [other, b] of boxes) {
    if (one === other || one.contains(other) || other.contains(one)) continue;
    const [x, y] = [Math.min(a.right, b.right), Math.min(a.bottom, b.bottom)];
    if (Math.max(a.left, b.left) < x - 1 && Math.max(a.top, b.top) < y - 1)
      found.push(`${one.id} and ${other.id}`);
  }
}
return found;
"""


# -- access --------------------------------------------------------------------------------------


def test_a_browser_gives_the_token_as_a_password(browser: Browser, serve: Serve) -> None:
    server = serve([report(0), report(2)], access=BY_TOKEN)
    browser.open(server.url)
    assert browser.run("return document.title") != "faithd"
    assert browser.run("return document.querySelector('#state')") is None
    browser.complaints()
    browser.open(server.url.replace("://", f"://anybody:{TOKEN}@"))
    until_text(browser, "#state", "ready")
    assert browser.complaints() == []


def test_no_other_script_runs(browser: Browser, serve: Serve) -> None:
    """The policy holds in a real browser: markup with scripts of its own would do nothing."""
    browser.open(serve([report(0)]).url)
    until_text(browser, "#state", "ready")
    browser.run(
        """
        const script = document.createElement("script");
        try { script.text = "window.ran = true"; } catch { window.refused = true; }
        document.head.append(script);
        """
    )
    assert browser.run("return [window.ran, window.refused]") == [None, True]
