"""Runs one plugin over one workspace and says what came of it: the sandbox's front door.

The order of a call: the package's digest is checked against what was accepted; the workspace is locked against other runs; a box
is built, or the call is refused; the plugin's answer is read by strict rules; what it changed is read from its private view when
nothing of it lives; changes outside the manifest's globs or in protected paths are violations; a clean diff is published.

Published is only what a plugin that ended well leaves: one that failed, timed out, met a limit, asked, was cancelled or broke a rule
publishes nothing, as does a dry run. Hosts that work in place keep the partial writes of a failed plugin; here, on purpose and
for the better, a workspace never holds half of a transformation.

Nothing degrades by itself: a layer that cannot be installed and that the operator does not name in `allow_degraded` ends the call as
sandbox_unavailable, with the layer and the remedy. No hostile input raises.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from plugin_sandbox import manifest, outcome, protocol, workspace
from plugin_sandbox.boxes import NotGranted, cap_limits, resolve_hosts
from plugin_sandbox.conversation import Stop, Talk
from plugin_sandbox.copies import hold_copy
from plugin_sandbox.grants import Grants
from plugin_sandbox.inner.box import Ended, LayerFailed
from plugin_sandbox.launcher import Launcher, Refused, explain
from plugin_sandbox.model import Call, FileChange, Limits, LogRecord, NetworkUse, Outcome, PluginRecord, Tier
from plugin_sandbox.proxy import Proxy, hold_proxy
from plugin_sandbox.settings import SandboxSettings
from plugin_sandbox.slots import SlotTaken, hold_slot, name_place
from plugin_sandbox.zygote import ZygoteLost

_KILLED = -9


@dataclass
class _Run:
    """What is known of a call when it is over."""

    ended: Ended | None = None
    frame: protocol.Frame | protocol.ProtocolError | None = None
    violations: tuple[str, ...] = ()
    changes: tuple[FileChange, ...] = ()
    logs: tuple[LogRecord, ...] = ()
    refused: str = ""
    tier: Tier | None = None
    missing: tuple[str, ...] = ()
    network: tuple[NetworkUse, ...] = ()
    started: float = 0.0
    kept: Outcome | None = None  # of a run of this name that was published before

    def settle(self, call: Call) -> Outcome:
        if self.kept is not None:
            return self.kept
        return outcome.settle(
            call,
            frame=self.frame,
            ended=self.ended,
            refused=self.refused,
            changes=self.changes,
            violations=self.violations,
            logs=self.logs,
            tier=self.tier,
            missing=self.missing,
            network=self.network,
            duration_ms=round((time.monotonic() - self.started) * 1000),
        )


def state_folder(settings: SandboxSettings) -> Path:
    """Where slots, locks and intents lie."""
    if settings.state_dir is not None:
        return settings.state_dir
    if os.geteuid() == 0:
        return Path("/var/lib/baton/sandbox")
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "baton" / "sandbox"


class Sandbox:
    """Runs plugins; one for a worker process, shared by its tasks. Close it with `aclose`.

    force_tier and off are for the attack suite and the command line: a tier as named, and layers left out of an otherwise closed box.
    """

    def __init__(self, settings: SandboxSettings, *, force_tier: Tier | None = None, off: tuple[str, ...] = ()) -> None:
        self._settings = settings
        self._state = state_folder(settings)
        self._pool = ThreadPoolExecutor(settings.slots, thread_name_prefix="sandbox")
        self._launcher = Launcher(settings, force_tier, off)

    @property
    def tier(self) -> Tier:
        """The tier of the moment."""
        return self._launcher.tier

    @property
    def missing(self) -> tuple[str, ...]:
        """Layers that are missing by permission."""
        return self._launcher.missing

    @property
    def layers(self) -> dict[str, str]:
        """What the last box was built of: layer -> on, or off."""
        return self._launcher.layers

    def start(self) -> None:
        """Start the zygote ahead of the first call: before a pool of workers forks, so that they share it."""
        self._launcher.start()

    async def run(self, call: Call, *, stop: asyncio.Event | None = None) -> Outcome:
        """Run a call to its end and return what came of it.

        Setting `stop` ends it as cancelled. So does cancelling the task, which then raises as it must, when nothing of the call lives
        any more. Neither publishes.
        """
        halt = Stop()
        work = asyncio.get_running_loop().run_in_executor(self._pool, self.run_blocking, call, halt)
        watcher = asyncio.create_task(_forward(stop, halt)) if stop is not None else None
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            halt.set()
            await asyncio.wait([work])
            raise
        finally:
            if watcher is not None:
                watcher.cancel()
            halt.close()

    async def aclose(self) -> None:
        """End the zygote; calls that run are waited for."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """As aclose, for those without a loop."""
        self._pool.shutdown(wait=True)
        self._launcher.close()

    def run_blocking(self, call: Call, halt: Stop | None = None) -> Outcome:
        """As run, in the calling thread; setting `halt` ends it as cancelled, and the caller closes that."""
        if halt is None:
            with contextlib.closing(Stop()) as never:
                return self.run_blocking(call, never)
        run = _Run(started=time.monotonic())
        try:
            self._perform(call, halt, run)
        except (Refused, NotGranted, ZygoteLost, SlotTaken, workspace.WorkspaceError) as refusal:
            if halt.is_set and run.ended is None:
                run.ended = _cancelled()  # it ended while it waited for its turn
            else:
                run.refused = str(refusal)
        except protocol.ProtocolError as error:  # the request is none: nothing was run
            run.frame, run.ended = error, Ended(exit_code=1, signal=0, bit=None, peak_memory_bytes=0, cpu_seconds=0.0)
        except LayerFailed as failed:
            run.refused = explain(failed.layer, failed.text)
        except OSError as error:
            run.refused = f"{error.filename or 'sandbox'}: {error.strerror or error}; see that the host has room and rights for it"
        limits = cap_limits(call.plugin.manifest.isolation, self._settings.ceilings)
        run.missing = self._launcher.missing_for(limits) if run.tier else ()
        return run.settle(call)

    def _perform(self, call: Call, halt: Stop, run: _Run) -> None:
        if not call.workspace.is_dir():
            raise Refused(f"{call.workspace}: is not a directory; name the workspace of the run")
        _check_digest(call.plugin)
        limits = cap_limits(call.plugin.manifest.isolation, self._settings.ceilings)
        base = self._settings.slot_uid_base if os.geteuid() == 0 else None
        slots = hold_slot(self._state / "slots", self._settings.slots, base, lambda: halt.is_set)
        with workspace.workspace_lock(call.workspace, self._state, lambda: halt.is_set), slots as slot:
            workspace.recover(call.workspace, self._state)
            run.kept = self._read_kept(call)
            if run.kept is not None:
                return
            uid = base + slot if base is not None else None
            while not self._try_run(call, limits, uid, name_place(self._state / "slots", slot), halt, run):
                pass  # refused, and permitted to go on without what was missing

    def _read_kept(self, call: Call) -> Outcome | None:
        """Return what came of a run of this name, of this very plugin: an app's next version may name another one in its place."""
        receipt = workspace.read_receipt(self._state, call.run) if call.run else None
        kept = None if receipt is None else Outcome.model_validate_json(receipt)
        if kept is None or kept.entry is None or kept.entry.plugin != call.plugin.manifest.name:
            return None
        return kept

    def _try_run(self, call: Call, limits: Limits, uid: int | None, place: str, halt: Stop, run: _Run) -> bool:
        """Run in the box of the moment; False if it could not be built and another may be."""
        if halt.is_set:
            run.ended = _cancelled()
            return True
        tier, needs_copy = self._launcher.tier, self._launcher.needs_copy
        grants = resolve_hosts(call.plugin.manifest.isolation, self._settings)
        with _private_view(call, limits, uid, place, needs_copy=needs_copy) as view:
            with _way_out(grants, limits, place) as proxy:
                talk = self._launcher.launch(call, limits, view, uid, place, halt, proxy.path if proxy else "")
            run.network = proxy.uses() if proxy else ()
            try:
                if talk.refused is not None:
                    self._launcher.accept_missing(*talk.refused)
                    return False
                run.tier = tier
                copy = view if needs_copy else None
                changes = self._judge(call, limits, run, talk, copy)
                if not halt.is_set:
                    self._publish(call, run, changes, talk, copy)
                elif run.ended is not None and run.ended.bit is None:
                    run.ended = replace(run.ended, bit="cancelled")  # it ended well, and too late
            finally:
                talk.close()
        return True

    def _judge(self, call: Call, limits: Limits, run: _Run, talk: Talk, copy: Path | None) -> workspace.Changes:
        """Read what the plugin said and did, by strict rules; return what it did."""
        run.ended = _name_limit(_how_it_ended(talk), talk, limits)
        if run.ended is None:
            raise Refused(
                "monitor: it went away without a word, so what happened is unknown; nothing was published; run again"
            )
        run.logs = protocol.parse_logs(talk.stderr, call.plugin.manifest.name)
        try:
            run.frame = protocol.parse_result(talk.result)
        except protocol.ProtocolError as error:
            run.frame = error
        changes = _read_changes(call, limits, talk, copy)
        run.violations = workspace.find_violations(
            changes, writes=call.plugin.manifest.writes, protected=self._settings.protected
        )
        return changes

    def _publish(self, call: Call, run: _Run, changes: workspace.Changes, talk: Talk, copy: Path | None) -> None:
        """Take the changes of a run that ended well over into the workspace."""
        if not changes.entries:
            return
        verdict = run.settle(call)
        if call.dry_run or verdict.entry is None or verdict.entry.status not in {"success", "skipped"}:
            return
        receipt = None
        if call.run:
            run.changes = workspace.tell_changes(changes)
            receipt, run.changes = (call.run, run.settle(call).model_dump_json()), ()
        with _open_source(talk, copy) as source:
            run.changes = workspace.publish(call.workspace, changes, source, self._state, receipt=receipt)


