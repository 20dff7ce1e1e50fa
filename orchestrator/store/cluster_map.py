"""Redis Cluster, as far as it is words: its URL, a key's slot, which server has which slots, where a command is sent on to.

    redis+cluster://[[USER]:PASSWORD@]HOST:PORT[,HOST:PORT ...][/0]        rediss+cluster://... with TLS

The servers that are named are asked where the others are: any of the cluster will do, and several, so that one may be away.
User, password and files of TLS (address.py) are those of every server. A cluster has database 0 alone. Pure: who connects is cluster.py.
"""

from binascii import crc_hqx
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from orchestrator.contracts.errors import ConfigError, StoreUnreachable
from orchestrator.store.address import Tls, cut_url, read_place, scheme_of, write_host, write_secret

SLOTS: Final = 16_384
_SCHEMES: Final = frozenset({"redis+cluster", "rediss+cluster"})
_PORT: Final = 6379

#: Commands that name no key: what they ask or do concerns a server, not a slot.
_KEYLESS: Final = frozenset(
    {"ACL", "CLUSTER", "CONFIG", "DBSIZE", "FUNCTION", "INFO", "PING", "PUBLISH", "TIME", "WAIT", "WAITAOF"}
)
#: Where the first key stands, if it is not the word behind the command.
_FIRST_KEY: Final[Mapping[str, int]] = {"EVAL": 3, "EVALSHA": 3, "MEMORY": 2, "OBJECT": 2, "XGROUP": 2, "XINFO": 2}


class Node(NamedTuple):
    """Where a server of a cluster is."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as the cluster's own errors write it."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ClusterUrl:
    """A URL of a cluster, read."""

    nodes: tuple[Node, ...]
    username: str = ""
    password: str = ""
    tls: Tls | None = None

    def of_node(self, node: Node) -> str:
        """Return the URL of one server.

        >>> parse_cluster("redis+cluster://:p%40w@a:1,b:2").of_node(Node("c", 3))
        'redis://:p%40w@c:3/0'
        """
        place = f"{write_secret(self.username, self.password)}{write_host(node.host)}:{node.port}/0"
        if self.tls is None:
            return f"redis://{place}"
        return f"rediss://{place}{'?' if self.tls.options else ''}{urlencode(self.tls.options)}"


def is_cluster(url: str) -> bool:
    """Say whether a URL names a cluster.

    >>> is_cluster("redis+cluster://a:6379"), is_cluster("redis://a:6379/0")
    (True, False)
    """
    return scheme_of(url) in _SCHEMES


def parse_cluster(url: str) -> ClusterUrl:
    """Read a URL; raise ConfigError.

    >>> [str(node) for node in parse_cluster("redis+cluster://a:7000,b").nodes]
    ['a:7000', 'b:6379']
    """
    usage = f"write {scheme_of(url)}://host:port,host:port"
    parts = cut_url(url, options=(), usage=usage)
    if parts.path.strip("/") not in {"", "0"}:
        raise ConfigError(f"{parts.where}: a cluster has database 0 alone; {usage}")
    try:
        nodes = tuple(read_node(place) for place in parts.places.split(","))
    except ValueError as error:
        raise ConfigError(f"{parts.where}: {error}; {usage}") from error
    return ClusterUrl(nodes, parts.username, parts.password, parts.tls)


def read_node(place: str) -> Node:
    """Read `HOST[:PORT]`; raise ValueError.

    >>> read_node("a:1"), read_node("[::1]"), read_node("::1:7000")
    (Node(host='a', port=1), Node(host='::1', port=6379), Node(host='::1', port=7000))
    """
    return Node(*read_place(place, _PORT))


def slot_of(key: str | bytes) -> int:
    """Return a key's slot: CRC16 (XMODEM) of its hash tag, where it has one, or of all of it.

    >>> slot_of("foo"), slot_of("baton:{foo}:due"), slot_of("{}foo") == slot_of("foo")
    (12182, 12182, False)
    """
    text = key.encode(errors="surrogateescape") if isinstance(key, str) else key
    opened = text.find(b"{")
    if opened >= 0:
        closed = text.find(b"}", opened + 1)
        if closed > opened + 1:
            text = text[opened + 1 : closed]
    return crc_hqx(text, 0) % SLOTS


def key_of(args: Sequence[object]) -> str | bytes | None:
    """Return a command's first key, None where it names none.

    >>> key_of(("GET", "a")), key_of(("EVALSHA", "digest", 2, "b", "c", "argument")), key_of(("TIME",))
    ('a', 'b', None)
    """
    name = str(args[0]).upper()
    place = _FIRST_KEY.get(name, 1)
    if name in _KEYLESS or len(args) <= place:
        return None
    key = args[place]
    return key if isinstance(key, bytes) else str(key)


@dataclass(frozen=True, slots=True)
class View:
    """The cluster as one of its servers sees it: slots from first to last, their master, and its replicas."""

    epoch: int
    is_ok: bool
    ranges: tuple[tuple[int, int, Node, tuple[Node, ...]], ...]

    @property
    def covered(self) -> int:
        """How many slots have a master."""
        return sum(last - first + 1 for first, last, _, _ in self.ranges)

    @property
    def rank(self) -> tuple[bool, int, int]:
        """The greatest is believed: a server that was cut off sees a cluster that is down, or an older one."""
        return self.is_ok, self.epoch, self.covered


def read_view(info: str, slots: Sequence[Any], asked: Node) -> View:
    """Read what a server answered to CLUSTER INFO and CLUSTER SLOTS; a host that it leaves out is its own.

    >>> view = read_view("cluster_state:ok", [[0, 9, ["", 7000, "id"], ["b", 7001, "id"]]], Node("a", 6379))
    >>> view.covered, view.ranges[0][2]
    (10, Node(host='a', port=7000))
    """
    said = dict(line.strip().split(":", 1) for line in info.splitlines() if ":" in line)
    ranges = []
    for first, last, *servers in slots:
        master, *replicas = (Node(_read_host(host, asked), int(port)) for host, port, *_ in servers)
        ranges.append((int(first), int(last), master, tuple(replicas)))
    return View(int(said.get("cluster_current_epoch", "0")), said.get("cluster_state") == "ok", tuple(ranges))


def _read_host(host: object, asked: Node) -> str:
    # A server that does not know its own name says nothing, or "?": it is where it was asked.
    return asked.host if host in {None, "", "?"} else str(host)


def read_redirection(text: str, asked: Node) -> Node:
    """Return where MOVED or ASK send a command; raise StoreUnreachable for words that say nowhere.

    >>> read_redirection("MOVED 3999 127.0.0.1:6381", Node("a", 1))
    Node(host='127.0.0.1', port=6381)
    >>> read_redirection("ASK 3999 :6381", Node("a", 1))
    Node(host='a', port=6381)
    """
    words = text.split()
    host, _, port = words[2].rpartition(":") if len(words) == 3 else ("", "", "")
    if not port.isdecimal():
        raise StoreUnreachable(f"store: {asked} answered {text!r}, which names no server; see its log")
    return Node(_read_host(host.strip("[]"), asked), int(port))
