"""Rates, circuits, fallbacks and budgets over a real store: what one worker learns of a service, all of them keep to."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.app import AppSpec, ModelSpec, RetryPolicy
from orchestrator.contracts.budgets import AppBudget, BudgetSpec, SessionBudget
from orchestrator.contracts.messages import ModelRequest
from orchestrator.contracts.provider_errors import CircuitOpenError
from orchestrator.contracts.session import Entry, Record
from orchestrator.contracts.skill import Responsive, Route
from orchestrator.kernel.rebuild import find_differences, fold
from orchestrator.store.keys import model_key
from orchestrator.store.model_gate import ModelGate
from tests.integration.talker import PROVIDER, play, submit, talker
from tests.stage import EVERYTHING, Stage
from workers.models import HeldBack
from workers.stub_llm import running


@pytest.fixture(scope="module")
def stub() -> Iterator[str]:
    """Give the base URL of a stub model."""
    with running() as url:
        yield f"{url}/v1"


async def journal(on: Stage, session_id: str) -> list[Entry]:
    """Return a session's journal, once it has rebuilt the session."""
    entries = [entry async for entry in on.client.events(session_id)]
    record = await on.client.show(session_id)
    context = await on.store.command("LRANGE", on.store.keys.of_session("context", session_id), 0, -1)
    assert find_differences(record, context, 0, fold(entries)) == []
    return entries


def waits(record: Record) -> tuple[str, str, float]:
    """Return what a session waits for, why, and for how many seconds."""
    wait = record.wait
    assert wait is not None, record
    return wait.kind, wait.reason, ((wait.deadline_at or 0) - wait.since_at) / 1000


async def let_pass(on: Stage, field: str, service: str) -> None:
    """Let a time that the gate keeps be over, as it would be later."""
    assert await on.store.command("HSET", model_key(PROVIDER), f"{field}:{service}", "1") == 0


def test_all_workers_share_a_rate_and_each_session_has_its_place(store_url: str, stub: str) -> None:
    """Two a minute for two workers: the third and fourth wait as due entries, one place after the other."""

    async def scene(on: Stage) -> None:
        one, other = on.worker("one"), on.worker("other")
        ids = [await submit(on) for _ in range(4)]
        records = [await on.run(executor, sid) for executor, sid in zip((one, other, one, other), ids, strict=True)]

        assert records[0].status == "fine"
        assert [(kind, why, round(seconds)) for kind, why, seconds in map(waits, records[1:])] == [
            ("limit", "rate", 30),
            ("limit", "rate", 60),
            ("limit", "rate", 90),
        ]
        assert one.slices == other.slices == {}

        await on.skip_to_due(ids[3])  # its place is its own: it does not ask for another one
        record = await on.run(one, ids[3])
        assert (record.status, record.cursor.admitted) == ("fine", None)
        entries = await journal(on, ids[3])
        assert [entry.outcome for entry in entries if entry.step == "wait"] == ["snoozed"]

    rates = {f"{PROVIDER}/stub": {"requests_per_minute": 2, "burst": 0}}
    play(store_url, talker(stub), scene, limits=rates)


def test_a_rate_of_tokens_counts_what_was_really_used(store_url: str, stub: str) -> None:
    """The estimate is mended by the answer: a short one leaves room for the next call."""

    async def scene(on: Stage) -> None:
        executor = on.worker()
        records = [await on.run(executor, await submit(on)) for _ in range(3)]

        assert [record.status for record in records] == ["fine", "fine", "fine"]

    play(store_url, talker(stub), scene, limits={PROVIDER: {"tokens_per_minute": 3000, "burst": 0.1}})


def test_a_service_that_fails_again_and_again_is_left_alone_by_all(store_url: str, stub: str) -> None:
    """Two failures open the circuit; the next session waits without a try; then one call finds it sound again."""
    spec = talker(stub, "status-503-first-2", retry_policy=RetryPolicy(max_retries=5))
    service = f"{PROVIDER}/status-503-first-2@{stub.split('/')[2]}"

    async def scene(on: Stage) -> None:
        one, other = on.worker("one"), on.worker("other")
        ids = [await submit(on) for _ in range(3)]
        records = [await on.run(executor, sid) for executor, sid in zip((one, other, other), ids, strict=True)]

        assert [record.wait and record.wait.kind for record in records] == ["retry", "retry", "limit"]
        assert waits(records[2])[1] == "circuit"
        assert records[2].cursor.failures == 0
        await let_pass(on, "open", service)
        for session_id in reversed(ids):
            await on.skip_to_due(session_id)
            record = await on.run(one, session_id)
            assert (record.status, record.failure) == ("fine", None)
            await journal(on, session_id)
        assert await on.store.command("HEXISTS", model_key(PROVIDER), f"open:{service}") == 0

    play(store_url, spec, scene, breaker_failures=2, breaker_seconds=3600)


