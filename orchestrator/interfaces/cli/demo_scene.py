"""The apps' demos: find them, set them up, take them down.

An app's `demo.py` (contracts/demo.py) makes a real scene and says what is to be submitted. Which apps there are, and
what they call things, is theirs to say; nothing of it is known here.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.app_loader import load_function, load_module
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.demo import Demo, Submission
from orchestrator.contracts.errors import AppCodeInvalid, InputError, UnknownApp, suggest
from orchestrator.interfaces.cli.batch import check_submissions

DEMO_FILE: Final = "demo.py"


@dataclass(slots=True)
class Scene:
    """One app's demo and what it wants submitted."""

    spec: AppSpec
    demo: Demo
    submissions: list[Submission] = field(default_factory=list)


def find_scenes(specs: Mapping[str, AppSpec], chosen: Sequence[str], options: Mapping[str, str]) -> list[Scene]:
    """Return the demos of these apps, of all where none is chosen; raise InputError for what no demo knows or can meet."""
    for name in chosen:
        if name not in specs:
            raise UnknownApp(name, specs)
        if not (Path(specs[name].root) / DEMO_FILE).is_file():
            raise InputError(f"app {name}: it has no demo ({DEMO_FILE}); leave --app out")
    wanted = [specs[name] for name in (chosen or specs) if (Path(specs[name].root) / DEMO_FILE).is_file()]
    if not wanted:
        raise InputError("demo: no installed app has a demo; see `baton apps list`")
    _check_options(wanted, options)
    scenes = [Scene(spec, _make_demo(spec)) for spec in wanted]
    for scene in scenes:
        check = getattr(scene.demo, "check", None)
        if callable(check):
            check(options)
    return scenes


async def prepare(scenes: Sequence[Scene], folder: Path, options: Mapping[str, str]) -> None:
    """Set all scenes up, each in a thread and below a folder of its own; raise the first InputError.

    Returns, also when it is cancelled, only once no thread is at work any more: `stop` may follow.
    """

    def set_up(scene: Scene) -> None:
        place = folder / scene.spec.name
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        scene.submissions = check_submissions(scene.spec, DEMO_FILE, scene.demo.prepare(place, options))

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=len(scenes)) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, set_up, scene) for scene in scenes))


def stop(scenes: Sequence[Scene]) -> None:
    """Take every scene down; the last error is raised once all were asked."""
    failed: Exception | None = None
    for scene in scenes:
        try:
            scene.demo.stop()
        except (OSError, RuntimeError, ValueError, LookupError, InputError) as error:
            failed = error
    if failed is not None:
        raise failed


def _make_demo(spec: AppSpec) -> Demo:
    made = load_function(spec, f"{DEMO_FILE}:demo")()
    if not (callable(getattr(made, "prepare", None)) and callable(getattr(made, "stop", None))):
        raise AppCodeInvalid(f"app {spec.name}: {DEMO_FILE}:demo() gave no Demo; it needs prepare() and stop()")
    return made  # type: ignore[return-value]  # a protocol with methods cannot be told at run time any better


def _check_options(specs: Sequence[AppSpec], options: Mapping[str, str]) -> None:
    """Refuse an option that no demo names, where every demo says what it names (OPTIONS)."""
    known: set[str] = set()
    for spec in specs:
        named = getattr(load_module(spec, DEMO_FILE), "OPTIONS", None)
        if not isinstance(named, Mapping):
            return
        known |= {str(name) for name in named}
    for name in options:
        if name not in known:
            shown = {f"--{one.replace('_', '-')}" for one in known}
            raise InputError(f"option --{name.replace('_', '-')}: no demo has it; {suggest(f'--{name}', shown)}")
