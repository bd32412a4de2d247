"""What each check of the doctor finds, and what it offers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from routerd import __version__
from routerd.agent.doctor import installed, listening, machine, models, remains, settings
from routerd.agent.doctor.examine import examine, mend
from routerd.agent.doctor.finding import Agent, Finding, Level, Scene, fail, ok, warn, worst
from routerd.agent.manager import State
from routerd.agent.starts import FILE, Starts
from routerd.config.load import load
from routerd.crashes import Crash, keep
from routerd_client.protocol import PROTOCOL, StatusResult
from routerd_client.records import BackendStatus, BreakerState, ConfigError, LedgerStatus, ModelStatus, Residency
from tests.support.daemon import make_places
from tests.support.tiny_model import make_tiny_model
from tests.support.wait import until_blocking


@pytest.fixture
def scene(tmp_path: Path, sockets: Path) -> Scene:
    (tmp_path / "state").mkdir(mode=0o700)
    places = make_places(tmp_path, sockets)
    return Scene(places=places, program=Path(sys.executable).with_name("routerd"), token=places.state / "http-token")


@pytest.fixture
def listens(scene: Scene) -> Iterator[Path]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(scene.places.socket))
        scene.places.socket.chmod(0o600)
        yield scene.places.socket


STATUS = StatusResult(
    id=0,
    version="0.1.0",
    protocol=PROTOCOL,
    pid=os.getpid(),
    uptime_s=1.0,
    generation=3,
    config="",
    socket="",
    state_dir="",
    log_file="",
    default="a",
    backends=[],
    models=[],
    endpoints=[],
    routes=0,
    requests={},
)


def said(findings: Iterator[Finding] | list[Finding]) -> list[tuple[str, str]]:
    """Level and words of each finding that is not ok."""
    return [(finding.level.value, finding.says) for finding in findings if finding.level is not Level.OK]


def test_the_worst_finding_counts() -> None:
    assert worst([]) is Level.OK
    assert worst([ok("a", ""), warn("b", "")]) is Level.WARN
    assert worst([fail("a", ""), warn("b", "")]) is Level.FAIL


# The agent


def test_an_agent_whose_program_is_gone_is_a_failure_with_its_fix(scene: Scene, tmp_path: Path) -> None:
    gone = tmp_path / "Cellar/routerd/0.0.9/bin/routerd"
    found = list(installed.agent(with_agent(scene, program=gone, loaded=True, pid=1)))

    assert said(found) == [("fail", f"it starts {gone}, but it is gone")]
    assert found[0].fix.startswith("routerctl install")


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("#!/no/such/venv/bin/python3.11\n", "needs /no/such/venv/bin/python3.11, which is gone"),
        ("#!/bin/sh\n'''exec' \"/no such/python3\" \"$0\" \"$@\"\n' '''\n", "needs /no such/python3, which is gone"),
        ("#!/bin/sh\n", "is in a temporary folder"),
    ],
)
def test_a_program_is_looked_through_to_its_python(first: str, words: str, tmp_path: Path) -> None:
    shim = tmp_path / "routerd"
    shim.write_text(first)
    shim.chmod(0o700)

    (found,) = installed.program(shim)
    assert words in found.says


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"loaded": False}, "the service manager does not know it"),
        ({"loaded": True, "last_exit": "exit-code, status 2"}, "it ended: exit-code, status 2"),
        ({"loaded": True, "pid": 1}, "a daemon that is not the login agent's answers"),
        ({"loaded": True, "pid": os.getpid()}, ""),
    ],
    ids=["unloaded", "ended", "another", "well"],
)
def test_an_agent_is_compared_with_the_daemon_that_answers(scene: Scene, state: dict[str, object], words: str) -> None:
    asked = with_agent(replace(scene, status=STATUS), **state)
    assert [words] * bool(words) == [words for _, text in said(installed.agent(asked)) if words in text]


def with_agent(scene: Scene, **state: object) -> Scene:
    return replace(scene, agent=Agent(name="systemd", state=State(installed=True, **state)))  # type: ignore[arg-type]


# The daemon and its socket


def test_without_a_daemon_the_reason_is_told(scene: Scene) -> None:
    assert said(listening.daemon(replace(scene, unanswered="nobody answers"))) == [("fail", "nobody answers")]


def test_a_daemon_of_another_version_or_protocol_is_told(scene: Scene) -> None:
    older = replace(scene, status=replace(STATUS, version="0.0.9", protocol=PROTOCOL + 1))
    (protocol, versions) = said(listening.versions(older))
    assert protocol[0] == "fail"
    assert versions == ("warn", f"they differ: routerctl {__version__}, client {__version__}, daemon 0.0.9")


def test_records_that_are_kept_in_memory_alone_are_told(scene: Scene) -> None:
    ledger = LedgerStatus(file="l", mode="memory", reason="disk full")
    found = said(listening.daemon(replace(scene, status=replace(STATUS, ledger=ledger))))
    assert found == [("warn", "records are kept in memory alone: disk full")]


def test_a_damaged_ledger_that_was_set_aside_is_told(scene: Scene) -> None:
    ledger = LedgerStatus(file="l", mode="file", set_aside="/s/l.corrupt-1")
    found = said(listening.daemon(replace(scene, status=replace(STATUS, ledger=ledger))))
    assert found == [("warn", "the ledger was damaged, and begun anew: what was in it is in /s/l.corrupt-1")]


def test_mistakes_of_the_file_are_told_once(scene: Scene) -> None:
    wrong = ConfigError("routes.yaml", 1, 1, "unknown key 'x'")
    refused = replace(scene, status=replace(STATUS, config_errors=[wrong]))
    daemon, now = "it refused the newest configuration: generation 3 stays in force", replace(refused, errors=[wrong])

    assert said(listening.daemon(now)) == [("fail", daemon)]
    assert said(settings.config(now)) == [("fail", str(wrong))]
    assert next(reversed(list(listening.daemon(refused)))).fix == "routerctl reload: the file has no mistakes any more"


def test_a_socket_that_others_may_open_is_closed_by_fix(scene: Scene, listens: Path) -> None:
    listens.chmod(0o666)
    listens.parent.chmod(0o755)
    served = replace(scene, status=STATUS)

    found = list(listening.socket(served))
    assert [level for level, _ in said(found)] == ["fail", "fail"]
    assert [error for _, error in mend(found)] == ["", ""]
    assert said(listening.socket(served)) == []


def test_a_socket_without_its_daemon_is_removed_by_fix(scene: Scene, listens: Path) -> None:
    (found,) = listening.socket(scene)
    assert "was left by a daemon that is gone" in found.says
    assert [error for _, error in mend([found])] == [""]
    assert not listens.exists()
    assert list(listening.socket(scene)) == []


def test_a_socket_that_the_service_manager_holds_is_not_taken_for_left(scene: Scene, listens: Path) -> None:
    assert list(listening.socket(with_agent(scene, loaded=True))) == []
    assert listens.exists()


def test_a_socket_that_was_deleted_under_its_daemon_is_a_failure(scene: Scene) -> None:
    assert "was deleted under the daemon" in said(listening.socket(replace(scene, status=STATUS)))[0][1]


def test_backends_that_rest_and_models_that_failed_are_told(scene: Scene) -> None:
    rests = BackendStatus(name="a", kind="openai", model="m", breaker=BreakerState.OPEN, last_error="503")
    failed = ModelStatus(backend="b", model="m", residency=Residency.FAILED, error="no such file")
    found = said(listening.backends(replace(scene, status=replace(STATUS, backends=[rests], models=[failed]))))
    assert found == [("warn", "a is given a rest: 503"), ("warn", "b: no such file")]


# Configuration, secrets, models


def configured(scene: Scene, text: str) -> Scene:
    scene.places.config.write_text(text)
    return replace(scene, config=load(text, str(scene.places.config)).config, environ=dict(os.environ))


SECRETS = """
backends:
  a: {openai: {model: m, base_url: "https://a.invalid/v1", api_key: {env: NOT_SET_ANYWHERE}}}
  b: {openai: {model: m, base_url: "https://b.invalid/v1", api_key: {file: key}}}
