"""``routerctl init``, ``config`` and ``check`` as they are typed, and a daemon on other systems' files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from routerd.config.load import load
from routerd.config.presets import PRESETS
from tests.support.daemon import ctl, standalone_daemon

DONE, FAILED, WRONG = 0, 1, 2
DATA = Path(__file__).parents[1] / "data/compat"
SECRET = "backends: {a: {openai: {model: m, api_key: sk-secret}}}\ndefault: a\n"


@pytest.mark.parametrize("preset", list(PRESETS))
def test_init_writes_a_file_that_check_has_nothing_to_say_about(tmp_path: Path, preset: str) -> None:
    path = tmp_path / "deep" / "routes.yaml"
    done = ctl("init", "--preset", preset, "--output", str(path))
    assert (done.returncode, done.stderr) == (DONE, "")
    assert done.stdout.startswith(f"wrote {path}\n")
    assert f"routerd serve --config {path}" in done.stdout
    assert path.stat().st_mode & 0o777 == 0o600
    checked = ctl("check", str(path))
    assert (checked.returncode, checked.stdout, checked.stderr) == (DONE, f"{path}: no mistakes\n", "")


def test_init_writes_primary_and_secondary_where_the_daemon_looks(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    done = ctl("init", env={"ROUTERD_CONFIG": str(path)})
    assert done.returncode == DONE
    config = load(path.read_text(), "routes.yaml").config
    assert (list(config.endpoints), config.default) == (["primary", "secondary"], "primary")


def test_init_takes_models_and_makes_paths_whole(tmp_path: Path) -> None:
    path, folder = tmp_path / "routes.yaml", tmp_path / "model"
    folder.mkdir()
    done = ctl("init", "--output", str(path), "--model", str(folder), "--model", "claude-haiku-4-5")
    assert done.returncode == DONE
    backends = load(path.read_text(), "routes.yaml").config.backends
    assert backends["model"].mlx
    assert (list(backends), backends["model"].mlx.model) == (["model", "claude-haiku-4-5"], str(folder))


def test_init_replaces_a_file_only_when_forced(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("mine")
    refused = ctl("init", "--output", str(path))
    assert (refused.returncode, refused.stdout, path.read_text()) == (FAILED, "", "mine")
    assert f"{path} is there already: --force replaces it" in refused.stderr
    assert ctl("init", "--output", str(path), "--force").returncode == DONE
    assert "primary" in path.read_text()


def test_init_forced_writes_through_a_link(tmp_path: Path) -> None:
    path, real = tmp_path / "routes.yaml", tmp_path / "dotfiles.yaml"
    real.write_text("mine")
    path.symlink_to(real)
    assert ctl("init", "--output", str(path), "--force").returncode == DONE
    assert path.is_symlink()
    assert "primary" in real.read_text()


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--model", "nonsense"], "'nonsense' is not known here", WRONG),
        (["--model", "demo", "--model", "demo", "--model", "demo"], "use for 2 models, not 3", WRONG),
        (["--preset", "three"], "'three' is not one of", WRONG),
        (["--output", "/proc/nowhere/routes.yaml"], "/proc/nowhere/routes.yaml cannot be written", FAILED),
    ],
)
def test_init_says_what_is_wrong_and_writes_nothing(tmp_path: Path, arguments: list[str], said: str, code: int) -> None:
    path = tmp_path / "routes.yaml"
    done = ctl("init", *arguments, env={"ROUTERD_CONFIG": str(path)})
    assert (done.returncode, done.stdout, path.exists()) == (code, "", False)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_config_shows_what_is_in_force_as_a_file_that_means_the_same(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text((DATA / "autobot.yaml").read_text())
    done = ctl("config", str(path))
    assert (done.returncode, done.stderr) == (DONE, "")
    assert load(done.stdout, "shown").config == load(path.read_text(), "routes.yaml").config


def test_config_with_origins_says_where_each_value_is_from(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    assert ctl("init", "--preset", "timmy", "--output", str(path)).returncode == DONE
    done = ctl("config", str(path), "--origins", env={"TIER_LOCAL_FAST_MODEL": "org/fast"})
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["model:", "org/fast", "#", "env", "TIER_LOCAL_FAST_MODEL"] in lines
    assert ["model:", "claude-haiku-4-5", "#", "preset", "timmy"] in lines
    assert ["keep_alive:", "15m", "#", "default"] in lines
    assert ["default:", "auto", "#", "routes.yaml:18"] in lines
    told = json.loads(ctl("config", str(path), "--origins", "--json").stdout)
    assert told["config"]["default"] == "auto"
    assert told["origins"]["backends.cloud.anthropic.model"] == "preset timmy"


def test_config_of_a_wrong_file_says_what_check_says(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("defualt: x\n")
    done = ctl("config", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (WRONG, "", ctl("check", str(path)).stderr)


def test_config_never_shows_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(SECRET)
    for arguments in ([], ["--origins"], ["--json"]):
        assert "sk-secret" not in ctl("config", str(path), *arguments).stdout


def test_check_warns_of_a_secret_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(SECRET)
    path.chmod(0o644)
    done = ctl("check", str(path))
    assert done.returncode == DONE
    assert (
        f"{path}: a secret stands in this file, and others have rights to it (mode 0644) (chmod 600 {path})"
        in done.stderr
    )
    path.chmod(0o600)
    again = ctl("check", str(path)).stderr
    assert "others have rights" not in again
    assert "a secret stands in the file" in again
    assert "sk-secret" not in done.stderr + again
    path.write_text("backends: {a: {openai: {model: gpt-4o, api_key: {env: KEY}}}}\ndefault: a\n")
    path.chmod(0o644)
    assert ctl("check", str(path)).stderr == ""


def test_a_daemon_routes_by_the_documented_hermes_block(tmp_path: Path, tiny: Path) -> None:
    names = ("my-fast-model", "my-strong-model", "some-other")
    backends = {"backends": {name: {"mlx": {"model": str(tiny), "max_tokens": 4}} for name in names}}
    text = (DATA / "hermes.yaml").read_text() + json.dumps(backends)[1:-1] + "\n"
    with standalone_daemon(tmp_path, text) as daemon:
        who = ("-c", "platform=discord", "-c", "source_kind=stranger")
        explained = daemon.ctl("explain", "hello", *who)
        assert "model.routes[3]" in explained.stdout
        answered = json.loads(daemon.ctl("ask", "hello", *who, "--json").stdout)
        assert (answered["backend"], answered["route"]) == ("some-other", "model.routes[3]")
        assert json.loads(daemon.ctl("ask", "hello", "--json").stdout)["backend"] == "my-fast-model"


def test_a_daemon_with_tiered_routing_disabled_says_so(tmp_path: Path, tiny: Path) -> None:
    text = f"""
tiered_routing: {{enabled: false, models: {{simple: gemma2:2b, complex: {tiny}}}}}
"""
    with standalone_daemon(tmp_path, text) as daemon:
        explained = daemon.ctl("explain", "What time is it?")
        assert "Tiered routing disabled" in explained.stdout
