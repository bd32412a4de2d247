"""Weights beside an index that does not name them, and parts of split files, are no part of a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from routerd.models.errors import BrokenModelError
from routerd.models.folder import check_folder, weight_files
from routerd.models.reference import ModelReference, resolve
from routerd.models.size import estimate
from tests.support.tiny_model import make_tiny_model


def indexed(folder: Path, *named: str) -> Path:
    index = {"weight_map": {f"tensor {at}": name for at, name in enumerate(named)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_the_index_says_which_files_count(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    alone = estimate(folder).weights
    shutil.copy(folder / "model.safetensors", folder / "model_old.safetensors")
    assert estimate(folder).weights == 2 * alone, "without an index mlx-lm takes them all"
    indexed(folder, "model.safetensors")
    assert estimate(folder).weights == alone
    assert [file.name for file in weight_files(folder)] == ["model.safetensors"]


def test_a_damaged_stray_file_is_not_looked_at(tmp_path: Path) -> None:
    folder = indexed(make_tiny_model(tmp_path), "model.safetensors")
    (folder / "model_old.safetensors").write_bytes(b"cut")
    check_folder(folder)


@pytest.mark.parametrize("name", ["m-00001-of-00002.gguf", "m-00002-of-00002.GGUF", "a b-00003-of-00010.gguf"])
def test_a_part_of_a_split_file_is_no_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(BrokenModelError, match="split GGUF") as caught:
        resolve(ModelReference.parse(str(tmp_path / name)), tmp_path)
    assert "--merge" in caught.value.hint
    assert caught.value.permanent


@pytest.mark.parametrize("name", ["m.gguf", "m-00001-of-00001.gguf", "m-2-of-3.gguf"])
def test_other_names_are_whole_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"GGUF")
    assert resolve(ModelReference.parse(str(tmp_path / name)), tmp_path) is None, "it is to be converted"
