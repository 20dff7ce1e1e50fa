"""What Celery is told of a broker: TLS that checks, for servers and for Sentinels, and nothing that it would misread."""

import ssl

import pytest
from kombu.utils.url import parse_url

from orchestrator.contracts.errors import ConfigError
from orchestrator.embedded import broker_beside
from orchestrator.settings import Settings, find_secrets, mask_url
from orchestrator.store.fitness import check_broker_url
from workers.broker_url import plan_broker
from workers.celery_app import make_celery

CHECKED = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
FILES = "ssl_ca_certs=%2Fca.pem&ssl_certfile=%2Fme.crt"


def test_a_broker_over_tls_is_checked() -> None:
    """Celery takes the bare scheme to mean that no certificate is looked at, and says so in a warning alone."""
    plan = plan_broker("rediss://me:p%40w@[::1]:7000/2", {})

    assert plan.use_ssl == CHECKED
    assert plan.url == "rediss://me:p%40w@[::1]:7000/2"
    assert make_celery(Settings(), "rediss://a:7000/2").conf.broker_use_ssl == CHECKED
    assert make_celery(Settings(), "redis://a:7000/2").conf.broker_use_ssl is False


def test_files_of_tls_leave_the_url() -> None:
    """Celery would take an option of the URL that it does not know for an argument of the connection."""
    plan = plan_broker(f"rediss://a/1?{FILES}", {})

    assert plan.use_ssl == {**CHECKED, "ssl_ca_certs": "/ca.pem", "ssl_certfile": "/me.crt"}
    assert "?" not in plan.url
    assert parse_url(plan.url)["virtual_host"] == "1"


def test_sentinels_get_the_servers_tls_and_a_user_of_their_own() -> None:
    """What is said of them alone takes the place of what is said of all connections, so times are said again."""
    plan = plan_broker(
        f"rediss+sentinel://:pw@a,[::1]:2/main?db=1&{FILES}&sentinel_username=watcher&sentinel_password=own",
        {"socket_timeout": 10, "priority_steps": [0]},
    )

    assert plan.url == "sentinel://:pw@a:26379/1;sentinel://:pw@[::1]:2/1"
    assert plan.use_ssl == {**CHECKED, "ssl_ca_certs": "/ca.pem", "ssl_certfile": "/me.crt"}
    assert plan.transport_options["master_name"] == "main"
    assert plan.transport_options["sentinel_kwargs"] == {
        "socket_timeout": 10,
        "username": "watcher",
        "password": "own",
        "ssl": True,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_ca_certs": "/ca.pem",
        "ssl_certfile": "/me.crt",
    }


def test_sentinels_without_anything_of_their_own_are_told_nothing() -> None:
    """The transport gives them the times of all connections by itself."""
    assert "sentinel_kwargs" not in plan_broker("redis+sentinel://a/main", {"socket_timeout": 10}).transport_options


@pytest.mark.parametrize(
    "url",
    ["rediss://a/0?ssl_cert_reqs=none", "rediss+sentinel://a/main?ssl_check_hostname=false", "redis://a/0?timeout=1"],
)
def test_a_broker_that_would_not_be_checked_is_refused(url: str) -> None:
    """As the store is, in the same words."""
    with pytest.raises(ConfigError, match=r"broker URL redis"):
        check_broker_url(url)


def test_files_of_a_broker_that_are_not_there_are_refused() -> None:
    """Celery would try for ever."""
    with pytest.raises(ConfigError, match=r"broker URL rediss://…: ssl_ca_certs /nowhere/ca.pem: No such file"):
        make_celery(Settings(), "rediss://a/0?ssl_ca_certs=/nowhere/ca.pem")


@pytest.mark.parametrize(
    ("store", "broker"),
    [
        ("rediss://:pw@a/2?ssl_ca_certs=/ca.pem", "rediss://:pw@a/3?ssl_ca_certs=%2Fca.pem"),
        ("rediss+sentinel://a,[::1]:2/main?ssl_ca_certs=/c", "rediss+sentinel://a,[::1]:2/main?ssl_ca_certs=%2Fc&db=1"),
        ("redis+sentinel://a/main?db=4", "redis+sentinel://a/main?db=5"),
    ],
)
def test_the_broker_beside_a_store_speaks_the_same_tls(store: str, broker: str) -> None:
    """It is the same server; only the database is another one."""
    assert broker_beside(store) == broker
    assert plan_broker(broker, {}).is_redis


def test_a_sentinels_password_is_masked_and_found() -> None:
    """It stands in the query, under a longer name than the others."""
    url = "rediss+sentinel://:pw1@a,b/main?sentinel_username=me&sentinel_password=p%40w2&db=0"

    assert mask_url(url) == "rediss+sentinel://:***@a,b/main?sentinel_username=me&sentinel_password=***&db=0"
    secrets = find_secrets(Settings.model_validate({"store": {"url": url}}))
    assert {"pw1", "p%40w2", "p@w2"} <= set(secrets)
