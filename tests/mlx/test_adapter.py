"""A model with a fine-tuning laid on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import pytest

from routerd.wire import Generate
from routerd.worker.lm import Model, load
from tests.mlx.in_process import run_engine
from tests.support.tiny_model import make_adapter, make_tiny_model
from tests.support.worker_client import WorkerClient, ask


def told(model: Model) -> str:
    return run_engine(model, [Generate(id=0, chat=ask("the quick", max_tokens=32))]).text(0)


def test_an_adapter_changes_the_answers(tiny_folder: Path, tiny: Model, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny_folder)
    adapted = load(tiny_folder, lambda _: None, adapter)
    adapted.vocab = tiny.vocab

    assert told(adapted) != told(tiny)
    assert told(adapted) == told(adapted), "nothing of the training is left on"


def test_an_adapter_of_nothing_changes_nothing(tiny_folder: Path, tiny: Model, tmp_path: Path) -> None:
    adapted = load(tiny_folder, lambda _: None, make_adapter(tmp_path / "adapter", tiny_folder, scale=0.0))

    assert told(adapted) == told(tiny)


def test_a_worker_serves_with_its_adapter(tiny_folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny_folder)
    adapted = load(tiny_folder, lambda _: None, adapter)
    with WorkerClient(tiny_folder, "--adapter", str(adapter)) as worker:
        worker.ready()

        assert worker.chat(ask("the quick", max_tokens=32)).text == told(adapted)


def no_weights(folder: Path) -> None:
    (folder / "adapters.safetensors").unlink()


def no_config(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def garbage(folder: Path) -> None:
    (folder / "adapters.safetensors").write_bytes(b"<html>not found</html>")


def no_rank(folder: Path) -> None:
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text())
    del config["lora_parameters"]["rank"]
    file.write_text(json.dumps(config))


def change_weights(folder: Path, change: Callable[[dict[str, mx.array]], dict[str, mx.array]]) -> None:
    file = str(folder / "adapters.safetensors")
    weights = mx.load(file)
    assert isinstance(weights, dict)
    mx.eval(list(weights.values()))  # the file is read when they are, and is about to be replaced
    mx.save_safetensors(file, change(weights))


def tensors_without_a_place(folder: Path) -> None:
    change_weights(folder, lambda weights: weights | {"model.layers.9.self_attn.q_proj.lora_a": mx.zeros((64, 2))})


def layers_without_tensors(folder: Path) -> None:
    change_weights(folder, lambda weights: {name: array for name, array in weights.items() if "layers.1." not in name})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_weights, "adapters.safetensors"),
        (no_config, "adapter_config.json"),
        (garbage, "adapter cannot be loaded"),
        (no_rank, "rank"),
        (tensors_without_a_place, "model.layers.9.self_attn.q_proj.lora_a"),
        (layers_without_tensors, "nothing for 2 of the layers it names, such as model.layers.1.self_attn.q_proj.lora_"),
    ],
)
def test_a_damaged_adapter_fails_the_load_with_a_reason(
    tiny_folder: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny_folder)
    damage(adapter)
    with WorkerClient(tiny_folder, "--adapter", str(adapter)) as worker:
        failed = worker.load_failed()

        assert words in failed.message
        assert str(adapter) in failed.hint
        assert worker.process.wait(5) == 3


def test_an_adapter_for_another_model_fails_the_load(tiny_folder: Path, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other", hidden=32)
    with WorkerClient(tiny_folder, "--adapter", str(make_adapter(tmp_path / "adapter", other))) as worker:
        assert "shape" in worker.load_failed().message
