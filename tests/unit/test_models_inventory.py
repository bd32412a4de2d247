"""What is on this machine beside the hub's cache, and what may be removed of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from routerd.models.errors import ModelError, ModelNotFoundError
from routerd.models.inventory import location, remove, stored
from routerd.models.lock import locked
from routerd.models.prepare import lock_file
from routerd.models.reference import Kind, ModelReference, converted_folder

DEMO = ModelReference("demo", Kind.DEMO)


def make(folder: Path, *, whole: bool = True) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(1000))
    if whole:
        (folder / "config.json").write_text("{}")
    return folder


def own(cache: Path) -> dict[str, bool]:
    """What is in routerd's own cache, and whether it is whole."""
    return {model.reference: model.whole for model in stored(cache) if model.path.is_relative_to(cache)}


def test_an_empty_cache_holds_nothing(tmp_path: Path) -> None:
    assert own(tmp_path) == {}


def test_the_demo_and_conversions_are_listed(tmp_path: Path) -> None:
    make(converted_folder(DEMO, tmp_path))
    conversion = make(tmp_path / "models" / "qwen-abc-bf16")
    half = make(tmp_path / "models" / "qwen-def-bf16.partial")

    assert own(tmp_path) == {"demo": True, str(conversion): True, str(half): False}


async def test_removing_gives_the_bytes_that_were_freed(tmp_path: Path) -> None:
    folder = make(converted_folder(DEMO, tmp_path))
    scratch = make(folder.with_name(folder.name + ".download"), whole=False)

    assert await remove(DEMO, tmp_path) == 2002
    assert not folder.exists()
    assert not scratch.exists()


async def test_a_conversion_is_removed_by_its_folder_or_its_source(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    source = ModelReference.parse(str(tmp_path / "a.gguf"))
    for name in (source, ModelReference.parse(str(converted_folder(source, tmp_path)))):
        folder = make(converted_folder(source, tmp_path))
        await remove(name, tmp_path)

        assert not folder.exists()


async def test_what_lies_elsewhere_is_not_removed(tmp_path: Path) -> None:
    folder = make(tmp_path / "mine")
    (tmp_path / "cache" / "models").mkdir(parents=True)
    (tmp_path / "cache" / "models" / "linked").symlink_to(folder)
    for path in (folder, tmp_path / "cache" / "models" / "linked", tmp_path / "cache" / "models" / ".."):
        with pytest.raises(ModelError):
            await remove(ModelReference("x", Kind.FOLDER, path), tmp_path / "cache")

    assert (folder / "config.json").exists()


@pytest.mark.parametrize("text", ["demo", "/nowhere/x.gguf", "org/never-downloaded"])
async def test_what_is_not_there_cannot_be_removed(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelNotFoundError):
        await remove(ModelReference.parse(text), tmp_path)


async def test_one_revision_alone_cannot_be_removed(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        await remove(ModelReference.parse("org/name@v1"), tmp_path)

    assert "org/name" in caught.value.hint


async def test_what_is_just_being_made_is_not_removed(tmp_path: Path) -> None:
    folder = make(converted_folder(DEMO, tmp_path))
    async with locked(lock_file(DEMO, tmp_path), timeout=1):
        with pytest.raises(ModelError, match="being prepared"):
            await remove(DEMO, tmp_path)

    assert location(DEMO, tmp_path) == folder.resolve()
    assert (folder / "config.json").exists()
