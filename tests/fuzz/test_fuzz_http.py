"""Requests that are none: paths, headers and bodies as bytes, beside what schemathesis makes of the description.

Every answer is one of ours: no status above 499, and a problem in JSON wherever something is refused.
"""

import asyncio
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api_stage import api_stage, bearer
from tests.fuzz.mutating import mutated

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
PATHS = (
    "/v1/sessions", "/v1/sessions/SES-20260101-001", "/v1/sessions/%00", "/v1/sessions/SES-20260101-001/answer",
    "/v1/sessions/SES-20260101-001/signal", "/v1/sessions/SES-20260101-001/events", "/v1/sessions?limit=9e9&app=%ff",
    "/v1/triggers/x", "/v1/webhooks/x/enable", "/v1/undelivered/replay", "/v1/dead/replay", "/v1/apps", "/v1//", "/",
    "/v1/openapi.json", "/healthz", "/metrics", "/v1/sessions/..%2f..%2fetc", "/v1/scale",
)  # fmt: skip
BODIES = [
    b'{"app":"everything","text":"hi","state":{"n":1e999},"priority":"high"}',
    b'{"app":"everything","text":"\\ud800","state":{}}',
    b'{"name":"go","value":{"a":[1,2.5,null]}}',
    b'{"wait_id":"w","text":"x","fields":{"a":"b"}}',
    b'{"session_ids":["SES-20260101-001"],"all":true,"dry_run":false}',
    b"[]",
    b"",
]
HEADERS = (
    ("content-type", "application/json"), ("content-type", "text/plain; charset=\xff"), ("content-length", "-1"),
    ("authorization", "Bearer "), ("authorization", "Bearer \xe9"), ("authorization", "Basic eDp4"), ("idempotency-key", "\xff"),
    ("idempotency-key", "k" * 400), ("last-event-id", "x-y"), ("accept", "*/*;q=nan"), ("host", "["), ("cookie", "a=\x01;;"),
    ("webhook-id", "m"), ("webhook-timestamp", "\xb2"), ("webhook-signature", "v1,"), ("if-none-match", '"'), ("range", "bytes=9-"),
)  # fmt: skip


def test_whatever_comes_is_answered_in_our_own_words(store_url: str) -> None:
    """A status of 500 is our failure, told to whoever can reach the port."""
    requests = st.lists(
        st.tuples(
            st.sampled_from(METHODS),
            st.sampled_from(PATHS),
            st.lists(st.sampled_from(HEADERS), max_size=3, unique_by=lambda pair: pair[0]),
            mutated(BODIES),
            st.booleans(),
        ),
        min_size=4,
        max_size=8,
    )

    async def ask(many: list[tuple[str, str, list[tuple[str, str]], bytes, bool]]) -> None:
        async with api_stage(store_url) as on:
            for method, path, headers, body, known in many:
                own = {name: value.encode("latin-1") for name, value in headers}
                token = {name.lower(): value.encode() for name, value in bearer("operator").items()} if known else {}
                if path.endswith("/events") and method == "GET":
                    continue  # its answer does not end
                answer = await on.http.request(method, path, headers={**token, **own}, content=body)
                assert answer.status_code < 500, (
                    f"{method} {path} {headers} {body!r}: {answer.status_code} {answer.text}"
                )
                if answer.status_code >= 400 and method != "HEAD" and answer.content:
                    problem = json.loads(answer.content)
                    assert "Traceback" not in answer.text
                    assert problem

    @settings(max_examples=20, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(requests)
    def read(many: list[tuple[str, str, list[tuple[str, str]], bytes, bool]]) -> None:
        asyncio.run(ask(many))

    read()
