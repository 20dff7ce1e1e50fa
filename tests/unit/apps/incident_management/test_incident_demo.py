"""The demo's scene, and the app's own options of `submit`."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from apps.incident_management.demo import demo
from apps.incident_management.probe import check_health
from apps.incident_management.restart import apply_restart, propose_restart
from apps.incident_management.service import Service, load_service
from apps.incident_management.submit import submissions
from orchestrator.contracts.errors import InputError


def test_the_demo_breaks_a_real_service_and_ends_all_that_ran_for_it(tmp_path: Path) -> None:
    """Also the process that a session's repair started; and it may be prepared again in the same folder."""
    scene = demo()
    try:
        (made,) = scene.prepare(tmp_path, {"yes": "yes"})
        service = load_service(str(made.overrides["service_dir"]))
        broken = check_health(service)
        apply_restart(str(service.folder), propose_restart(service, "h").proposal_id, "key-1")
        restarted = load_service(str(service.folder))
        was_alive = restarted.process() is not None
        (again,) = scene.prepare(tmp_path, {})
        running = load_service(str(again.overrides["service_dir"]))
    finally:
        scene.stop()
    scene.stop()

    assert (broken.status, was_alive) == (500, True)
    assert made.overrides == {"service_dir": str(tmp_path / "service"), "environment": "local", "severity": "high"}
    assert [it.process() for it in (service, restarted, running)] == [None, None, None]


def test_stopping_what_was_never_prepared_is_harmless() -> None:
    """Whoever runs demos stops them all, also after an error."""
    demo().stop()


def test_a_service_directory_becomes_one_submission(service: Service) -> None:
    """The app's own options, checked before there is a session."""
    (made,) = submissions({"service_dir": str(service.folder), "severity": "p3", "text": "Slow."})

    assert (made.text, made.overrides) == ("Slow.", {"service_dir": str(service.folder), "severity": "medium"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "--service-dir: missing"),
        ({"service_dir": "/nonexistent"}, "cannot be read"),
        ({"servicedir": "x"}, "did you mean 'service_dir'"),
    ],
)
def test_bad_options_get_a_clear_error(options: Mapping[str, str], message: str) -> None:
    """Nothing is submitted."""
    with pytest.raises(InputError, match=message):
        submissions(options)


@pytest.mark.parametrize("options", [{"severity": "terrible"}, {"environment": "moon"}])
def test_an_unknown_word_is_refused(tmp_path: Path, options: dict[str, str]) -> None:
    """The message names the option and what it takes."""
    declared = {"name": "s", "url": "http://127.0.0.1:1", "log": "l", "command": ["x"]}
    (tmp_path / "service.json").write_text(json.dumps(declared))

    with pytest.raises(InputError, match=f"--{next(iter(options))}"):
        submissions({"service_dir": str(tmp_path), **options})
