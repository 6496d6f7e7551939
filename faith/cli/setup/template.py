"""The configuration file of a set of answers: a faith.toml(5) with comments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from faith.translation.prefix import LOW32, RFC6052, Prefix, is_ambiguous

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Answers = Mapping[str, str]
    """The answers so far, by the names of the questions."""

YES, NO = "yes", "no"
EVERYBODY = "everybody"
KERNEL = "kernel"
SHARED = "shared"
NONE = "none"
_SHORT = {"y": YES, "n": NO}
_WORDS = (YES, NO, EVERYBODY, KERNEL, SHARED, NONE)
LAYOUT = LOW32
"""The default layout, where it is the only one or the layouts agree."""

_IPV4_CLIENTS = "::ffff:0:0/96"
_HEAD = """\
# A gateway's configuration, made by `faith setup`.  faith.toml(5) explains all that is possible.
# `faith check` shows what this file asks for, and `faith reload` has it read again."""


def render(answers: Answers) -> str:
    """Return the text of the file."""
    return "\n\n".join([_HEAD, *_parts(answers)]) + "\n"


def understood(answer: str) -> str:
    """Return *answer* with the words of a dialogue as they are written here: ``Y`` is "yes"."""
    word = answer.lower()
    return _SHORT.get(word, word if word in _WORDS else answer)


def words(answer: str) -> list[str]:
    """Return the parts of an answer, which are separated by commas or blanks."""
    return answer.replace(",", " ").split()


def _parts(answers: Answers) -> Iterator[str]:
    if "user" in answers:
        yield f"# Who the processes are that serve.\nuser = {_text(answers['user'])}"
    if "prefix" in answers:
        yield _prefix(answers)
    yield _service(answers)
    if answers.get("clients", EVERYBODY) != EVERYBODY:
        yield _access(answers)
    if answers.get("addresses", KERNEL) != KERNEL:
        yield _source(answers)
    yield from map(_map, answers.get("maps", "").splitlines())
    if "tcp" in answers:
        yield _timeouts(answers)
    if answers.get("udp") == YES:
        yield _udp(answers)
    if answers.get("ping") == YES:
        yield _ping(answers)
    if answers.get("dns") == YES:
        yield _dns(answers)
    if answers.get("proxy", NONE) != NONE:
        yield _proxy(answers)
    if answers.get("metrics", NONE) != NONE:
        yield _metrics(answers)


def _prefix(answers: Answers) -> str:
    lines = [
        "# Clients reach an IPv4 address under this prefix.  It is reserved while faithd runs.",
        "[[prefix]]",
        f"address = {_text(answers['prefix'])}",
    ]
    if "layout" in answers or is_ambiguous(Prefix.parse(answers["prefix"], LAYOUT)):
        lines.append(f"layout = {_text(answers.get('layout', RFC6052))}")
    return "\n".join(lines)


def _service(answers: Answers) -> str:
    return "\n".join(
        [
            "# What is relayed; on port 21, FTP is understood.",
            "[[service]]",
            f"ports = {_text(answers.get('ports', '1-65535'))}",
        ]
    )


def _access(answers: Answers) -> str:
    networks = words(answers["clients"])
    rules = [f"{network} permit 0.0.0.0/0" for network in networks]
    if answers.get("proxy", NONE) != NONE:
        rules += [f"{network} permit ::/0" for network in networks]
    # IPv4 clients, as rules know them, may reach what is mapped for them.
    rules += [f"{_IPV4_CLIENTS} permit {network}" for network in _for_ipv4(answers)]
    inside = answers.get("inside", "")
    where = f": those of {inside}, unless others were named" if inside else ""
    return "\n".join(
        [f"# Who may use it{where}.", "[access]", f"rules = {_list(rules, apart=True)}"]
    )


def _for_ipv4(answers: Answers) -> Iterator[str]:
    for line in answers.get("maps", "").splitlines():
        yield words(line)[0]
    if answers.get("dns") == YES and answers.get("pool", NONE) != NONE:
        yield from words(answers["pool"])


def _source(answers: Answers) -> str:
    share = answers.get("share", SHARED)
    lines = ["[[source]]", f"addresses = {_list(words(answers['addresses']))}"]
    if share == SHARED:
        comment = "# Connections come from these addresses; a client has always the same one."
    else:
        comment = "# Each client, a network of so many bits, has an address of its own."
        lines += [f"client_length = {_number(share)}", "one_to_one = true"]
        if answers.get("clients", EVERYBODY) != EVERYBODY:
            lines.insert(1, f"clients = {_list(words(answers['clients']))}")
    return "\n".join([comment, *lines])


def _map(line: str) -> str:
    v4, v6 = words(line)
    return "\n".join(
        [
            "# An IPv4 address that stands for an IPv6 host.",
            "[[map]]",
            f"v4 = {_text(v4)}",
            f"v6 = {_text(v6)}",
        ]
    )


def _timeouts(answers: Answers) -> str:
    return "\n".join(
        [
            "# Seconds after which a session ends in which nothing moves; 0 is no limit.",
            "[timeouts]",
            f"idle = {_number(answers['tcp'])}",
        ]
    )


def _udp(answers: Answers) -> str:
    lines = ["# UDP, on every port, as long as something comes from the client.", "[udp]"]
    if "udp_idle" in answers:
        lines.append(f"idle = {_number(answers['udp_idle'])}")
    return "\n".join(lines)


def _ping(answers: Answers) -> str:
    lines = ["# Pings are answered if the host behind the gateway answers.", "[ping]"]
    if "icmp" in answers:
        lines.append(f"timeout = {_number(answers['icmp'])}")
    return "\n".join(lines)


def _dns(answers: Answers) -> str:
    lines = ["# Names (DNS64): clients get addresses under the prefix.", "[dns]"]
    if "listen" in answers:
        lines.append(f"listen = {_list(words(answers['listen']))}")
    if "forward" in answers:
        lines.append(f"forward = {_list(words(answers['forward']))}")
    if answers.get("pool", NONE) != NONE:
        lines.append("# Lent to names that have IPv6 addresses only, for clients of IPv4 (DNS46).")
        lines.append(f"pool = {_list(words(answers['pool']))}")
    return "\n".join(lines)


def _proxy(answers: Answers) -> str:
    about = "# Clients ask here for servers of both families, by SOCKS and HTTP."
    return f"{about}\n[[proxy]]\nlisten = {_text(answers['proxy'])}"


def _metrics(answers: Answers) -> str:
    about = "# For Prometheus (/metrics) and for probes (/healthz, /readyz)."
    return f"{about}\n[metrics]\nlisten = {_text(answers['metrics'])}"


def _text(answer: str) -> str:
    """Return a TOML string; JSON has the same form."""
    return json.dumps(answer, ensure_ascii=False)


def _number(answer: str) -> str:
    """Return a TOML number, or a string for other words, which the reader of the file
    then rejects."""
    try:
        return str(int(answer))
    except ValueError:
        return _text(answer)


def _list(texts: Iterable[str], *, apart: bool = False) -> str:
    quoted = [_text(text) for text in texts]
    if apart:
        return "".join(["[\n", *(f"    {text},\n" for text in quoted), "]"])
    return f"[{', '.join(quoted)}]"