def _check_digest(plugin: PluginRecord) -> None:
    """See that a package is the one that was accepted; raise Refused."""
    try:
        found, why = manifest.digest_of(plugin.path), ""
    except manifest.ManifestInvalid as error:
        found, why = "", f" ({error})"
    except OSError as error:
        found, why = "", f" ({error.filename}: {error.strerror})"
    if found != plugin.digest:
        raise Refused(f"{plugin.path}: changed since it was accepted{why}; look at it, and register it again")


@contextlib.contextmanager
def _private_view(call: Call, limits: Limits, uid: int | None, place: str, *, needs_copy: bool) -> Iterator[Path]:
    """What goes into the box as its workspace: the real one below an overlay, or a copy of it."""
    if not needs_copy:
        yield call.workspace.resolve()
        return
    with hold_copy(call.workspace, limits, uid, place) as copy:
        yield copy


@contextlib.contextmanager
def _way_out(grants: Grants | None, limits: Limits, place: str) -> Iterator[Proxy | None]:
    """The proxy of a call that may reach hosts."""
    if grants is None:
        yield None
        return
    with hold_proxy(grants, limits.network_mb * 2**20, place) as proxy:
        yield proxy


def _read_changes(call: Call, limits: Limits, talk: Talk, copy: Path | None) -> workspace.Changes:
    if copy is not None:
        return workspace.compare_copy(call.workspace, copy, limits=limits)
    if talk.changes_fd < 0:
        return workspace.Changes()  # it was ended before its box was built
    return workspace.read_changes(talk.changes_fd, call.workspace, limits=limits)


