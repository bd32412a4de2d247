"""How many tokens a prompt has, exactly, and without counting the turns of a conversation again and again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b

from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind

from ..wire import Count, Counted, Failed
from . import prompt
from .literal import pieces
from .lm import Model
from .validate import RequestError

KEPT = 8192
"""Counts of stretches of text that are remembered, some 150 bytes each."""
STRETCH = 512
"""Shorter stretches of text are not worth remembering."""


class Counting:
    """Counts as `prompt.prepare` tokenizes. Not for two threads at once.

    A tokenizer cuts a text at its special tokens before it looks at the words, so the stretches between them
    can be counted each by itself, and the next turn of a conversation repeats all but the last. ``stretch`` is
    how many characters one has at least.
    """

    def __init__(self, model: Model, stretch: int = STRETCH) -> None:
        self._model = model
        self._stretch = stretch
        self._known: OrderedDict[bytes, int] = OrderedDict()

    def answer(self, question: Count) -> Counted | Failed:
        """Never raises: whatever one prompt does to the tokenizer is told as `Failed`."""
        try:
            return Counted(id=question.id, tokens=self.tokens(question.chat))
        except RequestError as exc:
            return Failed(id=question.id, kind=exc.kind, message=str(exc))
        except Exception as exc:
            text = f"the prompt could not be counted: {exc!r}"
            return Failed(id=question.id, kind=FailureKind.SERVER_ERROR, message=text)

    def tokens(self, chat: ChatRequest) -> int:
        """The tokens of ``chat``'s prompt, also where they are more than the context.

        Blocks: 100 KB take a tenth of a second, known ones a tenth of that. Raises `RequestError` where the
        template refuses, and what the tokenizer raises.
        """
        # Only the first is preceded by what the tokenizer puts before a text, and that where no template does.
        special, total = not self._model.has_chat_template, 0
        for piece in pieces(prompt.text(self._model, chat)):
            for stretch in self._stretches(piece):
                total += self._count(stretch, special=special)
                special = False
        return total

    def _stretches(self, text: str) -> Iterator[str]:
        begin = 0
        for cut in self._model.cuts(text):
            if cut - begin >= self._stretch:
                yield text[begin:cut]
                begin = cut
        yield text[begin:]

    def _count(self, text: str, *, special: bool) -> int:
        key = blake2b(text.encode(errors="surrogatepass"), digest_size=16, key=b"special" if special else b"").digest()
        count = self._known.get(key)
        if count is None:
            count = len(self._model.encode(text, special=special))
        self._known[key] = count
        self._known.move_to_end(key)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        return count
