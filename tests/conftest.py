"""What every test gets: an environment of its own in which no setting of the machine changes a verdict.

Hypothesis tries the same examples here and there, on every machine and in every run: a landing is not refused for an example that the
tree before it was as wrong for. `EXAMPLES=random pytest tests/property tests/unit` looks for others, as a person does now and then.
"""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

#: A shell's background job ignores Ctrl-C, and so would what a test starts to send it one: each such test would wait for its timeout.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "suite",
    deadline=None,  # a shared machine is slow at times, and nothing is wrong for it
    suppress_health_check=list(HealthCheck),
    derandomize=os.environ.get("EXAMPLES") != "random",
    database=None,
    print_blob=True,
)
settings.load_profile("suite")
#: What takes a server to try: fewer, and longer ones.
settings.register_profile("ci", settings.get_profile("suite"), max_examples=80, stateful_step_count=60)

pytest_plugins = ["tests.fixtures_server", "tests.fixtures_stage"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take BATON_* away: a shell's own server or apps must not be what a test runs on."""
    for name in [name for name in os.environ if name.startswith("BATON_")]:
        monkeypatch.delenv(name)
