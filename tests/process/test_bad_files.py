"""Files that are not what they should be: reported with their place, and the daemon goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import strategies as st

from routerd.config.places import Places
from routerd_client import Client
from routerd_client.errors import RequestFailedError, RouterdError
from tests.support.daemon import Standalone, ctl, make_places, short_folder, standalone_daemon
from tests.support.fuzzing import fuzz
from tests.support.wait import until_blocking
from tests.support.without_rights import without_rights

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make what paths may lead to, and should not."""
    (tmp_path / "a.fifo").parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / "a.fifo")
    (tmp_path / "a.loop").symlink_to("a.loop")
    (tmp_path / "a.folder").mkdir()
    (tmp_path / "a.file").touch()
    with (tmp_path / "a.giant").open("wb") as giant:
        giant.truncate(2**30)
    return tmp_path


LONG = "n" * 300
PERSONAS = {
    "~nosuchuser/p.md": "home directory",
    LONG: "File name too long",
    '"a\\0b"': "null byte",
    "a.fifo": "not a regular file",
    "a.loop": "Too many levels of symbolic links",
    "a.folder": "Is a directory",
    "a.file/below": "there is no file",
    "a.giant": "larger than 1 MiB",
    "/dev/zero": "not a regular file",
}
ADAPTERS = {
    "~nosuchuser/x": "home directory",
    LONG: "File name too long",
    '"a\\0b"': "null byte",
    "a.fifo": "there is no folder",
    "a.loop": "Too many levels of symbolic links",
    "a.folder": "has no adapter_config.json",
}
SOCKETS = {'"unix:~nosuchuser/s"': "home directory", '"unix:/a\\0b"': "no control characters"}


def wrong(routes_yaml: str) -> Iterator[tuple[str, str]]:
    """Yield configurations with a path that cannot be used, and words of the error."""
    for persona, words in PERSONAS.items():
        yield f"{routes_yaml}persona: {persona}\n", words
        yield routes_yaml.replace("use: large}", f"use: large, set: {{persona: {persona}}}}}"), words
    for adapter, words in ADAPTERS.items():
        yield routes_yaml.replace("max_tokens: 16}", f"max_tokens: 16, adapter: {adapter}}}", 1), words
    for address, words in SOCKETS.items():
        yield (
            routes_yaml.replace("backends:\n", f"backends:\n  u: {{openai: {{model: m, base_url: {address}}}}}\n"),
            words,
        )
    yield f"{routes_yaml}budgets: {{time_zone: ../../../etc/passwd}}\n", "no time zone"
    yield f'{routes_yaml}aliases: {{"\\ud800": small}}\n', "invalid Unicode character"


def test_a_path_that_cannot_be_used_is_a_refused_reload(folder: Path, routes_yaml: str) -> None:
    with standalone_daemon(folder, routes_yaml) as daemon, daemon.client() as client:
        pid = client.status().pid
        for text, words in wrong(routes_yaml):
            daemon.places.config.write_text(text)
            result = client.reload()
            assert (result.changed, result.generation) == (False, 1), text
            (error,) = result.errors
            assert words in error.message
            assert error.file == str(daemon.places.config)
            assert error.line, "it says where"
            assert error.column
            assert client.status().config_errors == [error]
            checked = ctl("check", str(daemon.places.config))
            assert checked.returncode == 2
            assert f":{error.line}:{error.column}: " in checked.stderr
            assert "Traceback" not in checked.stderr
        assert client.chat("Hello").backend == "small"

        daemon.places.config.write_text(f"{routes_yaml}persona: a.file\n")
        assert client.reload().errors == []
        assert client.status().config_errors == []
        assert client.status().pid == pid
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_a_path_that_cannot_be_used_is_no_traceback_at_the_start(folder: Path, routes_yaml: str) -> None:
    for text, words in list(wrong(routes_yaml))[::5]:
        (folder / "routes.yaml").write_text(text)
        with short_folder() as sockets:
            daemon = Standalone(make_places(folder, sockets))
            assert daemon.wait() == 2
        assert words in daemon.stderr
        assert "Traceback" not in daemon.stderr


@pytest.mark.parametrize("model", ["~nosuchuser/m", f"/{LONG}", '"/a\\0b"', "./a.fifo", "./a.loop", "./a.file/below"])
def test_a_model_at_a_path_that_cannot_be_is_that_models_failure(folder: Path, routes_yaml: str, model: str) -> None:
    text = routes_yaml.replace("backends:\n", f"backends:\n  bad: {{mlx: {{model: {model}}}}}\n")
    with standalone_daemon(folder, routes_yaml) as daemon, daemon.client() as client:
        daemon.places.config.write_text(text)
        result = client.reload()
        assert result.errors == []
        with pytest.raises(RequestFailedError) as failed:
            client.chat("Hello", model="bad")
        assert "mistake" not in str(failed.value)
        assert client.chat("Hello").backend == "small"
        assert client.status().pid == daemon.process.pid
    assert "Traceback" not in daemon.stderr


