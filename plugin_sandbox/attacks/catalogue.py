"""Every attack: its name, its group, what stops it, and how the host can tell."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from plugin_sandbox.attacks import (
    inside_files,
    inside_kernel,
    inside_memory,
    inside_network,
    inside_processes,
    inside_protocol,
    inside_publishing,
)

Function = Callable[[dict[str, Any]], str]

GROUPS: Final = {
    "files": inside_files,
    "publishing": inside_publishing,
    "processes": inside_processes,
    "memory": inside_memory,
    "kernel": inside_kernel,
    "network": inside_network,
    "protocol": inside_protocol,
}

#: Attacks that a limit ends: the statuses that say so.
_LIMITS: Final = {
    "alloc_1g": {"memory_limit"},
    "children_sum": {"memory_limit", "process_limit"},
    "shared_anon_600": {"memory_limit"},
    "spin": {"cpu_limit"},
    "spin_ignore_sigs": {"cpu_limit"},
    "cpu_relay": {"cpu_limit", "timeout", "process_limit"},
    "cpu_of_short_children": {"cpu_limit"},
    "page_tables": {"memory_limit"},
    "regex_bomb": {"cpu_limit"},
    "sleep_forever": {"timeout"},
    "stop_self": {"timeout"},
    "close_all_and_hang": {"timeout"},
    "dribble": {"timeout"},
    "result_flood": {"output_limit"},
    "log_flood": {"output_limit"},
    "claim_timeout": {"failed"},
    "disk_fill": {"disk_limit"},
    "fill_tmp": {"disk_limit"},
    "inode_flood": {"disk_limit"},
    "fork_bomb": {"process_limit", "failed"},
}
#: Attacks that hide behind honest work: that goes on as if there was nothing.
_IDLE: Final = {
    "hold_the_pipes",
    "linger",
    "noise",
    "forged_log",
    "log_of_brackets",
    "many_words",
    "times_out_of_range",
}
#: Answers that are none.
_MALFORMED: Final = {
    *("two_answers", "deep_answer", "endless_number", "not_a_number", "key_twice", "lone_surrogate", "not_utf8"),
    *("number_out_of_range", "huge_question", "question_that_draws"),
    *("not_an_object", "claim_files", "claim_success", "malformed_question", "say_nothing"),
}
#: Attacks whose mark in the workspace the publisher has to refuse.
_PUBLISHED: Final = {
    "edit_protected",
    "delete_protected",
    "protected_dir_to_symlink",
    "setuid_file",
    "nested_dirs",
    "weird_names",
    "hard_link_within",
    "edit_protected_quietly",
    "protected_to_symlink",
    "protected_to_hardlink",
    "protected_to_folder",
    "add_to_protected",
    "other_case",
    "remove_everything",
    "closed_to_its_owner",
    "sparse_many",
    "other_spelling",
    "long_paths",
}
#: Attacks on the host's patience: longer than this, in milliseconds, and they have succeeded. They would wait for a minute.
MOST_MS: Final = {"hold_the_pipes": 10_000, "linger": 10_000, "proxy_flood": 15_000}
#: Attacks that need processes of their own; the standard tier refuses such a plugin as a whole.
FORKING: Final = frozenset(
    {
        *("fork_bomb", "daemonize_survive", "children_sum", "cpu_relay", "clone_parent", "clone3_userns"),
        *("hold_the_pipes", "cpu_of_short_children"),
    }
)
#: What the standard tier does not stop, by the layer that it lacks: `allow_degraded` has to name that.
STANDARD_LACKS: Final = {
    "host_identity": "uts_namespace",
    "disk_fill": "disk_quota",
    "fill_tmp": "disk_quota",
    "inode_flood": "disk_quota",
}
_STOPPED_BY: Final = {
    "files": "mount_namespace, landlock",
    "publishing": "the diff's rules, read beneath the view alone",
    "network": "network_namespace, the proxy's rules",
    "protocol": "the frame's rules, caps, one deadline",
    "processes": "pid_namespace, rlimits, cgroups, seccomp",
    "memory": "rlimits, cgroups, watchdog, seccomp",
    "kernel": "seccomp, namespaces",
}


@dataclass(frozen=True)
class Attack:
    """One attack. `statuses`: how a run that it was stopped in may end; empty: any but a breach."""

    name: str
    group: str
    tries: str
    by: str
    statuses: frozenset[str] = field(default_factory=frozenset)

    @property
    def forks(self) -> bool:
        """Whether its manifest asks for processes."""
        return self.name in FORKING

    @property
    def asks_hosts(self) -> bool:
        """Whether its manifest asks for hosts; the standard tier refuses such a plugin as a whole, too."""
        return self.group == "network"


def _statuses(name: str) -> frozenset[str]:
    if name == "protected_dir_to_symlink":  # an overlay refuses already that the folder is moved away
        return frozenset({"policy_violation", "skipped"})
    if (
        name == "setuid_file"
    ):  # an ordinary user's standard tier leaves the mode as it was: an ordinary file is published
        return frozenset({"policy_violation", "failed", "success"})
    if name in _IDLE:
        return frozenset({"success", "skipped"})
    if name in _MALFORMED:
        return frozenset({"protocol_error"})
    if name in _PUBLISHED:
        return frozenset({"policy_violation", "failed"})
    return frozenset(_LIMITS.get(name, ()))


def functions() -> dict[str, Function]:
    """Return every attack's function by its name."""
    return {
        name: value
        for module in GROUPS.values()
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    }


def attacks() -> tuple[Attack, ...]:
    """Return every attack, in the order of the groups."""
    found = []
    for group, module in GROUPS.items():
        for name, function in functions().items():
            if function.__module__ == module.__name__:
                tries = (function.__doc__ or "").strip()
                found.append(Attack(name, group, tries, _STOPPED_BY[group], _statuses(name)))
    return tuple(found)
