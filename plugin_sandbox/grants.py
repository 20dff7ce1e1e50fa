"""Which hosts a plugin may reach, and at which addresses. Pure: the proxy (proxy.py) asks, this answers.

A manifest names hosts, an operator grants hosts; what counts is what both name, letter by letter: `api.example.org` (port 443) or
`api.example.org:8080`. A name is judged a second time by the addresses it has: one that leads to a private, loopback, link-local or
otherwise special address is refused, whoever answers for the name, unless the operator names it in `private_hosts`. An address
that is granted as such, `10.0.0.7:8080`, needs no second word.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

HTTPS_PORT: Final = 443
MOST_HEAD_BYTES: Final = 4096
#: Where an operator's or a manifest's host may come from: lower case, no wildcard, no user, no path.
HOST_PATTERN: Final = r"^(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?)(?::[1-9][0-9]{0,4})?$"
#: Where hosts keep their list of certificate authorities; bound into a box that leads out, and read there.
AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
_CONNECT: Final = re.compile(rb"CONNECT (\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253}):([1-9][0-9]{0,4}) HTTP/1\.[01]")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Place = tuple[str, int]  # host, port


class Denied(Exception):
    """Why a host is not reached; told to the plugin, and journaled."""


def parse_place(text: str) -> Place:
    """Return host and port of a grant.

    >>> parse_place("example.org"), parse_place("[::1]:80")
    (('example.org', 443), ('[::1]', 80))
    >>> parse_place("example.org:\u00b2")  # no number
    ('example.org:\xb2', 443)
    """
    head, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and not head.endswith(":"):
        return head, int(port)
    return text, HTTPS_PORT


@dataclass(frozen=True)
class Grants:
    """What one call may reach."""

    places: frozenset[Place]
    private: frozenset[Place]  # of these, those that may lie at any address

    @classmethod
    def make(cls, asked: Iterable[str], granted: Iterable[str], private: Iterable[str]) -> "Grants":
        """Meet what a manifest asks with what an operator grants.

        >>> sorted(Grants.make(["a.org", "b.org"], ["b.org", "c.org"], []).places)
        [('b.org', 443)]
        """
        places = frozenset(map(parse_place, asked)) & frozenset(map(parse_place, granted))
        free = frozenset(map(parse_place, private)) | {place for place in places if _literal(place[0]) is not None}
        return cls(places, places & free)

    def check(self, place: Place) -> None:
        """Raise Denied where a host or a port is not granted."""
        if place not in self.places:
            raise Denied(f"{place[0]}:{place[1]}: not granted")

    def choose(self, place: Place, addresses: Iterable[str]) -> tuple[str, ...]:
        """Return the addresses to try; raise Denied where any of them is not the world's: one bad answer spoils the name."""
        found = tuple(dict.fromkeys(addresses))
        if not found:
            raise Denied(f"{place[0]}: has no address")
        if place not in self.private:
            for address in found:
                if not is_public(ipaddress.ip_address(address.partition("%")[0])):
                    raise Denied(f"{place[0]}: leads to {address}, which is no public address")
        return found


def is_public(address: Address) -> bool:
    """Say whether an address, and any that is wrapped in it, is of the world outside.

    What NAT64 makes of an address (64:ff9b::/96) lies in a reserved range and is none, whatever it wraps: where a network has
    nothing else to offer, an operator names the host in `private_hosts`.

    >>> [is_public(ipaddress.ip_address(one)) for one in ("1.1.1.1", "127.0.0.1", "::ffff:10.0.0.1", "169.254.169.254")]
    [True, False, False, False]
    """
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
        return all(one is None or is_public(one) for one in inner)
    return True


def parse_head(head: bytes) -> Place:
    """Return where a request wants to be connected; raise Denied for any other request. The head ends with an empty line.

    >>> parse_head(b"CONNECT example.org:443 HTTP/1.1\\r\\nHost: example.org\\r\\n\\r\\n")
    ('example.org', 443)
    """
    first, *_ = head.split(b"\r\n", 1)
    found = _CONNECT.fullmatch(first)
    if found is None:
        raise Denied("only CONNECT host:port HTTP/1.1 is understood")
    return found[1].decode(), int(found[2])


def _literal(host: str) -> Address | None:
    """The address that a host is written as, None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
