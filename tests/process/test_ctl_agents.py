"""``routerctl init --harness``, ``env`` and ``import`` as they are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from routerd.config.load import load
from tests.support.daemon import ctl

DONE, FAILED, WRONG = 0, 1, 2
DATA = Path(__file__).parents[1] / "data/import"
ROUTES = """\
backends:
  small: {openai: {model: m, base_url: "http://127.0.0.1:9/v1", context: 32768}}  # in the cellar
endpoints: {primary: {fallback: [small]}}
default: primary
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The variables by which everything is below `tmp_path`."""
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return {
        "HOME": str(tmp_path),
        "ROUTERD_CONFIG": str(tmp_path / "routes.yaml"),
        "ROUTERD_STATE_DIR": str(tmp_path / "state"),
        "ROUTERD_SOCKET": str(tmp_path / "routerd.sock"),
        **dict.fromkeys(("CODEX_HOME", "CLAUDE_CONFIG_DIR", "HERMES_HOME", "XDG_CONFIG_HOME", "LLM_USER_PATH"), ""),
    }


def test_an_agent_is_printed_then_written_over_what_it_has_with_a_copy_beside_it(
    tmp_path: Path, home: dict[str, str]
) -> None:
    file, theirs = tmp_path / ".codex/config.toml", 'model = "gpt-5"\n[profiles.x]\nmodel = "y"\n'
    file.parent.mkdir()
    file.write_text(theirs)
    file.chmod(0o640)
    printed = ctl("init", "--harness", "codex", env=home)
    assert (printed.returncode, file.read_text()) == (DONE, theirs)
    assert 'wire_api = "responses"' in printed.stdout
    assert "http: {listen:" in printed.stdout
    assert "routerctl init --harness codex --write" in printed.stderr
    done = ctl("init", "--harness", "codex", "--write", env=home)
    assert done.returncode == DONE, done.stderr
    assert '-model = "gpt-5"' in done.stdout
    told = tomllib.loads(file.read_text())
    assert (told["model"], told["profiles"]) == ("routed", {"x": {"model": "y"}})
    token = Path(told["model_providers"]["routerd"]["auth"]["args"][0])
    assert (token.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o600, 0o640)
    assert [copy.read_text() for copy in file.parent.glob("config.toml.*.bak")] == [theirs]
    written = (tmp_path / "routes.yaml").read_text()
    assert "# in the cellar" in written
    assert load(written, "routes.yaml").config.http
    assert "has it already" in ctl("init", "--harness", "codex", "--write", env=home).stdout


def test_a_file_that_gets_the_token_is_closed_to_others(tmp_path: Path, home: dict[str, str]) -> None:
    file = tmp_path / ".aider.conf.yml"
    file.write_text("dark-mode: true\n")
    file.chmod(0o644)
    assert ctl("init", "--harness", "aider", "--write", env=home).returncode == DONE
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith("dark-mode: true\n")


def test_the_first_agent_brings_a_first_routes_yaml_with_it(tmp_path: Path, home: dict[str, str]) -> None:
    (tmp_path / "routes.yaml").unlink()
    assert ctl("init", "--harness", "llm", "--write", env=home).returncode == DONE
    config = load((tmp_path / "routes.yaml").read_text(), "routes.yaml").config
    assert (config.default, config.http is not None) == ("primary", True)


@pytest.mark.parametrize("name", ["llm", "opencode", "codex", "claude-code", "continue", "aider"])
def test_an_agent_asks_by_the_routes_unless_told_otherwise(tmp_path: Path, home: dict[str, str], name: str) -> None:
    done = ctl("init", "--harness", name, "--write", env=home)
    assert done.returncode == DONE, done.stderr
    assert "main routed" in done.stderr
    models = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert any("routed" in text for name, text in models.items() if name != "routes.yaml")
    again = ctl("init", "--harness", name, "--role", "main=primary", "--write", env=home)
    assert "main primary" in again.stderr


def test_hermes_is_not_set_up_on_a_context_that_it_refuses(tmp_path: Path, home: dict[str, str]) -> None:
    done = ctl("init", "--harness", "hermes", "--write", env=home)
    assert done.returncode == FAILED
    assert "hermes refuses models under 64000 tokens of context, and 'routed' (primary, delegation" in done.stderr
    assert "has 32768 at most" in done.stderr
    assert not (tmp_path / ".hermes").exists()


def test_hermes_is_not_set_up_on_a_demo_that_is_not_even_here_yet(tmp_path: Path, home: dict[str, str]) -> None:
    (tmp_path / "routes.yaml").unlink()
    done = ctl("init", "--harness", "hermes", "--write", env=home)
    assert done.returncode == FAILED
    assert done.stderr.count("has 8192 at most") == 2  # the default and secondary
    assert not (tmp_path / ".hermes").exists()
    assert not (tmp_path / "routes.yaml").exists()


def test_a_context_that_nobody_knows_is_said_to_matter(tmp_path: Path, home: dict[str, str]) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES.replace(", context: 32768", ""))
    done = ctl("init", "--harness", "hermes", "--write", env=home)
    assert done.returncode == DONE
    assert "'routed' (primary, delegation, compression) has one that is not known: give" in done.stderr
    assert (tmp_path / ".hermes").exists()


def test_parts_that_have_nothing_but_a_backend_get_endpoints(tmp_path: Path, home: dict[str, str]) -> None:
    only = ROUTES.replace("endpoints: {primary: {fallback: [small]}}\n", "").replace("32768", "65536")
    (tmp_path / "routes.yaml").write_text(only.replace("small", "one").replace("default: primary", "default: one"))
    printed = ctl("init", "--harness", "hermes", env=home)
    assert "endpoints:\n  auxiliary:\n    fallback: [one]" in printed.stdout
    assert ctl("env", "openhands", "--json", env=home).returncode == FAILED  # there is no front yet
    done = ctl("init", "--harness", "hermes", "--write", env=home)
    assert done.returncode == DONE, done.stderr
    assert "+  auxiliary:" in done.stdout
    written = (tmp_path / "routes.yaml").read_text()
    endpoints = load(written, "routes.yaml").config.endpoints
    assert {name: spec.fallback for name, spec in endpoints.items()} == {"auxiliary": ("one",)}
    assert "# in the cellar" in written
    told = yaml.safe_load((tmp_path / ".hermes/config.yaml").read_text())
    assert (told["model"]["default"], told["delegation"]["model"]) == ("routed", "routed")
    assert told["auxiliary"]["title_generation"]["model"] == "auxiliary"
    assert ctl("check", env=home).returncode == DONE


def test_a_hermes_file_that_is_the_routes_gets_no_endpoints(tmp_path: Path, home: dict[str, str]) -> None:
    theirs = "model: {default: m, base_url: 'http://127.0.0.1:9/v1', context_length: 65536}\ndisplay: {compact: true}\n"
    (tmp_path / "routes.yaml").write_text(theirs)
    done = ctl("init", "--harness", "codex", "--write", env=home)
    assert done.returncode == DONE, done.stderr
    assert "endpoints" not in (tmp_path / "routes.yaml").read_text()


def test_all_is_written_though_nobody_reads_what_is_printed(tmp_path: Path, home: dict[str, str]) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES.replace("32768", "65536"))
    reader, writer = os.pipe()
    os.close(reader)
    arguments = ["init", "--harness", "hermes", "--write"]
    command = [sys.executable, "-c", "from routerd.ctl import main; main()", *arguments]
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, env={**os.environ, **home}, timeout=60, check=False
    )
    os.close(writer)
    assert b"Traceback" not in done.stderr
    assert {path.name for path in (tmp_path / ".hermes").iterdir()} == {"config.yaml", ".env"}
    assert load((tmp_path / "routes.yaml").read_text(), "routes.yaml").config.http


def test_a_role_of_any_name_gets_a_route(tmp_path: Path, home: dict[str, str]) -> None:
    arguments = ["init", "--harness", "crewai", "--role", "Senior, Größe=small", "--write"]
    done = subprocess.run(
        [sys.executable, "-c", "from routerd.ctl import main; main()", *arguments],
        cwd=tmp_path,
        env={**os.environ, **home},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == DONE, done.stderr
    explained = load((tmp_path / "routes.yaml").read_text(), "routes.yaml").config.routes[0]
    assert explained.match.context == {"process": "crewai", "role": "Senior, Größe"}


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["init", "--harness", "nobody"], "'nobody' is not one of", WRONG),
        (["init", "--harness", "codex", "--role", "main=gone"], "nothing is called 'gone' in routes.yaml", WRONG),
        (["init", "--harness", "claude-code"], "settings.json is no JSON that can be read", FAILED),
        (["env", "codex"], "codex is set up by its files: routerctl init --harness codex", WRONG),
        (["env", "aider"], "routes.yaml has no front for it", FAILED),
        (["import", "litellm", "/nowhere"], "/nowhere cannot be read", FAILED),
        (["import", "nobody", "/nowhere"], "'nobody' is not one of", WRONG),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    tmp_path: Path, home: dict[str, str], arguments: list[str], said: str, code: int
) -> None:
    settings = tmp_path / ".claude/settings.json"
    settings.parent.mkdir()
    settings.write_text("{// mine\n}")
    done = ctl(*arguments, *(["--write"] if "claude-code" in arguments else []), env=home)
    assert (done.returncode, (tmp_path / "routes.yaml").read_text()) == (code, ROUTES)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_shell_takes_what_env_prints(tmp_path: Path, home: dict[str, str]) -> None:
    told = json.loads(ctl("env", "claude-code", "--json", env=home).stdout)
    assert told["ANTHROPIC_UNIX_SOCKET"] == str(tmp_path / "routerd.sock")
    lines = ctl("env", "claude-code", env=home).stdout
    shell = subprocess.run(["sh", "-c", f"{lines}\nenv"], capture_output=True, text=True, check=True)
    assert {f"{name}={value}" for name, value in told.items()} <= set(shell.stdout.splitlines())


def test_an_import_warns_of_what_check_warns_of(tmp_path: Path, home: dict[str, str]) -> None:
    proxy = tmp_path / "proxy.yaml"
    proxy.write_text(
        "model_list:\n  - model_name: ours\n    litellm_params:"
        " {model: azure/our-deployment, api_base: 'https://x.openai.azure.com', api_key: os.environ/KEY}\n"
    )
    done = ctl("import", "litellm", str(proxy), "--write", env=home)
    checked = ctl("check", env=home)
    assert "backends.ours cannot be used" in checked.stderr
    assert "backends.ours cannot be used" in done.stderr


def test_an_import_of_an_agent_that_asks_here_says_so(tmp_path: Path, home: dict[str, str]) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES.replace("32768", "65536") + "http: {listen: 127.0.0.1:9123}\n")
    assert ctl("init", "--harness", "hermes", "--write", env=home).returncode == DONE
    done = ctl("import", "hermes", str(tmp_path / ".hermes/config.yaml"), env=home)
    assert (done.returncode, done.stdout) == (WRONG, "")
    assert "routerd itself listens there" in done.stderr


def test_an_import_is_printed_with_what_it_left_behind_and_passes_check(tmp_path: Path, home: dict[str, str]) -> None:
    done = ctl("import", "litellm", str(DATA / "litellm.yaml"), env=home)
    assert (done.returncode, (tmp_path / "routes.yaml").read_text()) == (DONE, ROUTES)
    assert "litellm.yaml:35: bedrock-sonnet" in done.stderr
    written = ctl("import", "ollama", "-", "--write", stdin=(DATA / "ollama-list.txt").read_text(), env=home)
    assert written.returncode == DONE, written.stderr
    assert [copy.read_text() for copy in tmp_path.glob("routes.yaml.*.bak")] == [ROUTES]
    assert ctl("check", env=home).returncode == DONE


def test_an_agent_with_tools_is_warned_of_models_without(tmp_path: Path, home: dict[str, str]) -> None:
    (tmp_path / "routes.yaml").write_text(
        "backends:\n  one: {mlx: {model: demo}}\n  able: {openai: {model: m}}\n"
        "endpoints: {large: {fallback: [able]}}\ndefault: one\n"
    )
    done = ctl("init", "--harness", "claude-code", "--write", env=home)
    assert done.returncode == DONE, done.stderr
    assert "no backend of 'routed' (main, sonnet, subagent) supports tools" in done.stderr
    assert "skip the routes (match: {client: ...} too): opus large; --role opus=routed" in done.stderr
    assert "supports tools" in ctl("env", "claude-code", env=home).stderr
    able = ctl("init", "--harness", "claude-code", "--role", "main=able", env=home)
    assert "supports tools" not in able.stderr
    assert ctl("init", "--harness", "llm", "--write", env=home).returncode == DONE
    [file] = tmp_path.rglob("extra-openai-models.yaml")
    models = {model["model_name"]: model["supports_tools"] for model in yaml.safe_load(file.read_text())}
    assert models == {"routed": False, "one": False, "large": True, "able": True}
