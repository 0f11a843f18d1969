"""The manifests of docker/replicas against the settings of the server, the Dockerfile and the file of HAProxy.

`tests/real/test_balancers.py` validates them by Kubernetes' schemas.
"""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from claude_openai.commands.instance.processes import BEYOND_DRAIN_S
from claude_openai.config import SETTINGS, config_from
from claude_openai.web.status import OPEN_PATHS
from tests.capacity_table import memory_mb

DOCKER: Final = Path(__file__).parents[3] / "docker"
FOLDER: Final = DOCKER / "replicas"
KUSTOMIZATION: Final = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: Final[dict[tuple[str, str], Any]] = {
    (found["kind"], found["metadata"]["name"]): found
    for name in KUSTOMIZATION["resources"]
    for found in yaml.safe_load_all((FOLDER / name).read_text())
}
REPLICA: Final = OBJECTS["Deployment", "replica"]["spec"]
HAPROXY: Final = OBJECTS["Deployment", "haproxy"]["spec"]
BALANCER: Final = (FOLDER / "haproxy.cfg").read_text()
DOCKERFILE: Final = (DOCKER / "Dockerfile").read_text()
LOGIN: Final = {"ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"}


def container(deployment: Any) -> Any:
    (found,) = deployment["template"]["spec"]["containers"]
    return found


def environment(deployment: Any) -> dict[str, str]:
    return {each["name"]: each.get("value", "x") for each in container(deployment)["env"]}


def number(pattern: str, text: str) -> int:
    (found,) = re.findall(pattern, text, re.MULTILINE)
    return int(found)


def test_variables_of_a_replica_are_settings_and_valid(tmp_path: Path) -> None:
    given = environment(REPLICA)
    assert {*given} - LOGIN <= {name for setting in SETTINGS for name in setting.variables}
    key = tmp_path / "key"
    key.write_text("secret\n")
    config = config_from([], {**given, "CLAUDE_OPENAI_API_KEY_FILE": str(key)})
    assert (config.api_key, config.output_dir, config.replica) == ("secret", None, "x")


def test_replica_may_end_its_turns_and_outlives_the_check_of_haproxy() -> None:
    given = environment(REPLICA)
    lame_duck_s = int(given["CLAUDE_OPENAI_LAME_DUCK_MS"]) / 1000
    ends_s = lame_duck_s + int(given["CLAUDE_OPENAI_DRAIN_TIMEOUT_MS"]) / 1000 + BEYOND_DRAIN_S
    checked_s = number(r" inter (\d+)s", BALANCER) * number(r" fall (\d+)", BALANCER)
    assert lame_duck_s > checked_s + number(r"timeout check (\d+)s", BALANCER)
    assert REPLICA["template"]["spec"]["terminationGracePeriodSeconds"] > ends_s
    hook_s = int(container(HAPROXY)["lifecycle"]["preStop"]["exec"]["command"][1])
    assert HAPROXY["template"]["spec"]["terminationGracePeriodSeconds"] > hook_s + ends_s


def test_haproxy_finds_as_many_replicas_as_there_may_be_at_their_port() -> None:
    port = number(r"CLAUDE_OPENAI_PORT=(\d+)", DOCKERFILE)
    service = OBJECTS["Service", "replica"]["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    name = f"replica.{KUSTOMIZATION['namespace']}.svc.cluster.local:{port}"
    assert environment(HAPROXY) == {"REPLICAS": name}
    assert "presetenv REPLICAS " in BALANCER
    places = number(r'server-template replica (\d+) "\$\{REPLICAS\}"', BALANCER)
    assert places >= REPLICA["replicas"] + REPLICA["strategy"]["rollingUpdate"]["maxSurge"]
    bound = number(r"bind :(\d+)", BALANCER)
    for deployment, right in ((REPLICA, port), (HAPROXY, bound)):
        assert container(deployment)["ports"] == [{"name": "http", "containerPort": right}]
    for name, right in (("replica", port), ("claude-openai", bound)):
        assert OBJECTS["Service", name]["spec"]["ports"] == [{"name": "http", "port": right, "targetPort": "http"}]


def test_probes_ask_paths_that_need_no_key() -> None:
    found = container(REPLICA)
    paths = {name: found[name]["httpGet"]["path"] for name in found if name.endswith("Probe")}
    assert paths == {"startupProbe": "/health", "readinessProbe": "/ready", "livenessProbe": "/health"}
    assert {*paths.values()} <= OPEN_PATHS


@pytest.mark.parametrize("deployment", [REPLICA, HAPROXY])
def test_containers_have_no_privileges(deployment: Any) -> None:
    assert container(deployment)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    pod = deployment["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)


def test_replica_has_the_user_and_the_folders_of_the_container() -> None:
    user = number(r"^ARG UID=(\d+)", DOCKERFILE)
    security = REPLICA["template"]["spec"]["securityContext"]
    assert {security[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {user}
    compose = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())["services"]["replica"]
    writable = {each["mountPath"] for each in container(REPLICA)["volumeMounts"] if not each.get("readOnly")}
    assert writable == {each.partition(":")[0] for each in compose["tmpfs"]}


def test_replica_has_the_memory_that_its_conversations_need() -> None:
    given = environment(REPLICA)
    needs = memory_mb(*(int(given[f"CLAUDE_OPENAI_MAX_{name}"]) for name in ("CONCURRENCY", "IDLE_SESSIONS")))
    resources = container(REPLICA)["resources"]
    requested, limit = (int(resources[kind]["memory"].removesuffix("Gi")) * 1024 for kind in ("requests", "limits"))
    assert needs <= requested < limit


def test_selectors_select_a_deployment() -> None:
    labels = [deployment["template"]["metadata"]["labels"] for deployment in (REPLICA, HAPROXY)]
    for (kind, _), found in OBJECTS.items():
        spec = found.get("spec", {})
        if kind == "Service":
            assert spec["selector"] in labels
        elif kind in ("Deployment", "PodDisruptionBudget"):
            assert spec["selector"]["matchLabels"] in labels
        elif kind == "NetworkPolicy" and spec["podSelector"]:
            assert spec["podSelector"]["matchLabels"] in labels


def test_names_of_one_file_are_those_of_the_others() -> None:
    assert OBJECTS["Namespace", KUSTOMIZATION["namespace"]]
    assert [each["name"] for each in KUSTOMIZATION["configMapGenerator"]] == ["haproxy"]
    assert HAPROXY["template"]["spec"]["volumes"] == [{"name": "config", "configMap": {"name": "haproxy"}}]
    assert [each["name"] for each in KUSTOMIZATION["images"]] == [container(REPLICA)["image"]]
    key, *_ = REPLICA["template"]["spec"]["volumes"]
    (item,) = key["secret"]["items"]
    (mount,) = (each for each in container(REPLICA)["volumeMounts"] if each["name"] == "key")
    assert environment(REPLICA)["CLAUDE_OPENAI_API_KEY_FILE"] == f"{mount['mountPath']}/{item['path']}"