default: a
"""


def test_secrets_are_looked_up_by_the_daemons_program_in_its_environment(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-something")
    asked = configured(scene, SECRETS)

    ((level, says),) = said(settings.resolvable(asked))
    assert level == "fail"
    assert "NOT_SET_ANYWHERE is not set" in says
    assert said(settings.resolvable(replace(asked, environ={**asked.environ, "NOT_SET_ANYWHERE": "sk-x"}))) == []


def test_a_file_of_a_secret_that_others_may_read_is_closed_by_fix(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-something")
    (tmp_path / "key").chmod(0o644)
    asked = configured(scene, SECRETS)

    (found,) = settings.readable(asked)
    assert found.level is Level.WARN
    assert [error for _, error in mend([found])] == [""]
    assert list(settings.readable(asked)) == []


def test_a_front_that_does_not_answer_or_has_no_token_is_a_failure(scene: Scene) -> None:
    text = "backends: {a: {mlx: {model: demo}}}\ndefault: a\nhttp: {listen: '127.0.0.1:8765'}\n"
    asked = replace(configured(scene, text), status=replace(STATUS, http_error="the port is taken"))
    found = said(settings.front(asked))
    assert found[0] == ("fail", "the port is taken")
    assert "cannot be read" in found[1][1]


def test_models_are_there_whole_and_fit(scene: Scene, tmp_path: Path) -> None:
    whole, cut = make_tiny_model(tmp_path / "whole"), make_tiny_model(tmp_path / "cut")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    text = f"""
