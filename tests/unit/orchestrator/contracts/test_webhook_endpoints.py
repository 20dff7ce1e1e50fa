"""Receivers of webhooks as operators declare them: what is refused when they are read, not when they are told."""

from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.contracts.webhooks import Endpoint, WebhooksFile

GOOD: dict[str, Any] = {"name": "chat", "url": "https://hooks.example.com/baton", "secrets": ["0123456789abcdef"]}


def test_a_receiver_is_told_of_everything_unless_it_says_less() -> None:
    """A secret may be as short as this, and there may be two while one is changed."""
    endpoint = Endpoint.model_validate({**GOOD, "secrets": ["0123456789abcdef", "fedcba9876543210"]})

    assert endpoint.events == ("session.waiting", "session.ended", "session.dead")
    assert endpoint.apps == ()
    assert "0123456789abcdef" not in repr(endpoint)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/b",
        "hooks.example.com",
        "https://me:word@host/x",
        "http://me@host",
        "https://",
        "https:///x",
        "//host/x",
    ],
)
def test_a_url_names_a_host_and_nobodys_password(url: str) -> None:
    """A password in a URL would be shown wherever the URL is."""
    with pytest.raises(ValidationError, match="not a URL of a receiver"):
        Endpoint.model_validate({**GOOD, "url": url})


def test_a_url_may_have_an_at_in_its_path() -> None:
    """Only before the host does it part a user from it."""
    assert Endpoint.model_validate({**GOOD, "url": "http://host/@team"}).url == "http://host/@team"


@pytest.mark.parametrize("secrets", [["0123456789abcde"], ["0123456789abcdef", "short"]])
def test_a_short_secret_is_refused(secrets: list[str]) -> None:
    """Each of them could be guessed, the one that is being changed as well."""
    with pytest.raises(ValidationError, match="at least 16 characters"):
        Endpoint.model_validate({**GOOD, "secrets": secrets})


def test_two_receivers_of_one_name_are_refused_by_that_name() -> None:
    """Their deliveries, and who is switched off, are kept under it."""
    others = [{**GOOD, "name": "pager"}, GOOD]

    assert [one.name for one in WebhooksFile.model_validate({"webhooks": others}).webhooks] == ["pager", "chat"]
    with pytest.raises(ValidationError, match="chat: there is more than one of that name"):
        WebhooksFile.model_validate({"webhooks": [GOOD, *others]})
