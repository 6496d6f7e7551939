from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from faith.cli.setup.template import render, words

if TYPE_CHECKING:
    from faith.cli.setup.template import Answers

POOL: Answers = {"addresses": "192.0.2.1, 192.0.2.2", "clients": "2001:db8:6::/64"}


def made(answers: Answers) -> dict[str, Any]:
    return tomllib.loads(render(answers))


def test_words_have_commas_blanks_or_both_between_them() -> None:
    assert words("a, b c,d ") == ["a", "b", "c", "d"]
    assert words("") == []


def test_without_answers_everything_is_relayed_and_nothing_else_said() -> None:
    assert made({}) == {"service": [{"ports": "1-65535"}]}


@pytest.mark.parametrize(
    ("answers", "table", "value"),
    [
        ({"prefix": "64:ff9b::/96"}, "prefix", [{"address": "64:ff9b::/96"}]),
        (
            {"prefix": "2001:db8::/32", "layout": "rfc6052"},
            "prefix",
            [{"address": "2001:db8::/32", "layout": "rfc6052"}],
        ),
        ({"ports": "80,443"}, "service", [{"ports": "80,443"}]),
        (
            {"clients": "2001:db8:6::/64, fd00::/8"},
            "access",
            {"rules": ["2001:db8:6::/64 permit 0.0.0.0/0", "fd00::/8 permit 0.0.0.0/0"]},
        ),
        ({"addresses": "192.0.2.1"}, "source", [{"addresses": ["192.0.2.1"]}]),
        (
            {**POOL, "share": "64"},
            "source",
            [
                {
                    "addresses": ["192.0.2.1", "192.0.2.2"],
                    "clients": ["2001:db8:6::/64"],
                    "client_length": 64,
                    "one_to_one": True,
                }
            ],
        ),
        ({"tcp": "60"}, "timeouts", {"idle": 60}),
        ({"udp": "yes"}, "udp", {}),
        ({"udp": "yes", "udp_idle": "120"}, "udp", {"idle": 120}),
        ({"proxy": ":1080"}, "proxy", [{"listen": ":1080"}]),
        (
            {"clients": "2001:db8:6::/64", "proxy": ":1080"},
            "access",
            {"rules": ["2001:db8:6::/64 permit 0.0.0.0/0", "2001:db8:6::/64 permit ::/0"]},
        ),
        ({"ping": "yes", "icmp": "60"}, "ping", {"timeout": 60}),
        (
            {"dns": "yes", "listen": "[::]:53", "forward": "192.0.2.53, 2001:db8::53"},
            "dns",
            {"listen": ["[::]:53"], "forward": ["192.0.2.53", "2001:db8::53"]},
        ),
        ({"dns": "yes", "pool": "none"}, "dns", {}),
        ({"dns": "yes", "pool": "198.51.100.0/24"}, "dns", {"pool": ["198.51.100.0/24"]}),
    ],
)
def test_each_answer_is_in_its_table(answers: Answers, table: str, value: Any) -> None:
    assert made(answers)[table] == value


@pytest.mark.parametrize(
    ("answers", "table"),
    [
        ({"clients": "everybody"}, "access"),
        ({"addresses": "kernel"}, "source"),
        ({"udp": "no", "udp_idle": "120"}, "udp"),
        ({"ping": "no"}, "ping"),
        ({"dns": "no", "pool": "198.51.100.0/24"}, "dns"),
        ({"maps": ""}, "map"),
        ({"proxy": "none"}, "proxy"),
    ],
)
def test_what_is_not_wanted_is_not_there(answers: Answers, table: str) -> None:
    assert table not in made(answers)


def test_a_shared_pool_is_nobodys_own() -> None:
    (source,) = made({**POOL, "share": "shared"})["source"]
    assert source == {"addresses": ["192.0.2.1", "192.0.2.2"]}


def test_clients_of_ipv4_may_reach_what_is_there_for_them() -> None:
    found = made(
        {
            "clients": "2001:db8:6::/64",
            "maps": "192.0.2.102 2001:db8:6::2\n192.0.2.103, 2001:db8:6::3",
            "dns": "yes",
            "pool": "198.51.100.0/24",
        }
    )
    assert found["map"] == [
        {"v4": "192.0.2.102", "v6": "2001:db8:6::2"},
        {"v4": "192.0.2.103", "v6": "2001:db8:6::3"},
    ]
    assert found["access"]["rules"][1:] == [
        "::ffff:0:0/96 permit 192.0.2.102",
        "::ffff:0:0/96 permit 192.0.2.103",
        "::ffff:0:0/96 permit 198.51.100.0/24",
    ]


def test_a_word_where_a_number_belongs_stays_for_the_reader_to_refuse() -> None:
    assert made({"tcp": "an hour"})["timeouts"] == {"idle": "an hour"}


def test_no_answer_breaks_out_of_its_quotes() -> None:
    answer = '1"\n[timeouts]\nidle = 1 # \\ é'
    assert made({"ports": answer}) == {"service": [{"ports": answer}]}


def test_the_file_says_whose_clients_they_are() -> None:
    text = render({"clients": "2001:db8:6::/64", "inside": "lan"})
    assert "# Who may use it: those of lan, unless others were named." in text
