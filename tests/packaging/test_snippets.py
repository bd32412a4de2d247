"""Python that the documents and examples show passes a strict type check."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("client/*.md"), *ROOT.glob("packaging/*.md")]


def snippets(document: Path) -> list[str]:
    """Its blocks of Python that use the client; those of other libraries show only what to hand over."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    return [block for block in blocks if "routerd_client" in block]


def type_check(folder: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(folder / "cache")]
    return subprocess.run(
        [*command, *map(str, files)], capture_output=True, text=True, timeout=300, check=False, cwd=folder
    )


def test_all_snippets_and_examples_type_check(tmp_path: Path) -> None:
    files = sorted(ROOT.glob("examples/**/*.py"))
    for document in sorted(DOCUMENTS):
        for number, text in enumerate(snippets(document)):
            file = tmp_path / f"{document.parent.name.replace('.', '_')}_{document.stem}_{number}.py"
            file.write_text(text)
            files.append(file)
    assert any("README" in file.name for file in files)
    assert any(file.name == "ask.py" for file in files)
    done = type_check(tmp_path, *files)
    assert done.returncode == 0, done.stdout + done.stderr


STREAMS = """
from routerd_client import AsyncClient, Client, Delta, Done


def blocking(client: Client) -> str:
    said = ""
    for event in client.stream("x", restarts=True, context={"level": 3, "who": None}):
        said += event.text
        if isinstance(event, Done):
            said += event.backend
        elif isinstance(event, Delta):
            said += event.reasoning
    return said


async def waiting(client: AsyncClient) -> str:
    return "".join([event.text async for event in client.stream("x")])
"""


@pytest.mark.parametrize(("text", "passes"), [(STREAMS, True), (STREAMS.replace("event.text", "event.words"), False)])
def test_every_event_of_a_stream_has_a_text_for_a_type_checker(tmp_path: Path, text: str, *, passes: bool) -> None:
    (tmp_path / "streams.py").write_text(text)
    done = type_check(tmp_path, tmp_path / "streams.py")
    assert (done.returncode == 0) is passes, done.stdout + done.stderr
