"""``routerctl`` as it is typed, against the real daemon: what it prints, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routerd_client.records import Residency
from tests.support.daemon import Standalone, ctl, standalone_daemon

DONE, FAILED, WRONG, NO_DAEMON = 0, 1, 2, 3
BAD = "version: 1\nbackends:\n  small: {mlx: {modle: demo}}\ndefault: small\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ctl")


@pytest.fixture(scope="module")
def text(tiny: Path) -> str:
    return f"""\
version: 1
backends:
  small: {{mlx: {{model: {tiny}, max_tokens: 8}}}}
  large: {{mlx: {{model: {tiny}, max_tokens: 8}}}}
endpoints:
  primary: {{fallback: [small, large]}}
routes:
  - {{name: plans, match: {{task: plan}}, use: large}}
  - {{name: coding, match: {{client: claude-code, has_tools: true}}, use: large}}
default: primary
"""


@pytest.fixture(scope="module")
def daemon(folder: Path, text: str) -> Iterator[Standalone]:
    """One daemon for all of these: none of them leaves a mark that the next one minds."""
    with standalone_daemon(folder, text) as running:
        yield running


def printed(daemon: Standalone, *arguments: str, exits: int = DONE) -> Any:
    done = daemon.ctl(*arguments, "--json")
    assert (done.returncode, done.stderr) == (exits, "")
    return json.loads(done.stdout)


def test_status_shows_daemon_backends_and_models(daemon: Standalone) -> None:
    done = daemon.ctl("status")
    assert (done.returncode, done.stderr) == (DONE, "")
    assert f"pid {daemon.process.pid}" in done.stdout
    assert str(daemon.places.config) in done.stdout
    assert {"small", "large"} <= set(done.stdout.split())
    assert "IN THE LAST  REQUESTS" in done.stdout


def test_status_as_json_has_these_keys(daemon: Standalone) -> None:
    status = printed(daemon, "status")
    assert {"version", "protocol", "pid", "uptime_s", "generation", "config", "socket", "log_file"} <= status.keys()
    assert {"backends", "models", "endpoints", "routes", "requests", "config_errors", "last_reload"} <= status.keys()
    backend, model = status["backends"][0], status["models"][0]
    assert {"name", "kind", "model", "breaker", "retry_in_s", "last_error", "success_rate"} <= backend.keys()
    assert {"backend", "residency", "pid", "in_flight", "memory_bytes", "idle_unload_s", "error"} <= model.keys()
    assert (backend["breaker"], status["default"]) == ("closed", "primary")


def test_ask_prints_the_answer_and_tells_about_it_on_stderr(daemon: Standalone) -> None:
    done = daemon.ctl("ask", "hello", "--temperature", "0")
    assert done.returncode == DONE
    assert done.stdout.strip()
    assert "[small, " in done.stderr
    assert "+ 8 tokens" in done.stderr


def test_ask_reads_its_question_from_stdin(daemon: Standalone) -> None:
    done = daemon.ctl("ask", "-", "--max-tokens", "2", stdin="hello\n")
    assert done.returncode == DONE
    assert "+ 2 tokens" in done.stderr


def test_ask_as_json_has_the_answer_and_its_way(daemon: Standalone) -> None:
    done = printed(daemon, "ask", "hello", "-c", "task=plan", "--max-tokens", "3")
    assert (done["backend"], done["route"], done["finish_reason"]) == ("large", "plans", "length")
    assert done["usage"]["completion_tokens"] == 3
    assert done["message"]["role"] == "assistant"
    assert [attempt["outcome"] for attempt in done["attempts"]] == ["ok"]


def test_ask_for_an_unknown_model_fails_with_the_nearest_name(daemon: Standalone) -> None:
    done = daemon.ctl("ask", "hello", "--model", "smal")
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert "did you mean 'small'?" in done.stderr
    failed = printed(daemon, "ask", "hello", "--model", "smal", exits=FAILED)
    assert failed["error"]["code"] == "not_found"


def test_explain_tells_the_way_of_a_request(daemon: Standalone) -> None:
    done = daemon.ctl("explain", "hello", "-c", "task=plan")
    assert done.returncode == DONE
    assert "plans: match (task=plan) -> large" in done.stdout


def test_explain_stands_for_another_request_and_another_client(daemon: Standalone) -> None:
    decision = printed(daemon, "explain", "hello", "--image")
    assert {each["reason"] for each in decision["skipped"]} == {"it sees no images"}
    assert "skipped small: it sees no images" in daemon.ctl("explain", "hello", "--image").stdout
    asked = printed(daemon, "explain", "hello", "--tools", "--client", "claude-code")
    assert asked["route"] == "coding"
    assert not printed(daemon, "explain", "hello", "--tools")["route"]
    assert not printed(daemon, "explain", "hello", "--client", "claude-code")["route"]


def test_explain_as_json_has_these_keys(daemon: Standalone) -> None:
    decision = printed(daemon, "explain", "hello", "-c", "task=plan")
    keys = {"route", "endpoint", "named", "candidates", "skipped", "overrides", "scores", "trace", "generation"}
    assert decision.keys() == keys | {"variant"}
    assert (decision["route"], decision["endpoint"], decision["skipped"]) == ("plans", "large", [])
    assert decision["candidates"][0]["backend"] == "large"
    assert "plans: match (task=plan) -> large" in decision["trace"]


def test_models_are_loaded_and_unloaded(daemon: Standalone) -> None:
    loaded = {m["backend"]: m for m in printed(daemon, "models", "load", "small")["models"]}
    assert loaded["small"]["residency"] == Residency.READY.value
    assert loaded["small"]["memory_bytes"] > 0
    unloaded = {m["backend"]: m for m in printed(daemon, "models", "unload", "small")["models"]}
    assert (unloaded["small"]["residency"], unloaded["small"]["pid"]) == (Residency.STOPPED.value, None)
    assert "stopped" in daemon.ctl("models").stdout


def test_an_unknown_model_process_cannot_be_loaded(daemon: Standalone) -> None:
    done = daemon.ctl("models", "load", "medium")
    assert done.returncode == FAILED
    assert "the backends are: small, large" in done.stderr


def test_reload_says_that_nothing_changed(daemon: Standalone) -> None:
    done = daemon.ctl("reload")
    assert (done.returncode, "nothing changed" in done.stdout) == (DONE, True)


def test_reload_of_a_wrong_file_lists_the_mistakes_and_exits_2(daemon: Standalone, text: str) -> None:
    daemon.places.config.write_text(BAD)
    done = daemon.ctl("reload")
    assert done.returncode == WRONG
    assert f"{daemon.places.config}:3:" in done.stderr
    assert "stays in force" in done.stderr
    assert "REFUSED" in daemon.ctl("status").stdout
    assert printed(daemon, "reload", exits=WRONG)["errors"][0]["line"] == 3
    daemon.places.config.write_text(text)
    assert daemon.ctl("reload").returncode == DONE


def test_check_needs_no_daemon(tmp_path: Path, text: str) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(text)
    bad.write_text(BAD)
    assert (ctl("check", str(good)).returncode, ctl("check", str(good)).stdout) == (DONE, f"{good}: no mistakes\n")
    wrong = ctl("check", str(bad))
    assert (wrong.returncode, wrong.stdout) == (WRONG, "")
    assert f"{bad}:3:" in wrong.stderr
    listed = json.loads(ctl("check", str(bad), "--json").stdout)
    assert (listed["file"], listed["errors"][0]["line"]) == (str(bad), 3)


@pytest.mark.parametrize(
    "command", [["status"], ["reload"], ["models"], ["ask", "hello"], ["explain", "hello"]], ids=" ".join
)
def test_without_a_daemon_every_command_exits_3_and_says_what_to_do(sockets: Path, command: list[str]) -> None:
    done = ctl("--socket", str(sockets / "s"), *command)
    assert (done.returncode, done.stdout) == (NO_DAEMON, "")
    assert "the daemon is not running" in done.stderr
    assert "routerd serve" in done.stderr


def test_the_environment_may_name_the_socket(daemon: Standalone) -> None:
    assert ctl("status", env={"ROUTERD_SOCKET": str(daemon.socket)}).returncode == DONE


@pytest.mark.parametrize(
    "arguments",
    [["ask"], ["ask", "x", "-c", "nonsense"], ["invented"], ["ask", "x", "--max-tokens", "0"]],
    ids=" ".join,
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    done = ctl(*arguments)
    assert (done.returncode, done.stdout) == (WRONG, "")
    assert "Usage: " in done.stderr
