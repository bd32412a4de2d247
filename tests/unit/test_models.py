"""Model references, and where their files are."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from routerd.models.errors import BrokenModelError, ModelNotFoundError
from routerd.models.folder import check_folder
from routerd.models.hub import snapshot
from routerd.models.lock import locked
from routerd.models.reference import Kind, ModelReference, converted_folder, resolve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The smallest folder that looks like a whole model."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    write_safetensors(folder / "model.safetensors")
    return folder


def write_safetensors(file: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {}}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("demo", Kind.DEMO),
        ("/models/qwen", Kind.FOLDER),
        ("~/models/qwen", Kind.FOLDER),
        ("./qwen", Kind.FOLDER),
        ("../qwen", Kind.FOLDER),
        ("/models/qwen.gguf", Kind.GGUF),
        ("qwen.Q4_0.GGUF", Kind.GGUF),
        ("mlx-community/Qwen3-4B-Instruct-2507-4bit", Kind.HUB),
    ],
)
def test_a_reference_says_what_it_is(text: str, kind: Kind) -> None:
    assert ModelReference.parse(text).kind is kind


def test_a_folder_that_is_there_wins_over_an_id(tmp_path: Path) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)

    assert ModelReference.parse("org/name", tmp_path) == ModelReference("org/name", Kind.FOLDER, tmp_path / "org/name")
    assert ModelReference.parse("org/other", tmp_path).kind is Kind.HUB


def test_relative_paths_count_from_the_base(tmp_path: Path) -> None:
    assert ModelReference.parse("./qwen", tmp_path).path == tmp_path / "qwen"
    assert ModelReference.parse("~/qwen", tmp_path).path == Path.home() / "qwen"


@pytest.mark.parametrize("text", ["", "qwen", "a/b/c", "org/na me"])
def test_other_texts_are_no_references(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no model"):
        ModelReference.parse(text, tmp_path / "nowhere")


def test_a_folder_resolves_to_itself(folder: Path, tmp_path: Path) -> None:
    assert resolve(ModelReference.parse(str(folder)), tmp_path) == folder


@pytest.mark.parametrize("text", ["/nowhere/at/all", "/nowhere.gguf", "org/never-downloaded"])
def test_what_is_not_there_says_what_to_do(text: str, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(ModelReference.parse(text), tmp_path)

    assert caught.value.hint


def test_a_folder_without_config_is_no_model(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        resolve(ModelReference.parse(str(folder)), tmp_path)


def test_the_demo_has_to_be_prepared_first(tmp_path: Path) -> None:
    demo = ModelReference.parse("demo")
    assert resolve(demo, tmp_path) is None
    made = converted_folder(demo, tmp_path)
    made.mkdir(parents=True)

    assert resolve(demo, tmp_path) == made == tmp_path / "models" / made.name


def hub_snapshot(root: Path, revision: str) -> Path:
    folder = root / "models--org--name" / "snapshots" / revision
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    return folder


def test_the_hub_cache_gives_the_revision_of_main(tmp_path: Path) -> None:
    main, _newer = hub_snapshot(tmp_path, "aaa"), hub_snapshot(tmp_path, "bbb")
    refs = tmp_path / "models--org--name" / "refs"
    refs.mkdir()
    (refs / "main").write_text("aaa")

    assert snapshot("org/name", tmp_path) == main


def test_the_hub_cache_passes_over_half_a_download(tmp_path: Path) -> None:
    whole = hub_snapshot(tmp_path, "aaa")
    (hub_snapshot(tmp_path, "bbb") / "config.json").unlink()

    assert snapshot("org/name", tmp_path) == whole


def test_an_id_not_in_the_hub_cache_says_how_to_download(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        snapshot("org/name", tmp_path)

    assert "hf download org/name" in caught.value.hint


def test_a_whole_folder_passes(folder: Path) -> None:
    check_folder(folder)


def test_an_index_that_names_what_is_there_passes(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model.safetensors"}}')

    check_folder(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\xff" * 100, struct.pack("<Q", 2) + b"[]"])
def test_weights_that_are_no_safetensors_are_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(BrokenModelError):
        check_folder(folder)


@pytest.mark.parametrize("content", ["", "[]", '{"model_type": 1}', "\x00"])
def test_a_config_that_says_nothing_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(BrokenModelError):
        check_folder(folder)


async def test_a_lock_is_waited_for_until_its_deadline(tmp_path: Path) -> None:
    async with locked(tmp_path / "lock", timeout=1):
        with pytest.raises(TimeoutError):
            async with locked(tmp_path / "lock", timeout=0.01):
                pass


async def test_a_lock_goes_from_one_to_the_next(tmp_path: Path) -> None:
    holders: list[int] = []

    async def hold(number: int) -> None:
        async with locked(tmp_path / "deep" / "lock", timeout=10):
            holders.append(number)
            await anyio.lowlevel.checkpoint()
            assert holders[-1] == number, "nobody else came in"

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(hold, number)

    assert sorted(holders) == [0, 1, 2]


def test_nothing_of_mlx_is_loaded() -> None:
    """Asked of a fresh interpreter, as other tests load it into this one."""
    code = "import sys, routerd.models.prepare; assert not {'mlx', 'mlx_lm', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
