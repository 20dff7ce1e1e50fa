"""The arithmetic of the benches: a wrong median would be believed for years."""

import json
from math import inf
from pathlib import Path

import pytest

from bench._harness import (
    Children,
    Options,
    Report,
    Target,
    children,
    describe_machine,
    fitting,
    paired_ratio,
    parse_options,
    percentile,
    ratio,
)

FAST = Target("ours_to_theirs", 15.0, "at_least")
SMALL = Target("bytes", 100.0, "at_most")


def report(**figures: float) -> Report:
    """Return a report of these ratios."""
    made = Report("speed", quick=True, targets=(FAST, SMALL))
    for name, value in figures.items():
        made.put("ratios", name, value)
    return made


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.99, 99), (0.995, 100), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    """The nearest rank: nothing is made up between two values."""
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_no_values_have_no_percentile() -> None:
    """A bench that measured nothing must say so."""
    with pytest.raises(ValueError, match="measure something"):
        percentile([], 0.5)


def test_a_ratio_to_nothing_is_infinite() -> None:
    """A contender that did nothing must not end the run with a traceback."""
    assert (ratio(3, 2), ratio(1, 0)) == (1.5, inf)


def test_a_slow_moment_of_the_machine_does_not_change_a_paired_ratio() -> None:
    """Neighbouring rounds are slow together; medians of each side alone would pair a slow one with a fast one."""
    ours, theirs = [100.0, 20.0, 100.0, 20.0, 20.0], [10.0, 2.0, 10.0, 2.0, 2.0]

    assert paired_ratio(ours, theirs) == 10.0


def test_a_round_without_a_partner_does_not_count() -> None:
    """A slow contender takes fewer rounds."""
    assert paired_ratio([10.0, 20.0, 999.0], [1.0, 1.0]) == 15.0


@pytest.mark.parametrize(("rate", "expected"), [(500.0, 100), (200.0, 40), (1.0, 20), (9000.0, 100)])
def test_a_quick_run_takes_what_fits_into_its_time(rate: float, expected: int) -> None:
    """On a machine that is busy with something else, --quick must still be quick."""
    assert fitting(rate, seconds=2.0, length=10, least=20, most=100) == expected


def test_targets_are_judged_by_their_side() -> None:
    """More is better for speed, less for bytes."""
    judged = {target.name: met for target, _, met in report(ours_to_theirs=15.0, bytes=100.1).judged()}

    assert judged == {"ours_to_theirs": True, "bytes": False}


def test_a_target_that_was_not_measured_is_neither_met_nor_missed() -> None:
    """A part that did not run says nothing."""
    assert [target.name for target, _, _ in report(bytes=1.0).judged()] == ["bytes"]


def test_rounds_are_kept_and_their_median_is_the_figure() -> None:
    """Who doubts a figure can look at what it was made of."""
    made = report()

    assert made.put_rounds("rates", "ours", [3.0, 1.0, 2.0]) == 2.0
    assert (made.groups["rates"]["ours"], made.rounds["ours"]) == (2.0, [3.0, 1.0, 2.0])


def test_the_object_has_every_figure_and_every_target() -> None:
    """What reads it finds rates, ratios and verdicts by names that stay."""
    made = report(ours_to_theirs=16.123456)
    made.put("rates", "ours", 12345.678)

    read = json.loads(json.dumps(made.to_object()))

    assert (read["bench"], read["quick"]) == ("speed", True)
    assert (read["rates"], read["ratios"]) == ({"ours": 12345.7}, {"ours_to_theirs": 16.1})
    assert read["targets"] == {"ours_to_theirs": {"at_least": 15.0, "measured": 16.1, "met": True}}


def test_the_table_says_what_was_missed() -> None:
    """A person sees at one look what does not hold."""
    lines = report(ours_to_theirs=2.0, bytes=3.0).to_table().splitlines()

    assert [line.split() for line in lines[-2:]] == [
        ["ours_to_theirs", "2.00", ">=", "15", "MISSED"],
        ["bytes", "3.00", "<=", "100", "met"],
    ]


def test_json_goes_to_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """`./baton bench steps --json | jq` must work."""
    report(bytes=1.0).write(Options(quick=True, json="-"))

    assert json.loads(capsys.readouterr().out)["ratios"] == {"bytes": 1.0}


def test_json_goes_to_a_file_beside_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a path, people still see the table."""
    target = tmp_path / "steps.json"

    report(bytes=1.0).write(Options(quick=True, json=str(target)))

    assert json.loads(target.read_text())["bench"] == "speed"
    assert capsys.readouterr().out.startswith("bench speed (quick)")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], Options(quick=False, json=None)),
        (["--quick"], Options(quick=True, json=None)),
        (["--json"], Options(quick=False, json="-")),
        (["--json", "x.json", "--quick"], Options(quick=True, json="x.json")),
    ],
)
def test_options(args: list[str], expected: Options) -> None:
    """Every bench takes the same ones."""
    assert parse_options("Measures.", args) == expected


def test_the_machine_is_described_and_not_named() -> None:
    """Figures are published; host names are not."""
    assert set(describe_machine()) == {
        "cores",
        "system",
        "machine",
        "python",
        "load_before",
        "loop_best_ms",
        "loop_median_ms",
    }


def test_processes_end_with_the_block(tmp_path: Path) -> None:
    """A bench that fails in the middle leaves nothing behind on a machine that others share."""
    with children() as started:
        child = started.start(["-c", "import sys; sys.stdin.read()"], log=tmp_path / "log")
        assert child.poll() is None

    assert child.returncode is not None


def test_a_process_that_stands_still_or_ignores_the_request_ends_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stopped for a round is let go before it is asked to end; who does not listen is killed."""
    monkeypatch.setattr("bench._harness.STOP_SECONDS", 0.2)
    log = tmp_path / "log"
    own = Children()
    child = own.start(
        [
            "-c",
            "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()",
        ],
        log=log,
    )
    while "deaf" not in log.read_text():
        assert child.poll() is None

    own.end()

    assert child.returncode == -9
