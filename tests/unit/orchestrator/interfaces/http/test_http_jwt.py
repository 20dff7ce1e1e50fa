"""Callers of a login service: believed by its keys, for us, in time, with the roles that it says - or not at all."""

import asyncio
import hmac
import json
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from orchestrator.contracts.errors import ConfigError
from orchestrator.interfaces.http.app import build_app
from orchestrator.interfaces.http.jwt import JwtVerifier
from orchestrator.interfaces.http.server import check_binding
from tests.api_stage import ApiStage, api_settings, api_stage

KEY = RSAKey.generate_key(2048, parameters={"kid": "one"}, auto_kid=False)
OTHER = ECKey.generate_key("P-256", parameters={"kid": "two"}, auto_kid=False)
ISSUER, AUDIENCE = "https://login.example", "baton"


def claims(**more: Any) -> dict[str, Any]:
    """Return claims that are in order, but for these."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 60, "realm": {"roles": ["baton:approver"]}}
    return {name: value for name, value in {**good, **more}.items() if value is not None}


def write_keys(path: Path, *keys: Any) -> None:
    """Write a set of public keys."""
    path.write_text(json.dumps({"keys": [key.as_dict(private=False) for key in keys]}))


def settings(tmp_path: Path) -> Any:
    """Return settings that believe the issuer."""
    return api_settings(
        oidc_issuer=ISSUER,
        oidc_audience=AUDIENCE,
        oidc_keys=str(tmp_path / "jwks.json"),
        oidc_roles_claim="realm.roles",
    )


def ask(store_url: str, tmp_path: Path, *tokens: str) -> list[Any]:
    """Ask who one is with each token."""

    async def run() -> list[Any]:
        async with api_stage(store_url, settings(tmp_path)) as api:
            return [await who(api, token) for token in tokens]

    return asyncio.run(run())


async def who(api: ApiStage, token: str) -> Any:
    """Ask who one is."""
    return await api.call("GET", "/v1/me", None, headers={"Authorization": f"Bearer {token}"})


def sign(key: Any, algorithm: str, **more: Any) -> str:
    """Return a signed token."""
    return jwt.encode({"alg": algorithm, "kid": key.kid}, claims(**more), key, algorithms=[algorithm])


def encode(part: object) -> str:
    """Return a part of a token."""
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def sign_by_what_is_public() -> str:
    """Return a token with an HMAC whose secret is the public key: libraries refuse to make one, attackers do not."""
    head, body = (encode(part).encode() for part in ({"alg": "HS256", "kid": "one"}, claims()))
    mac = hmac.digest(KEY.as_pem(private=False), head + b"." + body, "sha256")
    return b".".join((head, body, urlsafe_b64encode(mac).rstrip(b"="))).decode()


def test_a_token_of_the_issuer_says_who_and_with_which_roles(store_url: str, tmp_path: Path) -> None:
    """The name is the actor; roles that are not ours are nothing."""
    write_keys(tmp_path / "jwks.json", KEY, OTHER)

    rsa, ec, none = ask(
        store_url,
        tmp_path,
        sign(KEY, "RS256"),
        sign(OTHER, "ES256", sub="bob"),
        sign(KEY, "RS256", realm={"roles": ["root"]}),
    )

    assert rsa.json() == {"name": "ada", "roles": ["approver", "viewer"], "way": "jwt"}
    assert ec.json()["name"] == "bob"
    assert none.status_code == 403


def test_a_token_that_cannot_be_believed_opens_nothing(store_url: str, tmp_path: Path) -> None:
    """Of another issuer, for others, over, not signed, signed by what is public, or by a key that nobody knows."""
    write_keys(tmp_path / "jwks.json", KEY)
    header, _, _ = sign(KEY, "RS256").split(".")
    wrong = [
        sign(KEY, "RS256", iss="https://evil.example"),
        sign(KEY, "RS256", aud="others"),
        sign(KEY, "RS256", aud=None),
        sign(KEY, "RS256", exp=int(time.time()) - 600),
        sign(KEY, "RS256", exp=None),
        sign(KEY, "RS256", sub=None),
        sign(KEY, "RS256", sub="a\nb"),
        sign(OTHER, "ES256"),
        sign_by_what_is_public(),
        f"eyJhbGciOiJub25lIn0.{sign(KEY, 'RS256').split('.')[1]}.",
        sign(KEY, "RS256")[:-6] + "AAAAAA",
        f"{header}.x.y",
        f"{encode({'alg': 'RS256', 'crit': 1})}.{encode({})}.AAAA",  # a library's own reader trips over it
        "..",
    ]

    answers = ask(store_url, tmp_path, *wrong)

    assert [one.status_code for one in answers] == [401] * len(wrong)


def test_a_key_that_is_changed_is_fetched_again(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login service that rotates its keys needs no restart of ours."""
    write_keys(tmp_path / "jwks.json", KEY)
    monkeypatch.setattr("orchestrator.interfaces.http.jwt.REFETCH_SECONDS", 0.0)

    async def run() -> list[int]:
        async with api_stage(store_url, settings(tmp_path)) as api:
            first = await who(api, sign(OTHER, "ES256"))
            write_keys(tmp_path / "jwks.json", OTHER)
            return [first.status_code, (await who(api, sign(OTHER, "ES256"))).status_code]

    assert asyncio.run(run()) == [401, 200]


