"""Which requests lead where: judged before anything is connected."""

import re

import pytest
from pydantic import ValidationError

from plugin_sandbox.grants import HOST_PATTERN, Denied, Grants, parse_head, parse_place
from plugin_sandbox.model import Isolation


@pytest.mark.parametrize(
    "line",
    [
        b"GET http://a.org/ HTTP/1.1",
        b"CONNECT a.org HTTP/1.1",
        b"CONNECT a.org:0443 HTTP/1.1",
        b"CONNECT a.org:443 HTTP/2",
        b"CONNECT user@a.org:443 HTTP/1.1",
        b"CONNECT a.org:443@b.org:443 HTTP/1.1",
        b"CONNECT a.org:443  HTTP/1.1",
        b"CONNECT a.org\x00.b.org:443 HTTP/1.1",
        b"CONNECT A.org:443 HTTP/1.1",
        b"CONNECT a.org:443\nX: y HTTP/1.1",
        b"connect a.org:443 HTTP/1.1",
        b"",
    ],
)
def test_what_is_no_plain_request_is_denied(line: bytes) -> None:
    """Whatever a reader could take for something else."""
    with pytest.raises(Denied, match="only CONNECT"):
        parse_head(line + b"\r\nHost: a.org\r\n\r\n")


def test_only_what_both_name_is_granted() -> None:
    """A manifest's wish is no grant, nor is an operator's for a plugin that never asked."""
    grants = Grants.make(["a.org", "b.org:8080"], ["b.org:8080", "c.org"], [])

    grants.check(("b.org", 8080))

    for place in (("a.org", 443), ("c.org", 443), ("b.org", 443), ("b.org.", 8080)):
        with pytest.raises(Denied, match="not granted"):
            grants.check(place)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "2002:7f00:1::"),
        *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::101:101", "2001:db8::1"),
    ],
)
def test_a_name_that_leads_inside_is_denied(address: str) -> None:
    """Whoever answers for a name may answer with the worker's own services; one such answer is enough."""
    grants = Grants.make(["a.org"], ["a.org"], [])

    with pytest.raises(Denied, match="no public address"):
        grants.choose(("a.org", 443), ["1.1.1.1", address])

    assert Grants.make(["a.org"], ["a.org"], ["a.org"]).choose(("a.org", 443), [address]) == (address,)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "2002:101:101::"])
def test_a_name_that_leads_outside_is_reached_at_all_its_addresses(address: str) -> None:
    """In the order of the answer, each once."""
    grants = Grants.make(["a.org"], ["a.org"], [])

    assert grants.choose(("a.org", 443), ["8.8.8.8", address, "8.8.8.8"]) == ("8.8.8.8", address)


def test_a_name_without_an_address_is_denied() -> None:
    """And told as that, not as a connection that failed."""
    with pytest.raises(Denied, match=r"a\.org: has no address"):
        Grants.make(["a.org"], ["a.org"], []).choose(("a.org", 443), [])


def test_an_address_that_is_granted_as_such_needs_no_second_word() -> None:
    """Nobody can answer for it but itself."""
    grants = Grants.make(["10.0.0.7:80", "[::1]:80"], ["10.0.0.7:80", "[::1]:80"], [])

    assert grants.choose(("10.0.0.7", 80), ["10.0.0.7"]) == ("10.0.0.7",)
    assert grants.choose(("[::1]", 80), ["::1"]) == ("::1",)
    with pytest.raises(Denied):
        grants.check(("127.1", 80))


@pytest.mark.parametrize(
    "text", ["*.org", "A.org", "a.org/x", "a.org:0", "a.org:", "-a.org", "a b", "", "u@a.org", "a.org:99999999"]
)
def test_a_host_that_nobody_could_mean_is_no_grant(text: str) -> None:
    """A wildcard, a path or a typing error must not be taken for a name."""
    with pytest.raises(ValidationError):
        Isolation(hosts=(text,))


def test_places_have_their_ports() -> None:
    """A bare name is the encrypted one."""
    assert [parse_place(one) for one in ("a.org", "a.org:80", "[::1]", "[::1]:80")] == [
        ("a.org", 443),
        ("a.org", 80),
        ("[::1]", 443),
        ("[::1]", 80),
    ]
    assert re.match(HOST_PATTERN, "[::1]:80")