def test_a_persona_that_is_closed_is_told_and_taken_in_again(tmp_path: Path, tiny: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    model = shutil.copytree(tiny, home / "model")
    closed = home / "closed"
    closed.mkdir()
    soul = closed / "SOUL.md"
    soul.write_text("Speak like a sailor.")
    text = f"backends: {{small: {{mlx: {{model: {model}, max_tokens: 4}}}}}}\ndefault: small\npersona: {soul}\n"
    with standalone_daemon(home, text, prefix=without_rights()) as daemon, daemon.client() as client:
        for place in (soul, closed):
            mode = place.stat().st_mode
            place.chmod(0)
            until_blocking(lambda: client.status().config_errors, "it sees the closed file")
            (error,) = client.status().config_errors
            assert (error.line, error.column) == (3, 10)
            assert "Permission denied" in error.message
            assert client.chat("Hello").backend == "small"
            place.chmod(mode)
            until_blocking(lambda: not client.status().config_errors, "it sees that it is open again")
        closed.chmod(0)
        daemon.places.config.write_text(text.replace("max_tokens: 4", f"max_tokens: 4, adapter: {closed}/x"))
        assert "Permission denied" in client.reload().errors[0].message
        assert client.status().pid == daemon.process.pid


def write(content: str | bytes | None) -> Callable[[Path], object]:
    """Return a function that puts ``content`` at a path; None stands for a FIFO."""
    if content is None:
        return os.mkfifo
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


ODD_FILES = [None, b"\xff\xfe", b"", DEEP, "[]", "null", '{"a": ' + "9" * 400 + "}", b"\x00" * 5000]


@pytest.mark.parametrize("name", ["http-token"])
def test_a_token_that_cannot_be_read_lets_nobody_in_and_is_told(tmp_path: Path, routes_yaml: str, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.mkfifo(state / name)
    text = f"{routes_yaml}http: {{listen: 127.0.0.1:{port}}}\n"
    with standalone_daemon(tmp_path, text) as daemon, daemon.client() as client:
        until_blocking(lambda: "the token cannot be kept" in client.status().http_error, "it says so")
        assert "not a regular file" in client.status().http_error
        assert client.chat("Hello").backend == "small"
        (state / name).unlink()
        until_blocking(lambda: client.status().http, "it listens")
        token = (state / name).read_text().strip()
        assert asked(port, token) == 200
        for odd in (b"\xff\xfe", b"x" * 5000, None):
            (state / name).unlink()
            write(odd)(state / name)
            assert asked(port, token) == 401
            assert asked(port, "") == 401
            assert "the token cannot be kept" in client.status().http_error
        (state / name).unlink()
        (state / name).write_text("rd-another\n")
        assert asked(port, "rd-another") == 200
        assert client.status().http_error == ""
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def asked(port: int, token: str) -> int:
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        head = (
            f"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        )
        connection.sendall(head.encode())
        return int(connection.makefile("rb").readline().split()[1])


STATE = ["classifier.msgpack", "judge.msgpack", "learned.json", "workers.json", "starts.json"]


@pytest.mark.parametrize("content", ODD_FILES, ids=lambda content: str(content)[:12])
def test_the_daemon_starts_and_stops_whatever_its_state_files_hold(
    tmp_path: Path, routes_yaml: str, content: str | bytes | None
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    for name in STATE:
        write(content)(state / name)
    for scratch in ("workers.new", "starts.new"):
        os.mkfifo(state / scratch)
    with standalone_daemon(tmp_path, routes_yaml) as daemon, daemon.client() as client:
        assert client.chat("Hello").backend == "small"
        assert client.reload().errors == []
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert "Traceback" not in daemon.stderr


def damaged(model: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield ways to damage the folder of a model, each from a whole one."""
    config, index = model / "config.json", model / "model.safetensors.index.json"
    tokenizer, weights = model / "tokenizer_config.json", model / "model.safetensors"
    for value in ("null", "[]", "7", '{"a": 1}', '{"a": null}', '{"a": ["b"]}', '{"a": {}}', DEEP):
        yield f"weight_map {value[:9]}", lambda value=value: index.write_text(f'{{"weight_map": {value}}}')
    for file in (config, tokenizer, index):
        yield f"{file.name} deep", lambda file=file: file.write_text(DEEP)
        yield f"{file.name} deep inside", lambda file=file: file.write_text(f'{{"model_type": "llama", "a": {DEEP}}}')
        yield f"{file.name} FIFO", lambda file=file: (file.unlink(missing_ok=True), os.mkfifo(file))
        yield f"{file.name} folder", lambda file=file: (file.unlink(missing_ok=True), file.mkdir())
    yield "tokenizer FIFO", lambda: ((model / "tokenizer.json").unlink(), os.mkfifo(model / "tokenizer.json"))
    yield "weights FIFO", lambda: (weights.unlink(), os.mkfifo(weights))
    for offsets in ("null", "[]", "[1]", '["a", "b"]', "[5, 1]", "[0, -1]", "[0, 1e300]", f"[0, {2**70}]", "{}", DEEP):
        header = f'{{"t": {{"dtype": "F32", "shape": [1], "data_offsets": {offsets}}}}}'.encode()
        data = len(header).to_bytes(8, "little") + header
        yield f"data_offsets {offsets[:9]}", lambda data=data: weights.write_bytes(data)
    for length in (0, 2**63, 2**64 - 1):
        yield f"header of {length}", lambda length=length: weights.write_bytes(length.to_bytes(8, "little") + b"{}")


def test_a_damaged_model_folder_is_that_models_failure_alone(tmp_path: Path, tiny: Path, routes_yaml: str) -> None:
    model = tmp_path / "model"
    ways = [name for name, _ in damaged(model)]
    with standalone_daemon(tmp_path, routes_yaml) as daemon, daemon.client() as client:
        for number, (name, damage) in enumerate(damaged(model)):
            shutil.rmtree(model, ignore_errors=True)
            shutil.copytree(tiny, model)
            damage()
            bad = f"bad{number}: {{mlx: {{model: {model}}}}}"
            daemon.places.config.write_text(routes_yaml.replace("backends:\n", f"backends:\n  {bad}\n"))
            assert client.reload().errors == []
            if "data_offsets [5, 1]" in name or "tokenizer_config" in name:
                continue  # mlx-lm itself is to say what it thinks of it
            with pytest.raises(RequestFailedError) as failed:
                client.chat("Hello", model=f"bad{number}")
            assert "mistake" not in str(failed.value), name
            assert str(model) in str(failed.value), name
        assert len(ways) > 20
        assert client.chat("Hello").backend == "small"
        assert client.status().pid == daemon.process.pid
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert "Traceback" not in daemon.stderr


def test_what_is_no_socket_is_not_deleted(tmp_path: Path, sockets: Path, routes_yaml: str) -> None:
    (tmp_path / "routes.yaml").write_text(routes_yaml)
    places = make_places(tmp_path, sockets)
    notes = sockets / "routerd.sock"
    notes.write_text("my notes")
    refused = Standalone(places)
    assert refused.wait() == 3
    assert f"{notes} is no socket, and routerd does not delete what it has not made" in refused.stderr
    assert notes.read_text() == "my notes"

    notes.rename(sockets / "routerd.lock")
    refused = Standalone(places)
    assert refused.wait() == 3
    assert f"{sockets}/routerd.lock is needed for a lock, and holds something else" in refused.stderr
    assert (sockets / "routerd.lock").read_text() == "my notes"
    (sockets / "routerd.lock").unlink()

    shutil.rmtree(places.state)  # its logs
    places.state.write_text("my notes")
    refused = Standalone(places)
    assert refused.wait() == 3
    assert f"the state folder {places.state} cannot be made" in refused.stderr
    assert places.state.read_text() == "my notes"
    assert "Traceback" not in refused.stderr


def test_a_log_that_is_no_file_goes_to_the_terminal(tmp_path: Path, routes_yaml: str) -> None:
    logs = tmp_path / "state" / "logs"
    logs.mkdir(parents=True, mode=0o700)
    os.mkfifo(logs / "routerd.log")
    with standalone_daemon(tmp_path, routes_yaml) as daemon, daemon.client() as client:
        assert client.chat("Hello").backend == "small"
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert "log.unwritable" in daemon.stderr


@pytest.mark.parametrize("folder", ["/tmp", "/"])
def test_nobody_is_told_to_close_a_folder_of_others(folder: str, tmp_path: Path, routes_yaml: str) -> None:
    (tmp_path / "routes.yaml").write_text(routes_yaml)
    places = make_places(tmp_path, Path(folder))
    refused = Standalone(places)
    assert refused.wait() == 3
    assert "chmod" not in refused.stderr
    if Path(folder).owner() == Path.home().owner():
        assert f"--socket {Path(folder) / 'routerd' / 'routerd.sock'}" in refused.stderr


PATHS = st.sampled_from([*PERSONAS, *ADAPTERS, "a.file", "none", '""', "/", "~", "..", "https://x"])
YAML = st.recursive(
    st.sampled_from(["null", "1", "-1", "1e400", str(2**70), "{}", "[]", "''", "~", "&a 1", "*a", "!!x 1"]) | PATHS,
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(["a", "mlx", "model", "use", "persona"]), inner, max_size=2).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=4,
)
KEYS = ["persona", "http", "budgets", "ledger", "log", "aliases", "routes", "tests", "endpoints", "backends", "memory"]
KEYS += ["default", "sticky", "health", "prices", "version"]


def test_any_routes_yaml_is_taken_or_refused(folder: Path, routes_yaml: str) -> None:
    with standalone_daemon(folder, routes_yaml) as daemon, daemon.client() as client:

        def saved(changed: dict[str, str]) -> None:
            kept = "".join(line for line in routes_yaml.splitlines(True) if line.partition(":")[0] not in changed)
            daemon.places.config.write_text(kept + "".join(f"{key}: {value}\n" for key, value in changed.items()))
            result = client.reload()
            assert client.status().config_errors == result.errors
            assert client.status().pid == daemon.process.pid

        fuzz(saved, st.dictionaries(st.sampled_from(KEYS), YAML, min_size=1, max_size=2))
        daemon.places.config.write_text(routes_yaml)
        assert client.reload().errors == []
        assert client.chat("Hello").backend == "small"
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert "internal_error" not in daemon.stderr


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CONFIG_KEYS = ["model_type", "hidden_size", "num_hidden_layers", "layer_types", "text_config", "sliding_window"]
CONFIG_KEYS += ["head_dim", "num_attention_heads", "max_position_embeddings", "num_kv_shared_layers", "kv_lora_rank"]
FILES = ["config.json", "tokenizer_config.json", "model.safetensors.index.json", "model.safetensors"]
DAMAGE = st.tuples(
    st.sampled_from(FILES),
    st.binary(max_size=40)
    | st.builds(lambda length, rest: length.to_bytes(8, "little") + rest, st.integers(0, 2**64 - 1), st.binary())
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from([*CONFIG_KEYS, "weight_map"]), JSON).map(lambda value: json.dumps(value).encode())
    | st.dictionaries(
        st.text(max_size=5), st.fixed_dictionaries({"dtype": JSON, "data_offsets": JSON}), max_size=3
    ).map(lambda value: (head := json.dumps(value).encode()) and len(head).to_bytes(8, "little") + head),
)


def test_any_model_folder_is_loaded_or_that_models_failure(tmp_path: Path, tiny: Path, routes_yaml: str) -> None:
    model, number = tmp_path / "model", 0
    with standalone_daemon(tmp_path, routes_yaml) as daemon, daemon.client() as client:

        def looked_at(damage: tuple[str, bytes]) -> None:
            nonlocal number
            number += 1
            shutil.rmtree(model, ignore_errors=True)
            shutil.copytree(tiny, model)
            (model / damage[0]).write_bytes(damage[1])
            bad = f"bad{number}: {{mlx: {{model: {model}}}}}"  # another name is looked at anew
            daemon.places.config.write_text(routes_yaml.replace("backends:\n", f"backends:\n  {bad}\n"))
            assert client.reload().errors == []
            assert client.status().pid == daemon.process.pid

        fuzz(looked_at, DAMAGE)
        assert client.chat("Hello").backend == "small"
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert "Traceback" not in daemon.stderr
    assert "model.unread" not in daemon.stderr


def test_any_state_file_is_used_or_left(tmp_path: Path, routes_yaml: str) -> None:
    with standalone_daemon(tmp_path, routes_yaml) as daemon:
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0

        def started(files: dict[str, bytes]) -> None:
            for name, content in files.items():
                (daemon.places.state / name).write_bytes(content)
            daemon.restart()
            daemon.signal(signal.SIGTERM)
            assert daemon.wait() == 0

        content = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())
        fuzz(started, st.dictionaries(st.sampled_from([*STATE, "http-token"]), content, min_size=1))
    assert "Traceback" not in daemon.stderr


def test_an_agent_waits_for_a_path_that_can_be_used(folder: Path, sockets: Path, routes_yaml: str) -> None:
    places = make_places(folder, sockets)
    places.config.write_text(f"{routes_yaml}persona: ~nosuchuser/p.md\n")
    with agent(places) as process, Client(places.socket, name="test", timeout_s=60) as client:
        until_blocking(places.socket.is_socket, "it answers")
        with pytest.raises(RequestFailedError, match=r"routes.yaml:10:10: persona: ~nosuchuser/p.md cannot be read"):
            client.status()
        places.config.write_text(routes_yaml)
        until_blocking(lambda: serves(places.socket), "it serves")
        assert process.poll() is None


@contextmanager
def agent(places: Places) -> Iterator[subprocess.Popen[bytes]]:
    where = ["--config", places.config, "--socket", places.socket, "--state-dir", places.state]
    process = subprocess.Popen([sys.executable, "-m", "routerd", "serve", "--agent", *map(str, where)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def serves(path: Path) -> bool:
    try:
        with Client(path, name="test") as client:
            return client.status().generation == 1
    except RouterdError:
        return False