def test_keys_that_cannot_be_had_open_nothing(store_url: str, tmp_path: Path) -> None:
    """Fail closed: no file, no JSON, no set of keys."""
    for text in (None, "{", "[]", '{"keys": 1}', "{}"):
        (tmp_path / "jwks.json").unlink(missing_ok=True)
        if text is not None:
            (tmp_path / "jwks.json").write_text(text)

        assert [one.status_code for one in ask(store_url, tmp_path, sign(KEY, "RS256"))] == [401]


def test_a_login_service_that_is_away_is_not_asked_for_every_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends tokens of keys that nobody knows would let us ask it one after the other."""
    monkeypatch.setattr("orchestrator.interfaces.http.jwt.FAILED_SECONDS", 1e9)
    verifier, asked = JwtVerifier(settings(tmp_path).api), 0

    async def fail(_: object) -> None:
        nonlocal asked
        asked += 1
        raise OSError("away")

    monkeypatch.setattr(JwtVerifier, "_read", fail)

    async def run() -> list[object]:
        return await asyncio.gather(*(verifier.verify(sign(KEY, "RS256")) for _ in range(20)))

    assert asyncio.run(run()) == [None] * 20
    assert asked == 1

    monkeypatch.setattr("orchestrator.interfaces.http.jwt.FAILED_SECONDS", 0.0)  # they have passed
    asyncio.run(run())
    assert asked == 21


def test_who_is_known_does_not_wait_while_keys_are_fetched_for_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's token with the name of another key makes us ask a login service that does not answer."""
    monkeypatch.setattr("orchestrator.interfaces.http.jwt.REFETCH_SECONDS", 0.0)
    write_keys(tmp_path / "jwks.json", KEY)
    verifier, read = JwtVerifier(settings(tmp_path).api), JwtVerifier._read

    async def run() -> list[str]:
        asked, answers = asyncio.Event(), asyncio.Event()

        async def hang(self: JwtVerifier) -> Any:
            asked.set()
            await answers.wait()
            return await read(self)

        known = [await verifier.verify(sign(KEY, "RS256"))]
        monkeypatch.setattr(JwtVerifier, "_read", hang)
        stranger = asyncio.create_task(verifier.verify(sign(OTHER, "ES256")))
        await asked.wait()
        async with asyncio.timeout(60):
            known.append(await verifier.verify(sign(KEY, "RS256")))
        answers.set()
        assert await stranger is None
        return [one.name for one in known if one is not None]

    assert asyncio.run(run()) == ["ada", "ada"]


@pytest.mark.parametrize(
    "api",
    [
        {"oidc_issuer": ISSUER},
        {"oidc_issuer": ISSUER, "oidc_audience": "x"},
        {"oidc_issuer": ISSUER, "oidc_audience": "x", "oidc_keys": "http://login.example/jwks"},
    ],
)
def test_half_of_a_login_service_is_refused(store_url: str, api: dict[str, str]) -> None:
    """Without an audience, tokens for others would open; without TLS, anybody could give the keys."""

    async def run() -> None:
        async with api_stage(store_url) as made:
            with pytest.raises(ConfigError, match="oidc"):
                build_app(made.on.client, api_settings(**api), env={}, endpoints=(), tokens=())

    asyncio.run(run())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "api.internal", ""])
def test_an_address_beyond_loopback_needs_credentials(host: str) -> None:
    """An open door on a network is nobody's wish."""
    with pytest.raises(ConfigError, match="beyond loopback"):
        check_binding(host, has_credentials=False)
    check_binding(host, has_credentials=True)
    check_binding("127.0.0.1", has_credentials=False)
