"""Access rules of faithd.conf(5): the rules of KAME's faithd, read strictly.

One rule a line, ``SRC[/len] permit|deny DST[/len] [SRC4]``: clients in SRC may or may not reach
DST, and SRC4 is the address the connection is made from, where DST is IPv4.  An IPv4 SRC is kept as
the IPv4-mapped network (RFC 4291 §2.5.5.2).  Of the rules whose DST has the family of the
destination the first match decides, no match denies, and an empty list of rules permits everything.
"""

from __future__ import annotations

from faith.errors import ConfigError, meant, raise_all
from faith.translation.address import IPV4_MAPPED, text4

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FORM = "SRC[/len] permit|deny DST[/len] [SRC4]"


class Rule:
    """One access rule; networks are ``(network, length)`` integers, *source4* a 32-bit address or
    None.

    Clients have 128 bits, destinations *bits*: 32 or 128.
    """

    __slots__ = ("bits", "clients", "destinations", "line", "permit", "source4")

    def __init__(
        self,
        clients: tuple[int, int],
        permit: bool,
        destinations: tuple[int, int],
        source4: int | None = None,
        line: int | None = None,
        bits: int = 32,
    ) -> None:
        self.clients = clients
        self.permit = permit
        self.destinations = destinations
        self.source4 = source4
        self.line = line
        self.bits = bits

    def names(self, network: tuple[int, int]) -> bool:
        """Return whether the destinations of this rule lie inside *network*, of their family."""
        start, length = network
        own_start, own_length = self.destinations
        shift = self.bits - length
        return own_length >= length and own_start >> shift == start >> shift


PERMIT_ALL = Rule((0, 0), True, (0, 0))
"""The rule that decides where no rules are configured."""


class Access:
    """An immutable list of rules; the cost of a decision does not grow with its length.

    Rules are grouped by their two prefix lengths; a group is one dictionary look-up, and groups
    whose first rule comes after a match already found are skipped.
    """

    __slots__ = ("_groups", "rules")

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        groups: dict[tuple[int, int, int], dict[tuple[int, int], int]] = {}
        for index, rule in enumerate(self.rules):
            (client, client_length), (destination, length) = rule.clients, rule.destinations
            key = client >> (128 - client_length), destination >> (rule.bits - length)
            groups.setdefault((rule.bits, client_length, length), {}).setdefault(key, index)
        # Dictionaries keep their order, so each group's first value is its lowest index, and the
        # groups themselves come in the order of their first rule.
        self._groups = {
            bits: tuple(
                (128 - client_length, bits - length, next(iter(group.values())), group)
                for (of, client_length, length), group in groups.items()
                if of == bits
            )
            for bits in (32, 128)
        }

    @classmethod
    def parse(cls, text: str, file: str | None = None) -> Access:
        """Parse the text of a faithd.conf.

        Raises ConfigError naming *file* and line, for all lines that are wrong.
        """
        rules, errors = [], []
        for number, line in enumerate(text.split("\n"), 1):
            words = line.partition("#")[0].split()
            if words:
                try:
                    rules.append(_rule(words, number))
                except ConfigError as error:
                    errors.append(ConfigError(_explained(error.message, line), file, number))
        raise_all(errors)
        return cls(rules)

    def decide(self, client: int, destination: int, bits: int = 32) -> Rule | None:
        """Return the first rule that matches a 128-bit *client* and a *destination* of so many
        *bits*, or None."""
        if not self.rules:
            return PERMIT_ALL
        best = len(self.rules)
        for client_shift, shift, first, group in self._groups[bits]:
            if first > best:
                break
            best = min(best, group.get((client >> client_shift, destination >> shift), best))
        return self.rules[best] if best < len(self.rules) else None

    def shadowed(self) -> Iterator[tuple[Rule, Rule]]:
        """Yield each rule that decides nothing, and the earlier one that matches all that it would.

        A rule that several earlier ones together leave nothing is not found.
        """
        for index, rule in enumerate(self.rules):
            (client, client_length), (destination, length) = rule.clients, rule.destinations
            first = index
            for client_shift, shift, _, group in self._groups[rule.bits]:
                if client_shift >= 128 - client_length and shift >= rule.bits - length:
                    key = client >> client_shift, destination >> shift
                    first = min(first, group.get(key, first))
            if first < index:
                yield rule, self.rules[first]


def _explained(message: str, line: str) -> str:
    from faith.translation.typography import explain  # rare, and inetd mode has no time

    return explain(message, line)


def _rule(words: list[str], line: int) -> Rule:
    if len(words) not in (3, 4):
        raise ConfigError(f"a rule has three or four words: {_FORM}")
    keyword = words[1].lower()
    if keyword not in ("permit", "deny"):
        near = meant(keyword, ("permit", "deny"))
        raise ConfigError(f"{words[1]!r} is neither permit nor deny: {_FORM}{near}")
    if keyword == "deny" and len(words) == 4:
        raise ConfigError(f"a deny rule must not have the source address {words[3]}")
    clients, bits = _network(words[0])
    destinations, to_bits = _network(words[2])
    if bits == 32:
        clients = IPV4_MAPPED | clients[0], 96 + clients[1]
    if to_bits == 128:
        _check_ipv6(destinations, words)
    source = _source(words[3]) if len(words) == 4 else None
    return Rule(clients, keyword == "permit", destinations, source, line, to_bits)


def _check_ipv6(destinations: tuple[int, int], words: list[str]) -> None:
    start, length = destinations
    if length >= 96 and start >> 32 == IPV4_MAPPED >> 32:
        raise ConfigError(f"{words[2]} is IPv4: write {text4(start & 0xFFFFFFFF, length - 96)}")
    if len(words) == 4:
        raise ConfigError(
            f"a rule for the IPv6 destinations {words[2]} must not have the source {words[3]}"
        )


def _network(word: str) -> tuple[tuple[int, int], int]:
    """Return the network that *word* is, and the bits of its family."""
    import ipaddress  # not above: inetd mode without a rules file does not need it

    try:
        interface = ipaddress.ip_interface(word)
    except ValueError:
        raise ConfigError(f"{word!r} is not an address or network: {_FORM}") from None
    if interface.ip != interface.network.network_address:
        raise ConfigError(f"{word}: host bits are set; did you mean {interface.network}?")
    return (int(interface.ip), interface.network.prefixlen), interface.max_prefixlen


def _source(word: str) -> int:
    from ipaddress import IPv4Address

    try:
        return int(IPv4Address(word))
    except ValueError:
        raise ConfigError(
            f"{word!r} is not an IPv4 address to connect from (one address, no length)"
        ) from None