backends:
  whole: {{mlx: {{model: {whole}}}}}
  cut: {{mlx: {{model: {cut}}}}}
  away: {{mlx: {{model: some-org/some-model}}}}
  first: {{mlx: {{model: demo}}}}
default: whole
"""
    asked = configured(scene, text)
    found = {finding.says.partition(":")[0]: finding for finding in models.models(asked)}

    assert found["whole"].level is Level.OK
    assert "cut short" in found["cut"].says
    assert found["away"].fix == "routerctl models pull some-org/some-model"
    assert "made ready on its first use" in found["first"].says

    small = replace(asked.config, memory=replace(asked.config.memory, budget=1_000_000))  # type: ignore[union-attr,type-var]
    found = {finding.says.partition(":")[0]: finding for finding in models.models(replace(asked, config=small))}
    assert (found["whole"].level, found["whole"].check) == (Level.FAIL, "memory")


# What is left, and the machine


def test_a_model_process_without_its_daemon_is_ended_by_fix(scene: Scene) -> None:
    code = "import time; time.sleep(300)  # routerd.worker"
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as left:
        try:
            record = [{"pid": left.pid, "started": "then", "backend": "small"}, {"pid": 2**22 + 1, "backend": "gone"}]
            (scene.places.state / "workers.json").write_bytes(msgspec.json.encode(record))
            found = list(remains.workers(scene))
            assert said(found) == [("warn", f"the model process of small (pid {left.pid}) outlived its daemon")]
            assert [error for _, error in mend(found)] == [""]
            until_blocking(lambda: left.poll() is not None, "it has ended")
        finally:
            left.kill()
    assert said(remains.workers(scene)) == []


def test_what_died_within_a_day_is_told(scene: Scene) -> None:
    crash = Crash(at=datetime.now(UTC).isoformat(), backend="small", pid=1, kind="worker_died", says="it was killed")
    assert said(remains.crashes(scene)) == []
    keep(scene.places.state, replace(crash, at="2020-01-01T00:00:00+00:00"))
    assert said(remains.crashes(scene)) == []

    keep(scene.places.state, crash)
    now = time.time()
    starts = Starts(running=1, crashes=(now - 3, now - 2, now - 1))
    (scene.places.state / FILE).write_bytes(msgspec.json.encode(starts))
    assert said(remains.crashes(scene)) == [
        ("fail", "the daemon crashed 3 times within an hour"),
        ("warn", "died within a day: 1 model process, last small: it was killed"),
    ]


@pytest.mark.parametrize(("free", "level"), [(99_000_000, "fail"), (900_000_000, "warn"), (2_000_000_000, "ok")])
def test_a_disk_that_fills_up_is_told(free: int, level: str) -> None:
    assert machine.space(Path("/"), free).level.value == level


def test_a_clock_before_what_was_written_is_told() -> None:
    assert machine.told(1_800_000_000.0, 1_800_000_030.0).level is Level.OK
    assert "files here are 2h younger" in machine.told(1_800_000_000.0, 1_800_007_200.0).says


def test_logs_that_grew_beyond_rotation_are_told(scene: Scene) -> None:
    scene.places.logs.mkdir()
    with (scene.places.logs / "agent.err").open("wb") as file:
        file.truncate(machine.LOGS + 1)
    ((_, says),) = said(machine.logs(scene))
    assert says.startswith("100MB in ")


def test_a_check_that_breaks_does_not_keep_the_others(scene: Scene, tmp_path: Path) -> None:
    text = SECRETS.replace("{file: key}", "{env: HOME}")
    found = list(examine(replace(configured(scene, text), program=tmp_path / "none")))

    assert any("this could not be looked at" in finding.says for finding in found)
    assert {"config", "disk", "clock"} <= {finding.check for finding in found}


def test_what_cannot_be_mended_says_why() -> None:
    def refuse() -> None:
        raise PermissionError(1, "Operation not permitted")

    assert [error for _, error in mend([warn("a", "b", mend=refuse), warn("c", "d")])] == ["Operation not permitted"]