async def open_circuit(on: Stage, service: str) -> None:
    """Open a service's circuit for long."""
    await on.store.command("HSET", model_key(PROVIDER), f"open:{service}", "9" * 15 + "0")


@pytest.mark.parametrize(("late_ms", "is_over"), [(-1, False), (0, True), (1, True)])
def test_a_call_waits_for_an_open_circuit_as_long_as_its_patience(
    store_url: str, stub: str, late_ms: int, is_over: bool
) -> None:
    """To the millisecond, by the clock that it is given; before, it waits no longer than until then."""
    spec = talker(stub)

    async def scene(on: Stage) -> None:
        on.worker()
        models = on.hosts[0].apps[spec.name].models
        await open_circuit(on, f"{PROVIDER}/stub@{stub.split('/')[2]}")
        request = ModelRequest(session_id="s", skill="talk", messages=(), tools=())
        asked = models.ask(ModelGate(on.store), request, mark="m", now=5_000 + 60_000 + late_ms, held_at=5_000)

        with pytest.raises(CircuitOpenError if is_over else HeldBack) as raised:
            await asked

        if isinstance(raised.value, HeldBack):
            assert (raised.value.wait_ms, raised.value.since) == (1, 5_000)

    play(store_url, spec, scene, patience_seconds=60)


def test_a_session_that_waits_for_an_open_circuit_fails_in_the_end(store_url: str, stub: str) -> None:
    """As one does whose service is down: it is tried again as often as the app says, then a person is told."""
    spec = talker(stub, retry_policy=RetryPolicy(max_retries=1))
    spec = spec.model_copy(update={"model": spec.model.model_copy(update={"patience_seconds": 3600})})

    async def scene(on: Stage) -> None:
        executor, session_id = on.worker(), await submit(on)
        await open_circuit(on, f"{PROVIDER}/stub@{stub.split('/')[2]}")
        asked_at = await on.store.now_ms()
        record = await on.run(executor, session_id)
        kind, why, seconds = waits(record)
        assert (kind, why, record.cursor.failures) == ("limit", "circuit", 0)
        assert 3590 < seconds <= 3600  # the app's own word, not the settings'
        assert record.wait is not None
        assert record.cursor.held_at is not None
        assert (
            asked_at <= record.cursor.held_at <= record.wait.since_at
        )  # the wait is opened a moment after the refusal

        await on.skip_to_due(session_id)
        again = await on.run(executor, session_id)
        assert again.cursor.held_at == record.cursor.held_at  # all waits together are one

        long_ago = again.cursor.model_copy(update={"held_at": 1})
        key = on.store.keys.of_session("record", session_id)
        await on.store.command("HSET", key, "cursor", long_ago.to_json())
        await on.skip_to_due(session_id)
        record = await on.run(executor, session_id)
        assert waits(record)[:2] == ("retry", "CircuitOpenError")
        assert record.cursor.held_at == 1
        await on.skip_to_due(session_id)
        record = await on.run(executor, session_id)
        assert (record.phase, record.failure and record.failure.error) == ("dead", "CircuitOpenError")

    play(store_url, spec, scene, patience_seconds=1)


def test_a_service_that_is_back_in_time_ends_the_patience(store_url: str, stub: str) -> None:
    """The next outage is another one: its wait begins anew."""
    spec = talker(stub)
    service = f"{PROVIDER}/stub@{stub.split('/')[2]}"

    async def scene(on: Stage) -> None:
        executor, session_id = on.worker(), await submit(on)
        await open_circuit(on, service)
        assert (await on.run(executor, session_id)).cursor.held_at is not None
        await let_pass(on, "open", service)
        await on.skip_to_due(session_id)

        record = await on.run(executor, session_id)

        assert (record.status, record.cursor.held_at) == ("fine", None)
        await journal(on, session_id)

    play(store_url, spec, scene)


