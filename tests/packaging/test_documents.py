"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec import Struct

from routerd.config.load import load
from routerd.config.schema import ConfigSpec, EndpointSpec, HealthSpec, LogSpec, MlxSpec, OverrideSpec, RouteSpec
from routerd.ctl import COMMANDS
from routerd_client import ErrorCode
from routerd_client.protocol import Request

ROOT = Path(__file__).parents[2]


def document(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize(
    "spec", [ConfigSpec, MlxSpec, HealthSpec, EndpointSpec, RouteSpec, OverrideSpec, LogSpec], ids=lambda s: s.__name__
)
def test_every_configuration_key_is_documented(spec: type[Struct]) -> None:
    text = document("docs/routes.md")

    missing = [field for field in spec.__struct_fields__ if f"`{field}`" not in text]

    assert missing == []


def test_documented_defaults_are_the_real_ones() -> None:
    text = document("docs/routes.md")
    defaults = re.findall(r"^\| `(\w+)` \| (?:`([^`]+)`|([\d.]+)) \|", text, re.MULTILINE)
    found = {name: code or number for name, code, number in defaults}

    minimal = "backends: {a: {mlx: {model: demo%s}}}\ndefault: a\n"
    written = ", ".join(f"{name}: {found[name]}" for name in MlxSpec.__struct_fields__ if name in found)
    health = ", ".join(f"{name}: {found[name]}" for name in HealthSpec.__struct_fields__)
    log = ", ".join(f"{name}: {found[name]}" for name in LogSpec.__struct_fields__)

    spelled = load(minimal % f", {written}" + f"health: {{{health}}}\nlog: {{{log}}}\n", "documented").config
    silent = load(minimal % "", "silent").config

    assert spelled == silent


@pytest.mark.parametrize("name", ["README.md", "docs/routes.md"])
def test_every_configuration_in_the_documents_is_without_mistakes(name: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", document(name), re.DOTALL)

    assert blocks
    for block in blocks:
        assert [note for note in load(block, name).warnings if "(yet)" not in note.message] == []


def test_every_error_code_and_request_is_documented() -> None:
    text = document("docs/protocol.md")
    words = [code.value for code in ErrorCode if code is not ErrorCode.UNKNOWN]
    words += [str(request.__struct_config__.tag) for request in Request.__args__]

    assert [word for word in words if f"`{word}`" not in text] == []


def test_every_room_is_in_the_architecture() -> None:
    text = document("docs/architecture.md")
    package = ROOT / "daemon" / "routerd"
    rooms = [
        p.name + ("/" if p.is_dir() else "")
        for p in package.iterdir()
        if p.name[0] not in "_." and p.name != "py.typed"
    ]

    assert [room for room in rooms if f"`{room}`" not in text] == []


def test_every_command_has_a_line_in_the_help_and_a_module() -> None:
    files = (ROOT / "daemon/routerd/ctl").glob("*.py")
    modules = {file.stem.rstrip("_") for file in files if re.search(r"^def command\(", file.read_text(), re.MULTILINE)}

    assert set(COMMANDS) == modules
