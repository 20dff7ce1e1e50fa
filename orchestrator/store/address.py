"""A URL of the store, cut into what it says. Nothing in it is ignored: what nobody would read is refused.

    redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]     a server                rediss://...           over TLS
    unix://[[USER]:PASSWORD@]/PATH[?db=N]          a server on this machine
    sentinel://...                                 sentinel.py             rediss+sentinel://...  over TLS
    redis+cluster://...                            cluster_map.py          rediss+cluster://...   over TLS

TLS has the same options everywhere, by redis-py's names: `ssl_ca_certs` is a file of the authorities that are trusted in
place of the system's, `ssl_certfile` and `ssl_keyfile` are the client's own certificate. Certificates and host names are
always checked, and an option that would end that is refused. No message repeats a URL: it may hold a password. Pure: who
opens the files is tls.py.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from orchestrator.contracts.errors import ConfigError, suggest

#: Every scheme of a store, and which one means the same with TLS; a socket of this machine has none.
SCHEMES: Final[Mapping[str, str]] = {
    "redis": "rediss",
    "rediss": "rediss",
    "unix": "",
    "sentinel": "rediss+sentinel",
    "redis+sentinel": "rediss+sentinel",
    "rediss+sentinel": "rediss+sentinel",
    "redis+cluster": "rediss+cluster",
    "rediss+cluster": "rediss+cluster",
}
_SENTINELS: Final = frozenset({"sentinel", "redis+sentinel", "rediss+sentinel"})
TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

_PORT: Final = 6379
#: What other clients call them.
_MEANT: Final[Mapping[str, str]] = {
    "sentinels": "rediss+sentinel",
    "redis-sentinel": "sentinel",
    "rediss-sentinel": "rediss+sentinel",
    "redis-cluster": "redis+cluster",
    "rediss-cluster": "rediss+cluster",
    "redis+socket": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
}
#: Options that say what is so anyway are taken, with these values alone.
_ALWAYS: Final[Mapping[str, Collection[str]]] = {
    "ssl_cert_reqs": ("required", "cert_required"),
    "ssl_check_hostname": ("true", "yes", "1"),
}
_SERVER_OPTIONS: Final = ("db", "username", "password")


@dataclass(frozen=True, slots=True)
class Tls:
    """What TLS needs beyond the address: names of PEM files, "" where there is none."""

    ca_certs: str = ""
    certfile: str = ""
    keyfile: str = ""

    @property
    def options(self) -> dict[str, str]:
        """Return them by the names that they have in a URL.

        >>> Tls(ca_certs="/etc/ca.pem").options
        {'ssl_ca_certs': '/etc/ca.pem'}
        """
        named = zip(TLS_OPTIONS, (self.ca_certs, self.certfile, self.keyfile), strict=True)
        return {name: value for name, value in named if value}


class Parts(NamedTuple):
    """A URL's parts; user, password and path are decoded, `places` is what stands between them."""

    where: str
    scheme: str
    username: str
    password: str
    places: str
    path: str
    query: dict[str, str]
    tls: Tls | None


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """A URL of one server, read; `socket` is a path, and then there is no host."""

    host: str = "localhost"
    port: int = _PORT
    socket: str = ""
    db: int = 0
    username: str = ""
    password: str = ""
    tls: Tls | None = None


def scheme_of(url: str) -> str:
    """Return a URL's scheme, in small letters.

    >>> scheme_of("Redis://a"), scheme_of("nothing")
    ('redis', '')
    """
    scheme, colon, _ = url.partition("://")
    return scheme.lower() if colon else ""


def is_sentinel(url: str) -> bool:
    """Say whether a URL names Sentinels.

    >>> is_sentinel("rediss+sentinel://a/main"), is_sentinel("redis://a")
    (True, False)
    """
    return scheme_of(url) in _SENTINELS


def cut_url(url: str, *, options: Collection[str], usage: str, what: str = "store URL") -> Parts:
    """Return a URL's parts; raise ConfigError for an option that is not among these, and for what is no URL of ours.

    >>> cut_url("rediss://me:p%40w@a:1/0?ssl_ca_certs=/ca.pem", options=(), usage="").tls
    Tls(ca_certs='/ca.pem', certfile='', keyfile='')
    """
    scheme, rest = scheme_of(url), url.partition("://")[2]
    where = f"{what} {scheme or '?'}://…"
    if scheme not in SCHEMES:
        meant = _MEANT.get(scheme)
        hint = (
            f"did you mean {meant + '://'!r}?" if meant else f"write one of {', '.join(f'{one}://' for one in SCHEMES)}"
        )
        raise ConfigError(f"{where}: no such scheme; {hint}")
    if "#" in rest:
        raise ConfigError(f"{where}: a '#' would end it; write %23 for one in a password or a name")
    rest, _, asked = rest.partition("?")
    if "@" in asked:  # what stands before it may be the end of a password
        raise ConfigError(f"{where}: an '@' behind the '?'; write %3F for a ? and %40 for an @ in a password")
    places, slash, path = rest.partition("/")
    secret, _, places = places.rpartition("@")
    user, _, password = secret.partition(":")
    pairs = parse_qsl(asked, keep_blank_values=True)
    query = dict(pairs)
    if len(query) < len(pairs):
        raise ConfigError(f"{where}: an option stands there twice; leave one of them")
    tls = take_tls(where, query, scheme=scheme, secure=SCHEMES[scheme])
    for name in query:
        if name not in options:
            known = {*options, *(TLS_OPTIONS if tls is not None else ())}
            hint = suggest(name, known) if known else "leave it out"
            raise ConfigError(f"{where}: the option {name!r} is read by nobody; {hint}; {usage}")
    return Parts(where, scheme, unquote(user), unquote(password), places, unquote(slash + path), query, tls)