def test_what_a_service_asks_of_one_session_all_keep_to(store_url: str, stub: str) -> None:
    """Retry-After: the session that was told waits at least so long, and the next one does not even ask."""
    spec = talker(stub, "rate-limited")

    async def scene(on: Stage) -> None:
        told, other = await submit(on), await submit(on)
        record = await on.run(on.worker(), told)
        kind, why, seconds = waits(record)
        assert (kind, why, seconds >= 0.25) == ("retry", "RateLimitError", True)
        assert record.failure is not None
        assert record.failure.retry_after == 0.25

        await on.store.command(
            "HSET", model_key(PROVIDER), f"hold:{PROVIDER}/rate-limited@{stub.split('/')[2]}", "9" * 15 + "0"
        )
        kind, why, _ = waits(await on.run(on.worker(), other))
        assert (kind, why) == ("limit", "asked")

    play(store_url, spec, scene)


def test_the_next_service_is_asked_where_the_first_one_fails(store_url: str, stub: str) -> None:
    """In the order that the app declares, in one step; the journal says who answered, and why not the others."""
    spec = talker(stub, "status-503", fallback=("unauthorized", "stub"))

    async def scene(on: Stage) -> None:
        session_id = await submit(on)
        record = await on.run(on.worker(), session_id)

        assert (record.status, record.failure) == ("fine", None)
        (turn,) = (entry for entry in await journal(on, session_id) if entry.step == "agent_turn")
        assert str(turn.data["service"]).startswith(f"{PROVIDER}/stub@")
        failures = turn.data["failures"]
        assert isinstance(failures, list)
        assert [(one["error"], one["model"]) for one in failures if isinstance(one, dict)] == [
            ("ProviderUnavailableError", "status-503"),
            ("AuthenticationError", "unauthorized"),
        ]

    play(store_url, spec, scene)


def test_where_all_fail_the_failure_that_may_pass_decides(store_url: str, stub: str) -> None:
    """A key that is wrong at the fallback must not bury a session whose own service is away for a moment."""
    spec = talker(stub, "status-503", fallback=("unauthorized",))

    async def scene(on: Stage) -> None:
        record = await on.run(on.worker(), await submit(on))

        assert waits(record)[:2] == ("retry", "ProviderUnavailableError")

    play(store_url, spec, scene)


def test_a_service_whose_rate_is_spent_gives_way_to_the_next(store_url: str, stub: str) -> None:
    """Waiting is for when nobody else can answer."""
    spec = talker(stub, "stub", fallback=("envelope",))

    async def scene(on: Stage) -> None:
        executor = on.worker()
        ids = [await submit(on) for _ in range(2)]
        records = [await on.run(executor, session_id) for session_id in ids]

        assert [record.status for record in records] == ["fine", "fine"]
        turn = next(entry for entry in await journal(on, ids[1]) if entry.step == "agent_turn")
        assert str(turn.data["service"]).startswith(f"{PROVIDER}/envelope@")
        assert turn.data["passed_over"] == [f"{PROVIDER}/stub@{stub.split('/')[2]}"]

    play(store_url, spec, scene, limits={f"{PROVIDER}/stub": {"requests_per_minute": 1}})


# --- budgets


def everything(budget: BudgetSpec, **rules: Any) -> AppSpec:
    """Return the test app with a budget; its agent looks for ever."""
    spec = load_app(EVERYTHING)
    model = ModelSpec.model_validate(
        {"provider": "rules", "rules": rules or {"start": [{"call": [{"tool": "look", "args": {"value": 1}}] * 2}]}}
    )
    return spec.model_copy(update={"budget": budget, "model": model})


@pytest.mark.parametrize(
    ("limits", "turns", "calls", "said"),
    [
        ({"turns": 3}, 3, 6, "session's turns: 3 of 3 used"),
        ({"tool_calls": 5}, 3, 5, "session's tool calls: 5 of 5 used"),
    ],
)
def test_a_session_ends_where_its_budget_does(
    store_url: str, limits: dict[str, Any], turns: int, calls: int, said: str
) -> None:
    """To the status that the app declares, not a call more; the journal has warned once before."""
    spec = everything(BudgetSpec(session=SessionBudget(**limits), warn_at=0.5, status="handed_over"))

    async def scene(on: Stage) -> None:
        session_id = await submit(on)
        record = await on.run(on.worker(), session_id)

        assert (record.phase, record.status, record.reason) == ("ended", "handed_over", "over_budget")
        assert record.cursor.stop_reason == f"budget: {said}"
        assert record.spent is not None
        assert (record.spent.turns, record.spent.tool_calls) == (turns, calls)
        entries = await journal(on, session_id)
        told = [entry.data["budget"] for entry in entries if "budget" in entry.data]
        (name,) = limits
        assert len(told) == 2
        assert isinstance(told[0], dict) and isinstance(told[0]["warning"], dict)
        assert [*told[0]["warning"]] == [name]
        made = [call for entry in entries for call in entry.calls if call.outcome != "cancelled"]
        assert len(made) == calls

    play(store_url, spec, scene)