@contextlib.contextmanager
def _open_source(talk: Talk, copy: Path | None) -> Iterator[int]:
    if copy is None:
        yield talk.changes_fd
        return
    descriptor = os.open(copy, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _how_it_ended(talk: Talk) -> Ended | None:
    """The monitor's word, with the host's reason where the host ended the call; None if nobody knows."""
    if talk.over is None:
        return talk.ended
    if talk.ended is None:
        return Ended(exit_code=_KILLED, signal=-_KILLED, bit=talk.over, peak_memory_bytes=0, cpu_seconds=0.0)
    return replace(talk.ended, bit=talk.over)


def _name_limit(ended: Ended | None, talk: Talk, limits: Limits) -> Ended | None:
    """Say which of two limits bit, where the monitor knows but their kind: bytes or inodes, result or log."""
    if ended is None:
        return None
    if ended.bit == "output" and len(talk.result) < limits.result_kb * 1024:
        return replace(ended, limit="stderr_kb")
    if ended.disk_full and talk.changes_fd >= 0 and os.fstatvfs(talk.changes_fd).f_favail == 0:
        return replace(ended, limit="inodes")
    return ended


def _cancelled() -> Ended:
    return Ended(exit_code=_KILLED, signal=-_KILLED, bit="cancelled", peak_memory_bytes=0, cpu_seconds=0.0)


async def _forward(stop: asyncio.Event, halt: Stop) -> None:
    await stop.wait()
    halt.set()