def take_tls(where: str, query: dict[str, str], *, scheme: str, secure: str) -> Tls | None:
    """Take what concerns TLS out of a query, None where the scheme is not the one that means TLS; raise ConfigError."""
    is_secure = scheme == secure
    for name, values in _ALWAYS.items():
        if is_secure and name in query and query.pop(name).lower() not in values:
            raise ConfigError(
                f"{where}: with this {name} a certificate would not be checked, and it always is; leave it out, "
                "and name the authority by ssl_ca_certs=FILE"
            )
    said = {name: query.pop(name) for name in TLS_OPTIONS if name in query}
    if not is_secure:
        if said or any(name in query for name in _ALWAYS):
            raise ConfigError(
                f"{where}: options of TLS, and no TLS; {f'write {secure}://, or ' if secure else ''}leave them out"
            )
        return None
    if empty := [name for name, value in said.items() if not value]:
        raise ConfigError(f"{where}: {empty[0]} names no file; name one, or leave it out")
    if "ssl_keyfile" in said and "ssl_certfile" not in said:
        raise ConfigError(f"{where}: ssl_keyfile is the key of a certificate; name that by ssl_certfile, too")
    return Tls(said.get("ssl_ca_certs", ""), said.get("ssl_certfile", ""), said.get("ssl_keyfile", ""))


def read_place(place: str, default: int) -> tuple[str, int]:
    """Read `HOST[:PORT]`; raise ValueError, whose words do not repeat it.

    >>> read_place("a:1", 9), read_place("[::1]", 9), read_place("::1:7000", 9)
    (('a', 1), ('::1', 9), ('::1', 7000))
    """
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):  # no port, or an IPv6 address without one
        host, port = place, str(default)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        # Where a password's own / or ? ended the host, this may be its beginning.
        raise ValueError("a port is no number from 1 to 65535; write %2F, %3F and %40 for /, ? and @ in a password")
    host = unquote(host.strip("[]"))
    if not host:
        raise ValueError("a host is missing")
    return host, int(port)


def read_database(parts: Parts, usage: str, *, in_path: bool) -> int:
    """Return which database a URL names, 0 where none; raise ConfigError."""
    named = {text for text in (parts.path.strip("/") if in_path else "", parts.query.get("db", "")) if text}
    if len(named) > 1 or not all(text.isascii() and text.isdigit() for text in named):
        raise ConfigError(f"{parts.where}: a database is one number; {usage}")
    return int(named.pop()) if named else 0


def parse_server(url: str, *, what: str = "store URL") -> ServerUrl:
    """Read a URL of one server; raise ConfigError.

    >>> parse_server("redis://:pw@a:7000/2")
    ServerUrl(host='a', port=7000, socket='', db=2, username='', password='pw', tls=None)
    >>> parse_server("unix:///run/s.sock?db=1").socket
    '/run/s.sock'
    """
    is_socket = scheme_of(url) == "unix"
    usage = "write unix:///path?db=0" if is_socket else f"write {scheme_of(url)}://host:port/0"
    parts = cut_url(url, options=_SERVER_OPTIONS, usage=usage, what=what)
    db = read_database(parts, usage, in_path=not is_socket)
    user, password = (
        parts.username or parts.query.get("username", ""),
        parts.password or parts.query.get("password", ""),
    )
    if is_socket:
        if parts.places or len(parts.path) < 2:
            raise ConfigError(f"{parts.where}: names no path from the root; {usage}")
        return ServerUrl(host="", port=0, socket=parts.path, db=db, username=user, password=password)
    try:
        host, port = read_place(parts.places, _PORT) if parts.places else ("localhost", _PORT)
    except ValueError as error:
        raise ConfigError(f"{parts.where}: {error}; {usage}") from error
    return ServerUrl(host, port, db=db, username=user, password=password, tls=parts.tls)


def write_secret(username: str, password: str) -> str:
    """Return user and password as they stand in a URL, with the @ behind them; "" where there is none.

    >>> write_secret("", "p@w"), write_secret("me", "")
    (':p%40w@', 'me@')
    """
    if not username and not password:
        return ""
    return f"{quote(username, safe='')}{':' + quote(password, safe='') if password else ''}@"


def write_host(host: str) -> str:
    """Return a host as it stands in a URL.

    >>> write_host("a"), write_host("::1")
    ('a', '[::1]')
    """
    return f"[{host}]" if ":" in host else host