def test_money_is_counted_exactly_and_stops_the_session(store_url: str, stub: str) -> None:
    """By the operator's prices, in Decimal: no cent is made or lost by rounding."""
    budget = BudgetSpec(session=SessionBudget(cost=Decimal("0.001")), status="broke")
    talk = Responsive(name="talk", prompt="Talk.", routes=(Route(when="default", next="talk"),))
    spec = talker(stub, budget=budget).model_copy(update={"skills": {"talk": talk}})

    async def scene(on: Stage) -> None:
        session_id = await submit(on)
        record = await on.run(on.worker(), session_id)

        assert (record.status, record.reason) == ("broke", "over_budget")
        spent = record.spent
        assert spent is not None
        exact = Decimal("0.1") * spent.input_tokens / 1000 + Decimal("0.3") * spent.output_tokens / 1000
        assert spent.cost == exact / 1000 >= Decimal("0.001")
        turns = [entry for entry in await journal(on, session_id) if entry.step == "agent_turn"]
        assert sum(Decimal(str(turn.data["cost"])) for turn in turns) == spent.cost

    play(store_url, spec, scene, prices={PROVIDER: {"input": "0.1", "output": "0.3"}})


def test_an_app_that_counts_money_needs_prices(store_url: str, stub: str) -> None:
    """A limit that cannot be kept is refused at boot, with what is missing."""
    spec = talker(stub, fallback=("envelope",), budget=BudgetSpec(session=SessionBudget(cost=Decimal(1))))

    async def scene(on: Stage) -> None:
        with pytest.raises(Exception, match=r"openai_compat/envelope has no price; add it to models\.prices"):
            on.worker()

    play(store_url, spec, scene, prices={f"{PROVIDER}/stub": {"input": "1", "output": "1"}})


def test_the_sessions_of_an_app_share_a_budget(store_url: str) -> None:
    """Across workers: what one has used, the next one finds used."""
    spec = everything(
        BudgetSpec(app=AppBudget(turns=4, per="month"), status="handed_over"),
        start=[
            {"when": "turn < 2", "call": [{"tool": "look", "args": {"value": 1}}]},
            {"say": "done", "signal": "failed"},
        ],
        last=[{"say": "bye"}],
    )

    async def scene(on: Stage) -> None:
        ids = [await submit(on) for _ in range(2)]
        first = await on.run(on.worker("one"), ids[0])
        second = await on.run(on.worker("other"), ids[1])

        assert first.reason != "over_budget"
        assert (second.status, second.reason) == ("handed_over", "over_budget")
        assert second.cursor.stop_reason == "budget: app's turns: 4 of 4 used this month"
        warned = [entry.data for entry in await journal(on, ids[1]) if "warning" in str(entry.data.get("budget"))]
        assert warned == [] or "app.turns" in str(warned)

    play(store_url, spec, scene)


def test_a_session_that_waits_ends_when_its_time_is_over(store_url: str) -> None:
    """Wall time goes on while a person thinks; the wait itself is not answered for them."""
    spec = load_app(EVERYTHING).model_copy(
        update={"budget": BudgetSpec(session=SessionBudget(wall_seconds=600), status="handed_over")}
    )

    async def scene(on: Stage) -> None:
        session_id = await submit(on, plan="danger")
        record = await on.run(on.worker(), session_id)
        assert waits(record)[0] == "approval"
        keys = on.store.keys
        due = await on.store.command("ZSCORE", keys.of_session("due", session_id), session_id)
        assert int(due) == record.created_at + 600_000

        # Ten minutes later.
        created = record.created_at - 600_000
        await on.store.command("HSET", keys.of_session("record", session_id), "created", created)
        await on.store.command("ZADD", keys.of_session("due", session_id), 1, session_id)
        assert await on.due.wake(session_id)
        record = await on.run(on.worker(), session_id)

        assert (record.status, record.reason) == ("handed_over", "over_budget")
        assert record.cursor.stop_reason.startswith("budget: session's wall seconds: 600")
        assert [call.outcome for entry in await journal(on, session_id) for call in entry.calls] == ["cancelled"]

    play(store_url, spec, scene)
