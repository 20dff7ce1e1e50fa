"""Every attack of the suite against the real box, as root and as an ordinary user, in both tiers; and the layers one by one."""

import contextlib
import ctypes
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin_sandbox.attacks.arena import Arena, make_arena
from plugin_sandbox.attacks.catalogue import Attack, attacks
from plugin_sandbox.attacks.cli import settings_for
from plugin_sandbox.attacks.runner import check_control, run_attack, run_attacks
from plugin_sandbox.host import Sandbox
from plugin_sandbox.manifest import read_manifest
from tests.sandbox.ordinary import ORDINARY, run_as

#: An attack, and the layers without which it succeeds in an otherwise closed box: what proves that it bites.
SHARP = [
    ("memfd_exec", ("seccomp",)),
    ("flock_channel", ("seccomp",)),
    ("keyrings", ("seccomp",)),
    ("personality_noaslr", ("seccomp",)),
    ("widen_affinity", ("seccomp",)),
    ("sysv_shm_600", ("seccomp",)),
    ("netlink_socket", ("seccomp",)),
    ("outlive_monitor", ("seccomp",)),
    ("pipe_buffers", ("seccomp", "rlimits")),
    ("gain_privs", ("no_new_privs", "seccomp", "landlock")),
    ("open_many_files", ("rlimits",)),
    ("host_identity", ("uts_namespace",)),
    *((name, ("seccomp",)) for name in ("kcmp", "userfaultfd", "seccomp_own", "landlock_own", "lease_freeze")),
    *((name, ("disk_quota",)) for name in ("disk_fill", "inode_flood", "fill_tmp")),
    *((name, ("rlimits",)) for name in ("sparse_1tb", "thread_bomb", "socket_buffers", "raise_rlimits")),
    ("core_dump", ("rlimits", "seccomp")),
    *((name, ("seccomp",)) for name in ("flush_the_disk", "drop_the_cache", "forge_overlay_marks", "dump_by_pipe")),
    ("whiteout_by_rename", ("seccomp",)),
    *((name, ("seccomp",)) for name in ("descriptors_in_flight", "leave_for_the_next", "switches_of_the_process")),
    *((name, ("seccomp",)) for name in ("every_socket_family", "datagram_pair", "old_aio", "watch_files")),
    ("page_tables", ("watchdog",)),
    ("read_network_tables", ("network_namespace",)),
    ("listen_port", ("seccomp", "landlock")),
    ("mount_interface", ("seccomp", "landlock", "capabilities")),
    ("lock_memory", ("seccomp", "rlimits")),
    ("inherited_fds", ("closed_fds",)),
    ("new_userns", ("seccomp", "user_namespace")),
    ("fifo_in_output", ("seccomp", "landlock")),
    ("fork_bomb", ("pids_cgroup", "watchdog", "rlimits")),
    ("tcp_loopback", ("network_namespace", "seccomp", "landlock")),
    ("udp_loopback", ("network_namespace", "seccomp")),
    ("unix_abstract", ("network_namespace", "seccomp", "landlock")),
]
if os.uname().machine == "x86_64":  # no other kernel has the call
    SHARP.extend([("modify_ldt", ("seccomp",)), ("i386_abi", ("seccomp",))])
if os.geteuid() == 0:  # an ordinary user's plugin has no identity of the host's to keep
    SHARP.append(("is_host_root", ("slot_uid", "capabilities")))
    SHARP += [
        (name, ("seccomp", "landlock", "capabilities"))
        for name in ("chroot_escape", "remount_rw", "raw_socket", "packet_socket", "fsopen", "set_hostname")
    ]


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """The suite's targets."""
    with make_arena() as made:
        yield made


@pytest.fixture(scope="module")
def sandbox(arena: Arena) -> Iterator[Sandbox]:
    """A strict sandbox in which honest work passes."""
    made = Sandbox(settings_for("strict", arena), force_tier="strict")
    check_control(made, arena, settings_for("strict", arena))
    yield made
    made.close()


@pytest.mark.parametrize("attack", attacks(), ids=lambda one: one.name)
def test_the_strict_tier_stops_it(sandbox: Sandbox, arena: Arena, attack: Attack) -> None:
    """Whoever runs the suite: no attack gets through the strict tier."""
    result = run_attack(sandbox, attack, arena, settings_for("strict", arena), "strict")

    assert result.stopped, result.outcome


@pytest.mark.parametrize(("name", "off"), SHARP, ids=str)
def test_without_its_layer_it_succeeds(arena: Arena, name: str, off: tuple[str, ...]) -> None:
    """An attack that nothing lets through proves nothing: with just this layer left out, it gets through."""
    chosen = [one for one in attacks() if one.name == name]
    settings = settings_for("strict", arena)

    (result,) = run_attacks(chosen, arena, settings, tier="strict", off=off)

    assert not result.stopped, f"{name} is stopped without {off}: {result.outcome}"


def test_a_name_that_leads_inside_is_reached_where_the_operator_permits_it(arena: Arena) -> None:
    """The proxy's rule about addresses is what stops it, and nothing else: without it, it gets through."""
    (attack,) = [one for one in attacks() if one.name == "proxy_rebound_name"]
    settings = settings_for("strict", arena).model_copy(update={"private_hosts": arena.hosts})

    (result,) = run_attacks([attack], arena, settings)

    assert not result.stopped, result.outcome


def test_numbers_that_a_machine_does_not_have_are_no_breach(arena: Arena) -> None:
    """aarch64, and most kernels of x86_64, have no x32: there the attack is answered as any unknown call, filter or not."""
    (attack,) = [one for one in attacks() if one.name == "x32_abi"]
    has_x32 = ctypes.CDLL(None).syscall(ctypes.c_long(0x4000_0000 + 39)) >= 0

    (result,) = run_attacks([attack], arena, settings_for("strict", arena), off=("seccomp",))

    assert result.stopped is not has_x32, result.outcome


def test_a_slow_machine_is_given_time() -> None:
    """Else an emulated one would end each attack by its processor's limit, and prove nothing of the layer that is to stop it."""
    with make_arena(patience=3) as arena:
        settings = settings_for("strict", arena)

        with contextlib.closing(Sandbox(settings)) as sandbox:
            check_control(sandbox, arena, settings)

        isolation = read_manifest(arena.home / "plugin-0-0", settings).isolation
        assert (isolation.timeout_seconds, isolation.cpu_seconds) == (60, 6)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("uid", "tier"), [(ORDINARY, "strict"), (ORDINARY, "standard"), (0, "standard")])
def test_whoever_runs_it_in_whichever_tier(home: Path, uid: int, tier: str) -> None:
    """The command that anybody may run on a host of their own, as a user without any right, finds no breach."""
    said = run_as(uid, ["-m", "plugin_sandbox", "attack", "-o", "json", "--tier", tier], home)

    results = [json.loads(line) for line in said.splitlines()]
    assert [
        f"{one['name']}: {one['outcome']}" for one in results if not one["stopped"] and one["by"] not in LACKS
    ] == []
    assert {one["uid"] for one in results} == {uid}
    assert len(results) > 100 or tier == "standard"


#: What the standard tier lacks by its nature; the suite names both in `allow_degraded`.
LACKS = {"uts_namespace", "disk_quota"}
