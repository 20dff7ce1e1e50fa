"""`python -m plugin_sandbox attack`: what this host stops, attack by attack."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from difflib import get_close_matches

from plugin_sandbox.attacks.arena import Arena, make_arena
from plugin_sandbox.attacks.catalogue import attacks
from plugin_sandbox.attacks.runner import ControlFailed, Result, run_attacks
from plugin_sandbox.settings import SandboxSettings


def main(argv: Sequence[str]) -> int:
    """Run the suite; 0 where nothing got through, 1 where something did, 2 for an attack that is none, 3 where the sandbox itself does not run."""
    parser = argparse.ArgumentParser(prog="python -m plugin_sandbox attack", description="Attack this host's sandbox.")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="json: one object an attack")
    parser.add_argument("--tier", choices=("strict", "standard"), default="strict", help="the box to attack")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this attack alone; may be repeated"
    )
    parser.add_argument(
        "--off", action="append", default=[], metavar="LAYER", help="leave a layer out: what did it stop?"
    )
    parser.add_argument("--python", default="", metavar="PATH", help="the interpreter inside; default: this one")
    parser.add_argument(
        "--patience",
        type=int,
        default=1,
        metavar="N",
        help="so many times the time and the processor: a machine that is emulated",
    )
    options = parser.parse_args(argv)
    known = {one.name: one for one in attacks()}
    for name in options.only:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            print(f"baton: --only: no attack is called {name!r}; {hint}", file=sys.stderr)
            return 2
    chosen = [one for one in known.values() if not options.only or one.name in options.only]
    with make_arena(max(1, options.patience)) as arena:
        settings = settings_for(options.tier, arena, options.python)
        found: list[Result] = []
        try:
            for result in run_attacks(chosen, arena, settings, tier=options.tier, off=tuple(options.off)):
                found.append(result)
                _show(result, options.output)
        except ControlFailed as error:
            print(f"baton: {error}", file=sys.stderr)
            return 3
    breached = [one.name for one in found if not one.stopped]
    if options.output == "text":
        print(f"{len(found)} attacks as uid {os.geteuid()}, tier {options.tier}: {len(breached)} got through")
    return 1 if breached else 0


def settings_for(tier: str, arena: Arena, python: str = "") -> SandboxSettings:
    """Return the settings that the suite attacks: the defaults, and in the standard tier what it lacks by its nature."""
    lacks = ("disk_quota", "uts_namespace") if tier == "standard" else ()
    return SandboxSettings.model_validate(
        {
            "tier": tier,
            "allow_degraded": lacks,
            "state_dir": arena.home / "state",
            "slots": 4,
            "python": python,
            "hosts": arena.hosts,
        }
    )


def _show(result: Result, output: str) -> None:
    if output == "json":
        print(json.dumps(asdict(result)), flush=True)
    else:
        mark = "stopped " if result.stopped else "BREACHED"
        print(f"{mark} {result.group:9} {result.name:24} {result.ms:6} ms  {result.outcome[:100]}", flush=True)
