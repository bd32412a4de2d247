"""A GGUF file becomes a folder that answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from routerd.models.errors import BrokenModelError
from routerd.models.folder import check_folder
from routerd.worker.convert import convert
from routerd.worker.gguf import tensor_name
from routerd.worker.lm import load
from tests.support.tiny_gguf import write_gguf
from tests.support.tiny_model import make_tiny_model
from tests.support.worker_client import WorkerClient, ask


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("gguf") / "tiny")


def test_a_converted_model_answers(folder: Path, tmp_path: Path) -> None:
    source = write_gguf(folder, tmp_path / "tiny.gguf")
    steps: list[tuple[str, float]] = []
    convert(source, tmp_path / "out", "bf16", lambda *step: steps.append(step))

    check_folder(tmp_path / "out")
    assert steps[-1] == ("done", 1.0)
    with WorkerClient(tmp_path / "out") as worker:
        assert worker.ready().context == 2048
        assert worker.chat(ask()).finished.usage.completion_tokens == 16


def test_a_converted_tokenizer_gives_the_same_ids(folder: Path, tmp_path: Path) -> None:
    convert(write_gguf(folder, tmp_path / "tiny.gguf"), tmp_path / "out", "bf16", lambda *_: None)
    ours, theirs = load(tmp_path / "out", lambda _: None), load(folder, lambda _: None)
    chat = [{"role": "user", "content": "the quick brown fox, 42 é"}]

    assert ours.encode(ours.render(chat), special=False) == theirs.encode(theirs.render(chat), special=False)
    assert ours.tokenizer.eos_token_ids == theirs.tokenizer.eos_token_ids


def test_converted_weights_are_the_same_up_to_rounding(folder: Path, tmp_path: Path) -> None:
    convert(write_gguf(folder, tmp_path / "tiny.gguf"), tmp_path / "out", "bf16", lambda *_: None)
    ours, theirs = (mx.load(str(f / "model.safetensors")) for f in (tmp_path / "out", folder))

    assert ours.keys() == theirs.keys()
    assert all(mx.allclose(ours[n], theirs[n], rtol=1e-2, atol=1e-3) for n in ours)


def test_4bit_of_an_unquantized_file_keeps_its_values(folder: Path, tmp_path: Path) -> None:
    convert(write_gguf(folder, tmp_path / "tiny.gguf"), tmp_path / "out", "4bit", lambda *_: None)

    assert "quantization" not in json.loads((tmp_path / "out" / "config.json").read_text())
    assert load(tmp_path / "out", lambda _: None).context == 2048


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"general.architecture": "gemma3"}, "gemma3"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer of kind"),
        ({"tokenizer.ggml.pre": "martian"}, "martian"),
    ],
)
def test_what_cannot_be_converted_is_said_in_one_message(
    folder: Path, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    source = write_gguf(folder, tmp_path / "tiny.gguf", **changes)
    with pytest.raises(BrokenModelError, match=words) as caught:
        convert(source, tmp_path / "out", "bf16", lambda *_: None)

    assert caught.value.hint
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.gguf"}, "nothing half made is left"


def test_an_unknown_tensor_is_refused() -> None:
    assert tensor_name("blk.7.attn_q.scales") == "model.layers.7.self_attn.q_proj.scales"
    with pytest.raises(BrokenModelError, match="rope_freqs"):
        tensor_name("rope_freqs.weight")


def test_the_mode_fails_with_one_line_and_code_3(folder: Path, tmp_path: Path) -> None:
    source = write_gguf(folder, tmp_path / "bad.gguf")
    os.truncate(source, source.stat().st_size // 2)
    done = run_mode(source, tmp_path / "out")

    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "bad.gguf" in done.stderr


def test_the_mode_reports_progress_as_json_lines(folder: Path, tmp_path: Path) -> None:
    done = run_mode(write_gguf(folder, tmp_path / "tiny.gguf"), tmp_path / "out")
    steps = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.returncode == 0
    assert steps[0] == {"phase": "read", "fraction": 0.0}
    assert [s["fraction"] for s in steps if s["phase"] == "weights"][-1] == 1.0


def run_mode(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "routerd.worker", "convert", str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_part_of_a_split_file_is_refused_by_its_metadata(folder: Path, tmp_path: Path) -> None:
    part = write_gguf(folder, tmp_path / "renamed.gguf", **{"split.count": mx.array(2, mx.uint16)})
    with pytest.raises(BrokenModelError, match="2 parts of a split GGUF"):
        convert(part, tmp_path / "out", "bf16", lambda *_: None)
    assert not (tmp_path / "out").exists()
