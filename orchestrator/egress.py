"""Where requests to others may go: not into our own networks, whoever wrote the URL.

A name is resolved once, every address that it has must be public, and the request goes to that very
address: a name that answers differently the second time leads nowhere. Redirects are not followed by those who use this.
"""

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from orchestrator.contracts.errors import InputError


class DestinationRefused(InputError):
    """The URL leads to where we do not send anything."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes: the URL with the address in it, the name for `Host` and for TLS."""

    url: str
    host_header: str
    server_name: str


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Say whether an address lies outside of every private, local and special network.

    >>> [is_public(ip_address(text)) for text in ("93.184.216.34", "127.0.0.1", "10.1.2.3", "169.254.169.254", "::1")]
    [True, False, False, False, False]
    >>> [is_public(ip_address(text)) for text in ("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "224.0.0.1", "0.0.0.0")]
    [False, False, False, False, False]
    """
    if isinstance(address, IPv6Address):
        # An IPv4 address inside of an IPv6 one is reached as itself.
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address.packed[:12] == bytes.fromhex("0064ff9b0000000000000000"):
            inner = IPv4Address(address.packed[12:])
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified


async def resolve(url: str, *, allow_private: bool) -> Destination:
    """Return where a URL leads; raise DestinationRefused, or OSError where the name cannot be resolved.

    An error names the host alone: what follows it may be a secret of the receiver.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise DestinationRefused(f"URL: {error}; mend it") from error
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
        raise DestinationRefused("URL: not http(s)://host/path without a user; mend it")
    number = port or (443 if parts.scheme == "https" else 80)
    loop = asyncio.get_running_loop()
    try:
        # As resolvers, headers and certificates have it, whatever alphabet it is written in.
        host = host if host.isascii() else host.encode("idna").decode("ascii")
        found = await loop.getaddrinfo(host, number, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # of the codec that turns it into what a resolver understands
        raise DestinationRefused(f"URL of {host[:100]!r}: not the name of a host; mend it") from error
    addresses = [ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    hidden = [address for address in addresses if not is_public(address)]
    if not addresses or (hidden and not allow_private):
        where = f" ({hidden[0]})" if hidden else ""
        raise DestinationRefused(
            f"URL of {host}: it lies in a private network{where}; set webhooks.allow_private if that is meant"
        )
    address = addresses[0]
    literal = f"[{address}]" if address.version == 6 else str(address)
    name = f"[{host}]" if ":" in host else host
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(
        url=f"{parts.scheme}://{literal}:{number}{path}",
        host_header=name if port is None else f"{name}:{port}",
        server_name=host,
    )
