"""Folders that routes.yaml names, and what other programs' keys are answered with."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from routerd.config.load import ConfigFailedError, load
from routerd.config.plan import needs_restart
from routerd.config.schema import MlxSpec


def routes(folder: Path, settings: str) -> MlxSpec:
    """The model of a routes.yaml in ``folder``. Raises `ConfigFailedError`."""
    text = f"version: 1\nbackends:\n  a:\n    mlx:\n      model: demo\n      {settings}\ndefault: a\n"
    found = load(text, str(folder / "routes.yaml")).config.backends["a"].mlx
    assert found
    return found


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapters" / "mine"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").touch()
    (folder / "adapters.safetensors").touch()
    return folder


def test_a_relative_adapter_counts_from_the_file(tmp_path: Path, adapter: Path) -> None:
    assert routes(tmp_path, "adapter: adapters/mine").adapter == str(adapter)
    assert routes(tmp_path / "adapters", "adapter: mine").adapter == str(adapter)
    assert routes(tmp_path, f"adapter: {adapter}").adapter == str(adapter)


def test_a_model_that_is_not_there_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    backends = "a: {mlx: {model: ./here}}, b: {mlx: {model: ./gone}}, c: {mlx: {model: org/name}}"
    notes = load(f"backends: {{{backends}}}\ndefault: a\n", str(tmp_path / "routes.yaml")).warnings
    assert [(note.line, note.message) for note in notes] == [
        (1, f"backends.b.mlx.model: there is no {tmp_path}/gone (yet): its first request will fail")
    ]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (["adapter_config.json"], "mine has no adapter_config.json"),
        (["adapter_config.json", "adapters.safetensors"], "no adapter_config.json and no adapters.safetensors"),
    ],
)
def test_an_adapter_that_is_not_whole_is_a_mistake(
    tmp_path: Path, adapter: Path, missing: list[str], words: str
) -> None:
    for name in missing:
        (adapter / name).unlink()
    with pytest.raises(ConfigFailedError) as caught:
        routes(tmp_path, "adapter: adapters/mine")
    (error,) = caught.value.errors
    assert (error.line, error.column) == (6, 16)
    assert error.message.startswith("backends.a.mlx.adapter: ")
    assert words in error.message
    assert "mlx-lm's training" in error.hint


def test_an_adapter_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigFailedError, match=f"there is no folder {tmp_path}/nowhere"):
        routes(tmp_path, "adapter: nowhere")


def test_another_adapter_needs_a_new_process() -> None:
    plain = MlxSpec(model="demo")
    assert needs_restart(plain, replace(plain, adapter="/adapters/a"))


def test_a_draft_model_is_refused_once_and_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigFailedError) as caught:
        routes(tmp_path, "draft_model: small")
    (error,) = caught.value.errors
    assert error.message == "backends.a.mlx: 'draft_model' is not supported"
    assert "batches" in error.hint
    assert "speculative" in error.hint
