"""The Celery contenders: its defaults, as its first page has them.

    noop    a chain of tasks that do nothing
    again   a task that does nothing and sends its successor itself
    locked  a chain of tasks that load, append and save a state under a redis-py lock
    nap     a chain of tasks that wait as one waits for a model

The last task of each chain counts it as done, so that the bench knows the end without a result
backend. Run by Celery's own command: `celery -A bench._peers worker -P prefork -c 2`.
"""
# Celery's decorators have no types.
# mypy: disable-error-code="untyped-decorator"

import os
import time

from celery import Celery
from redis import Redis

from bench._harness import die_with_parent

BROKER, STORE = os.environ.get("BENCH_BROKER", ""), os.environ.get("BENCH_STORE", "")
COUNT, ENDED = "peers:count", "peers:ended"

if BROKER:
    die_with_parent()

app = Celery("peers", broker=BROKER or None, set_as_current=False)
app.conf.broker_connection_retry_on_startup = True
_clients: dict[int, Redis] = {}


def _client() -> Redis:
    """Return this process's client; made after the fork."""
    return _clients.setdefault(os.getpid(), Redis.from_url(STORE))


def _done(total: int) -> None:
    client = _client()
    if client.incr(COUNT) == total:
        client.rpush(ENDED, repr(time.time()))


@app.task(name="peers.noop", ignore_result=True)
def noop(total: int = 0) -> None:
    """Do nothing; `total` marks a chain's last task and says how many chains there are."""
    if total:
        _done(total)


@app.task(name="peers.again", ignore_result=True)
def again(left: int, total: int) -> None:
    """Do nothing, then send the next."""
    if left > 1:
        again.delay(left - 1, total)
    else:
        _done(total)


@app.task(name="peers.locked", ignore_result=True)
def locked(session: str, total: int = 0) -> None:
    """Load, append and save a state under a lock."""
    client = _client()
    with client.lock(f"peers:lock:{session}", timeout=15):
        state = client.get(f"peers:state:{session}")
        client.rpush(f"peers:journal:{session}", '{"kind":"step","step":"compute","outcome":"succeeded"}')
        client.set(f"peers:state:{session}", state or b"")
    if total:
        _done(total)


@app.task(name="peers.nap", ignore_result=True)
def nap(seconds: float, total: int = 0) -> None:
    """Wait."""
    time.sleep(seconds)
    if total:
        _done(total)
