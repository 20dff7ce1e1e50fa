"""Each bench runs to its end and prints one JSON object; whether its promises hold is for a quiet machine to say."""

import json
import subprocess
import sys

import pytest

from bench._harness import ROOT

WANTED = {
    "api": {
        "rates": {"submit_per_s", "get_per_s"},
        "streams": {"stream_client_bytes", "streams_held_cpu_seconds_per_minute", "all_told_after_last_seconds"},
        "ratios": {"listing_growth"},
    },
    "cluster": {
        "rates": {"one_steps_per_s", "cluster_steps_per_s"},
        "server": {"one_server_cpu_ms_per_1000_steps", "busiest_master_cpu_ms_per_1000_steps"},
        "ratios": {"cluster_to_one", "busiest_master_cpu_to_one"},
    },
    "hooks": {
        "emit_us": {"none_0_ours_us", "none_1_ours_us", "none_10_ours_us", "answer_10_ours_us", "none_10_floor_us"},
        "ratios": {"none_1_ours_to_floor", "none_10_ours_to_floor", "answer_10_ours_to_floor"},
    },
    "long": {
        "steps": {"steps_young_cpu_ms", "steps_old_bytes"},
        "calls": {"calls_young_cpu_ms", "calls_old_bytes"},
        "ratios": {"steps_old_to_young_cpu", "calls_old_to_young_bytes"},
    },
    "forks": {
        "latency_ms": {"young_p50_ms", "old_p50_ms", "middle_p50_ms", "talkative_p50_ms", "wordy_p50_ms"},
        "ratios": {"old_to_young"},
    },
    "peers": {"rates": {"ours_steps_per_s"}},
    "scale": {
        "stored": {"small_session_bytes", "big_session_bytes", "sessions_stored_per_s"},
        "ratios": {"tick_growth", "claim_growth", "commit_growth", "list_growth", "search_growth"},
        "scheduler": {"big_idle_cpu_seconds_per_minute", "big_line_cpu_seconds_per_minute"},
        "held": {"running_session_bytes", "held_steps_per_s", "beat_loop_lag_ms", "latest_answer_p99_ms"},
    },
    "workers": {
        "rates": {"noop_1_steps_per_s", "noop_4_steps_per_s", "waiting_2_steps_per_s"},
        "efficiency": {"noop_efficiency_2", "waiting_efficiency_4"},
        "cores": {"noop_1_server", "noop_4_workers"},
        "us_per_step": {"noop_2_server_us_per_step", "noop_2_worker_us_per_step"},
        "simulated": {"simulated_noop_1_steps_per_s", "simulated_noop_16_steps_per_s"},
    },
    "steps": {
        "rates": {"ours_steps_per_s", "floor_steps_per_s", "celery_chain_steps_per_s", "waiting_ours_steps_per_s"},
        "ratios": {"ours_to_chain", "ours_to_floor", "waiting_ours_to_gevent", "old_step_to_young_bytes"},
        "latency_ms": {"schedule_to_start_p50_ms", "schedule_to_start_p99_ms"},
    },
    "idle": {
        "idle": {"worker_rss_bytes", "worker_cpu_seconds_per_minute", "scheduler_cpu_seconds_per_minute", "tick_ms"},
        "waiting": {"sessions", "waiting_session_bytes", "scheduler_cpu_seconds_per_minute", "tick_ms"},
    },
}


@pytest.mark.bench
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(WANTED))
def test_a_quick_run_prints_one_object(name: str) -> None:
    """What reads the figures relies on these names."""
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "bench" / f"{name}.py"), "--quick", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    read = json.loads(done.stdout)
    assert (read["bench"], read["quick"]) == (name, True)
    for group, names in WANTED[name].items():
        assert names <= set(read[group])
        assert all(value > 0 for value in read[group].values())
