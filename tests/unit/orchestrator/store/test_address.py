"""A store's URL is read to its last word: what nobody would read is refused, and no message repeats a password."""

import pytest

from orchestrator.contracts.errors import ConfigError
from orchestrator.embedded import broker_beside
from orchestrator.store.address import ServerUrl, Tls, cut_url, parse_server
from orchestrator.store.cluster import open_wire
from orchestrator.store.cluster_map import Node, parse_cluster
from orchestrator.store.sentinel import parse_sentinels
from orchestrator.store.wire import Wire

FILES = "ssl_ca_certs=/ca.pem&ssl_certfile=/me.crt&ssl_keyfile=/me.key"
SECURE = ["rediss://a/0", "rediss+sentinel://a/main", "rediss+cluster://a"]
PLAIN = {"redis://a/0": "rediss", "sentinel://a/main": "rediss+sentinel", "redis+cluster://a": "rediss+cluster"}


def tls_of(url: str) -> Tls | None:
    """Return what any URL of a store says of TLS."""
    if "cluster" in url:
        return parse_cluster(url).tls
    return parse_sentinels(url).tls if "sentinel" in url else parse_server(url).tls


@pytest.mark.parametrize("url", SECURE)
def test_every_scheme_with_tls_takes_the_same_files(url: str) -> None:
    """Whoever moves from a server to Sentinels or to a cluster changes nothing else."""
    assert tls_of(url) == Tls()
    assert tls_of(f"{url}?{FILES}") == Tls("/ca.pem", "/me.crt", "/me.key")
    assert tls_of(f"{url}?ssl_cert_reqs=required&ssl_check_hostname=True") == Tls()


@pytest.mark.parametrize("url", SECURE)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("ssl_cert_reqs=none", "would not be checked, and it always is"),
        ("ssl_cert_reqs=CERT_OPTIONAL", "would not be checked, and it always is"),
        ("ssl_check_hostname=false", "would not be checked, and it always is"),
        ("ssl_ca_cert=/ca.pem", "did you mean 'ssl_ca_certs'"),
        ("ssl_ca_path=/certs", "read by nobody"),
        ("ssl_ca_certs=", "names no file"),
        ("ssl_keyfile=/me.key", "name that by ssl_certfile, too"),
        ("ssl_ca_certs=/a&ssl_ca_certs=/b", "stands there twice"),
    ],
)
def test_nothing_ends_the_check_of_certificates(url: str, options: str, message: str) -> None:
    """Neither by a word that is understood, nor by one that is not."""
    with pytest.raises(ConfigError, match=message):
        tls_of(f"{url}?{options}")


@pytest.mark.parametrize(("url", "secure"), PLAIN.items())
def test_options_of_tls_without_tls_are_refused(url: str, secure: str) -> None:
    """Whoever names an authority believes that somebody checks it."""
    with pytest.raises(ConfigError, match=f"no TLS; write {secure.replace('+', '.')}://"):
        tls_of(f"{url}?ssl_ca_certs=/ca.pem")


def test_files_of_tls_go_to_every_server_of_a_cluster() -> None:
    """Also to those that it names itself; their names may hold any character."""
    found = parse_cluster("rediss+cluster://:pw@a?ssl_ca_certs=/my%20ca%26.pem")

    assert parse_server(found.of_node(Node("b", 2))) == ServerUrl(
        host="b", port=2, password="pw", tls=Tls("/my ca&.pem")
    )


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("redis://", ServerUrl()),
        ("REDIS://a", ServerUrl("a")),
        ("redis://a:7/3", ServerUrl("a", 7, db=3)),
        ("redis://a/?db=3", ServerUrl("a", db=3)),
        ("redis://[::1]:7/", ServerUrl("::1", 7)),
        ("redis://me@a", ServerUrl("a", username="me")),
        ("redis://me:p%2F%40%23%3F@a", ServerUrl("a", username="me", password="p/@#?")),
        ("redis://:p@ss@a", ServerUrl("a", password="p@ss")),
        ("unix:///run/s%20s.sock?db=1&password=pw", ServerUrl("", 0, "/run/s s.sock", 1, password="pw")),
        ("unix://me:pw@/s.sock", ServerUrl("", 0, "/s.sock", username="me", password="pw")),
    ],
)
def test_a_url_of_one_server_is_read(url: str, found: ServerUrl) -> None:
    """As redis-py reads it, where that means anything."""
    assert parse_server(url) == found


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://a:0", "a port is no number from 1 to 65535"),
        ("redis://a:70000", "a port is no number"),
        ("redis://a/main", "a database is one number; write redis://host:port/0"),
        ("redis://a/1?db=2", "a database is one number"),
        ("redis://a/0?socket_timeout=5", "'socket_timeout' is read by nobody"),
        ("redis://a/0?passwort=x", "did you mean 'password'"),
        ("unix://run/s.sock", "names no path from the root"),
        ("unix:///", "names no path"),
        ("unix:///s?ssl_ca_certs=/a", "no TLS; leave them out"),
        ("sentinels://a/main", r"did you mean 'rediss\+sentinel://'"),
        ("rediss-sentinel://a/main", r"did you mean 'rediss\+sentinel://'"),
        ("valkeys://a", "did you mean 'rediss://'"),
        ("http://a", "no such scheme; write one of redis://"),
        ("nothing", "no such scheme"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str, message: str) -> None:
    """With the form that is right, before anything is connected."""
    with pytest.raises(ConfigError, match=message):
        Wire(url)


@pytest.mark.parametrize("scheme", ["redis", "sentinel", "rediss+sentinel", "redis+cluster"])
@pytest.mark.parametrize("password", ["pa/55word", "pa?55word", "pa?55word&a", "pa#55word", "pa/55w@rd", "pa:55/word"])
def test_no_message_repeats_a_password(scheme: str, password: str) -> None:
    """One that is not written as a URL wants it ends the host early, and would stand in the error."""
    with pytest.raises(ConfigError) as refused:
        open_wire(f"{scheme}://:{password}@host:1/main?db=0&nothing=1")

    assert "55" not in str(refused.value)


def test_an_unknown_option_without_any_known_one_is_refused_too() -> None:
    """A plain cluster takes none."""
    with pytest.raises(ConfigError, match="read by nobody; leave it out; write"):
        cut_url("redis+cluster://a?x=1", options=(), usage="write redis+cluster://host:port")


@pytest.mark.parametrize("url", ["sentinels://a/main", "rediss-cluster://a:1"])
def test_a_mistyped_store_is_told_before_its_broker_is_guessed(url: str) -> None:
    """Nobody should set up a broker for a store that is refused then."""
    with pytest.raises(ConfigError, match=r"no such scheme; did you mean 'rediss\+(sentinel|cluster)://'"):
        broker_beside(url)
