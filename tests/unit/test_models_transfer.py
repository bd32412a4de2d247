"""One file, received from a source that does what the test says."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from routerd.models.errors import PrepareError
from routerd.models.listing import ListedFile
from routerd.models.transfer import Body, Patience, TransientError, WrongLengthError, part_of, receive

CONTENT = b"0123456789"
LARGE = ListedFile(len(CONTENT), "0" * 40, lfs_sha256=hashlib.sha256(CONTENT).hexdigest())
SMALL = ListedFile(len(CONTENT), hashlib.sha1(b"blob 10\0" + CONTENT, usedforsecurity=False).hexdigest())


class Source:
    """Sends ``content`` from where it is asked to, or what ``answers`` holds first."""

    def __init__(self, *answers: bytes | Exception, content: bytes = CONTENT, ranges: bool = True) -> None:
        self.answers = deque(answers)
        self.content = content
        self.ranges = ranges
        self.starts: list[int] = []

    @contextmanager
    def __call__(self, start: int) -> Iterator[Body]:
        self.starts.append(start)
        if start and start >= len(self.content):
            raise WrongLengthError
        yield Body(start if self.ranges else 0, self._blocks(start if self.ranges else 0))

    def _blocks(self, start: int) -> Iterator[bytes]:
        answer = self.answers.popleft() if self.answers else self.content[start:]
        if isinstance(answer, Exception):
            yield self.content[start : start + 3]
            raise answer
        yield answer


def again() -> TransientError:
    return TransientError("cut", retry_after=0)


@pytest.mark.parametrize("file", [LARGE, SMALL])
def test_a_file_appears_whole(tmp_path: Path, file: ListedFile) -> None:
    sizes: list[int] = []
    receive(tmp_path / "blobs" / "file", file, Source(), sizes.append)

    assert (tmp_path / "blobs" / "file").read_bytes() == CONTENT
    assert sizes[-1] == len(CONTENT)
    assert not part_of(tmp_path / "blobs" / "file").exists()


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    empty = ListedFile(0, hashlib.sha1(b"blob 0\0", usedforsecurity=False).hexdigest())
    receive(tmp_path / "file", empty, Source(content=b""), lambda _: None)

    assert (tmp_path / "file").read_bytes() == b""


def test_a_connection_that_breaks_is_taken_up_again(tmp_path: Path) -> None:
    source = Source(again(), again())
    receive(tmp_path / "file", LARGE, source, lambda _: None)

    assert source.starts == [0, 3, 6]


def test_a_source_that_only_starts_from_the_beginning_is_enough(tmp_path: Path) -> None:
    source = Source(again(), ranges=False)
    receive(tmp_path / "file", LARGE, source, lambda _: None)

    assert source.starts == [0, 3]
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"abcdefghij", CONTENT + b"more"])
def test_other_content_is_refused_and_not_kept(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(PrepareError):
        receive(tmp_path / "file", LARGE, Source(content=content), lambda _: None)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rest", [b"abc", CONTENT, CONTENT + b"more"])
def test_what_an_earlier_attempt_left_is_used_only_if_it_is_right(tmp_path: Path, rest: bytes) -> None:
    part_of(tmp_path / "file").write_bytes(rest)
    source = Source()
    receive(tmp_path / "file", LARGE, source, lambda _: None)

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert source.starts == {3: [3, 0], 10: [], 14: [0]}[len(rest)]


def test_patience_waits_longer_each_time_and_then_ends() -> None:
    waits: list[float] = []
    patience = Patience(waits.append)
    for _ in range(4):
        patience.lose(TransientError("busy"))

    assert waits == [1, 2, 4, 8]
    with pytest.raises(PrepareError, match="busy"):
        patience.lose(TransientError("busy"))


def test_patience_waits_as_long_as_it_is_asked_to_within_bounds() -> None:
    waits: list[float] = []
    patience = Patience(waits.append)
    patience.lose(TransientError("busy", retry_after=30))

    assert waits == [30]
    with pytest.raises(PrepareError):
        patience.lose(TransientError("busy", retry_after=3600))


def test_what_was_gained_restores_patience() -> None:
    waits: list[float] = []
    patience = Patience(waits.append)
    for _ in range(10):
        patience.restore()
        patience.lose(TransientError("cut"))

    assert waits == [1] * 10
