"""The broker's URL in Celery's words.

A Redis URL is read as the store's is (orchestrator/store/address.py), strictly, and is told to Celery anew: Celery takes
`rediss://` alone to mean that no certificate is checked, knows no TLS for Sentinels by URL, and would take options for the
connection that it does not have. Of `amqps://` it takes no name of a host to mean that none is checked: it is told the URL's,
where there is one host alone. Any other URL goes to it as it is. Pure.
"""

import ssl
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError
from orchestrator.store.address import Tls, is_sentinel, parse_server, scheme_of, take_tls, write_host, write_secret
from orchestrator.store.sentinel import Sentinels, parse_sentinels

UseSsl: TypeAlias = dict[str, str | bool | ssl.VerifyMode]

#: What a Redis broker's URL may begin with.
_REDIS = frozenset({"redis", "rediss", "redis+socket"})


class BrokerPlan(NamedTuple):
    """What Celery is told: `broker_url`, `broker_transport_options`, and `broker_use_ssl`, None without TLS."""

    url: str
    transport_options: JsonObject
    use_ssl: UseSsl | None
    is_redis: bool


def plan_broker(url: str, transport_options: JsonObject) -> BrokerPlan:
    """Return what Celery is told of a broker; raise ConfigError. The options are those that any Redis broker has.

    >>> plan_broker("rediss://:pw@a/1?ssl_ca_certs=/ca.pem", {}).url
    'rediss://:pw@a:6379/1'
    >>> plan_broker("amqp://a", {"socket_timeout": 1})
    BrokerPlan(url='amqp://a', transport_options={}, use_ssl=None, is_redis=False)
    """
    scheme = scheme_of(url)
    if is_sentinel(url):
        return _plan_sentinels(parse_sentinels(url, what="broker URL"), transport_options)
    if scheme == "amqps":
        return _plan_amqps(url)
    if scheme not in _REDIS:
        return BrokerPlan(url, {}, None, is_redis=False)
    if scheme == "redis+socket":
        return BrokerPlan(url, transport_options, None, is_redis=True)
    found = parse_server(url, what="broker URL")
    place = f"{write_secret(found.username, found.password)}{write_host(found.host)}:{found.port}/{found.db}"
    return BrokerPlan(f"{scheme}://{place}", transport_options, _plan_tls(found.tls), is_redis=True)


def _plan_sentinels(found: Sentinels, transport_options: JsonObject) -> BrokerPlan:
    """Return what Celery's own transport for Sentinels is told.

    >>> plan_broker("sentinel://:pw@a:26379,b/main?db=1", {})[:2]
    ('sentinel://:pw@a:26379/1;sentinel://:pw@b:26379/1', {'master_name': 'main'})
    """
    secret = write_secret(found.username, found.password)
    urls = [f"sentinel://{secret}{write_host(host)}:{port}/{found.db}" for host, port in found.hosts]
    options: JsonObject = {**transport_options, "master_name": found.name}
    own: JsonObject = {}
    if found.sentinel_password:
        own["password"] = found.sentinel_password
    if found.sentinel_username:
        own["username"] = found.sentinel_username
    if found.tls is not None:
        own |= {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, **found.tls.options}
    if own:
        # What is said of the Sentinels' connections alone takes the place of what is said of all: times go on to count.
        times: JsonObject = {name: value for name, value in transport_options.items() if name.startswith("socket_")}
        options["sentinel_kwargs"] = {**times, **own}
    return BrokerPlan(";".join(urls), options, _plan_tls(found.tls), is_redis=True)


def _plan_amqps(url: str) -> BrokerPlan:
    """Return what Celery is told of RabbitMQ over TLS: options of TLS leave the URL, and have other names there.

    >>> plan_broker("amqps://a/v?ssl_ca_certs=/ca.pem", {}).use_ssl["ca_certs"]
    '/ca.pem'
    """
    urls, said = [], set[Tls]()
    for one in url.split(";"):
        place, _, asked = one.partition("?")
        query = dict(parse_qsl(asked))
        tls = take_tls("broker URL amqps://…", query, scheme="amqps", secure="amqps")
        said.update({tls} if tls is not None and tls.options else set())
        urls.append(f"{place}{'?' if query else ''}{urlencode(query)}")
    if len(said) > 1:
        raise ConfigError("broker URL amqps://…: its options of TLS differ; Celery has one set of them for all hosts")
    use_ssl: UseSsl = {"cert_reqs": ssl.CERT_REQUIRED}
    use_ssl |= {name.removeprefix("ssl_"): value for tls in said for name, value in tls.options.items()}
    if len(urls) == 1 and (host := urlsplit(urls[0]).hostname):
        use_ssl["server_hostname"] = unquote(host)
    return BrokerPlan(";".join(urls), {}, use_ssl, is_redis=False)


def _plan_tls(tls: Tls | None) -> UseSsl | None:
    if tls is None:
        return None
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, **tls.options}
