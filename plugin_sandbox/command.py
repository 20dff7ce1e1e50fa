"""The command line: run one plugin over a folder, say what this host gives, attack it, print the manifest's schema.

Exit codes: 0 done, whatever the plugin's status; 1 something is not as it should be (doctor, attack); 2 bad usage; 3 the
sandbox is not available.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from plugin_sandbox.attacks import cli as attack_cli
from plugin_sandbox.doctor import examine
from plugin_sandbox.host import Sandbox
from plugin_sandbox.manifest import ManifestInvalid, digest_of, read_manifest
from plugin_sandbox.model import Call, Outcome, PluginRecord, Prompt
from plugin_sandbox.protocol import escape
from plugin_sandbox.schema import render_schema
from plugin_sandbox.settings import SandboxSettings, SettingsInvalid, load_settings

USAGE, UNAVAILABLE = 2, 3


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"baton: {message}; see {self.prog} --help\n")


class _Bad(Exception):
    """Bad usage, as one sentence."""


def main(argv: Sequence[str]) -> int:
    """Do one command."""
    if argv[:1] == ["attack"]:
        return attack_cli.main(argv[1:])
    options = _parser().parse_args(argv)
    if options.command == "schema":
        sys.stdout.write(render_schema())
        return 0
    try:
        settings = _settings(options)
        return _run(options, settings) if options.command == "run" else _doctor(options, settings)
    except _Bad as error:
        print(f"baton: {error}", file=sys.stderr)
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m plugin_sandbox", description="Run untrusted plugins in a box that confines them.")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="run|doctor|attack|schema", parser_class=_Parser
    )
    run = commands.add_parser("run", help="run one plugin over a folder, and publish what it changed")
    run.add_argument("plugin", type=Path, metavar="PLUGIN_DIR", help="the plugin's folder, with its manifest.yml")
    run.add_argument("--workspace", type=Path, required=True, metavar="DIR", help="the folder that it works on")
    run.add_argument("--file", action="append", metavar="F", help="a file below it; default: all that the plugin takes")
    run.add_argument("--vars", default="{}", metavar="JSON", help="the variables, as a JSON object")
    run.add_argument("--answers", default="{}", metavar="JSON", help="answers to its questions, as a JSON object")
    run.add_argument("--dry-run", action="store_true", help="only describe what it would change")
    commands.add_parser("schema", help="print the JSON Schema of a plugin's manifest.yml")
    doctor = commands.add_parser("doctor", help="say which layers this host gives, and what would give the rest")
    commands.add_parser("attack", help="attack this host's sandbox (see attack --help)", add_help=False)
    for command in (run, doctor):
        command.add_argument("--tier", choices=("strict", "standard"), help="the least that is accepted")
        command.add_argument("--allow-degraded", action="append", metavar="NAME", help="a layer that may be missing")
        command.add_argument("--config", type=Path, metavar="FILE", help="a sandbox.yaml; default: built-in values")
        command.add_argument("-o", "--output", choices=("text", "json"), default="text")
    return parser


def _settings(options: argparse.Namespace) -> SandboxSettings:
    try:
        settings = load_settings(options.config)
        raw = settings.model_dump()
        if options.tier:
            raw["tier"] = options.tier
        if options.allow_degraded:
            raw["allow_degraded"] = tuple(options.allow_degraded)
        return SandboxSettings.model_validate(raw)
    except SettingsInvalid as error:
        raise _Bad(str(error)) from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise _Bad(f"--allow-degraded: {problem['msg']}; see doctor for the names") from error


def _run(options: argparse.Namespace, settings: SandboxSettings) -> int:
    try:
        manifest = read_manifest(options.plugin, settings)
        record = PluginRecord(manifest=manifest, path=options.plugin.resolve(), digest=digest_of(options.plugin))
    except (ManifestInvalid, OSError) as error:
        raise _Bad(f"{options.plugin}: {error}") from error
    if not options.workspace.is_dir():
        raise _Bad(f"--workspace: {options.workspace} is no folder; name one")
    workspace = options.workspace.resolve()
    answers = _object(options.answers, "--answers")
    call = Call(
        plugin=record,
        workspace=workspace,
        files=tuple(_files(options, workspace, manifest.supported_extensions)),
        variables=_object(options.vars, "--vars"),
        answers={"given": answers} if answers else {},
        dry_run=options.dry_run,
    )
    with contextlib.closing(Sandbox(settings)) as sandbox:
        outcome = sandbox.run_blocking(call)
    _show(outcome, options.output)
    return UNAVAILABLE if outcome.entry is not None and outcome.entry.status == "sandbox_unavailable" else 0


def _files(options: argparse.Namespace, workspace: Path, extensions: tuple[str, ...]) -> list[str]:
    if options.file is None:
        every = (path for path in workspace.rglob("*") if path.is_file() and not path.is_symlink())
        return sorted(str(path.relative_to(workspace)) for path in every if _takes(extensions, path))
    names = []
    for name in options.file:
        path = (workspace / name).resolve()
        if not path.is_relative_to(workspace) or not path.is_file():
            raise _Bad(f"--file: {name} is no file below {workspace}; name one")
        names.append(str(path.relative_to(workspace)))
    return names


def _takes(extensions: tuple[str, ...], path: Path) -> bool:
    return not extensions or (path.suffix or path.name).lower() in {one.lower() for one in extensions}


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise _Bad(f"{what}: no JSON ({error}); give an object") from error
    if not isinstance(found, dict):
        raise _Bad(f"{what}: {type(found).__name__} is no object; give {{...}}")
    return found


def _show(outcome: Outcome, output: str) -> None:
    entry = outcome.told
    if output == "json":
        print(entry.model_dump_json(exclude_none=True))
        return
    for line in outcome.logs:
        print(f"{line.level:8} {line.message}", file=sys.stderr)
    if isinstance(entry, Prompt):
        wanted = ", ".join(f"{one.id} ({one.type})" for one in entry.fields)
        print(f"{entry.plugin} asks: {entry.reason}\nanswer with --answers: {wanted}")
        return
    used = entry.isolation
    print(f"{entry.plugin} {escape(entry.version)}: {entry.status}" + (f" ({entry.limit})" if entry.limit else ""))
    if entry.error:
        print(f"  error: {entry.error}")
    for path in entry.violations or ():
        print(f"  may not be changed: {path}")
    for change in outcome.changes:
        print(f"  {change.kind} {escape(change.path)}")
    print(
        f"  tier {used.tier or 'none'}, {used.duration_ms} ms, {used.peak_memory_mb:g} MB at most, "
        f"{used.cpu_seconds:g} s of processor" + (f", without {', '.join(used.missing)}" if used.missing else "")
    )


def _doctor(options: argparse.Namespace, settings: SandboxSettings) -> int:
    found = examine(settings)
    if options.output == "json":
        print(found.model_dump_json())
    else:
        print(f"uid {os.geteuid()}: tier {found.tier or 'none: plugins are refused'}")
        for layer, state in found.layers.items():
            print(f"  {layer:18} {state}")
        for canary, state in found.canaries.items():
            print(f"  canary {canary:18} {state}")
        for remedy in found.remedies:
            print(f"  to do: {remedy}")
    return 0 if found.tier else UNAVAILABLE
