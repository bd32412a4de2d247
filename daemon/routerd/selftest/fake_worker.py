"""A worker without a model: speaks `routerd.wire` on its socketpair, and misbehaves as its arguments say.

    python -m routerd.selftest.fake_worker --fd 5 --tokens 20 --delay 0.01 --die-after 3

Each answer is ``--tokens`` pieces ``t0 t1 t2 ...``, one token each and no more than ``max_tokens``.
End of file on the socket ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from routerd_client.chat import FinishReason, Usage
from routerd_client.framing import FrameBuffer, pack
from routerd_client.records import FailureKind

from .. import wire

MEMORY = wire.Memory(active=1_000_000, peak=2_000_000, cache=500_000, kv=0)
EXIT_LOAD_FAILED = 3
BROKEN_CALL = '<tool_call>{"name": "look", "arguments": {"at": </tool_call>'


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fake_worker")
    add = parser.add_argument
    add("--size", help="what the test's sizing reads; nothing here does")
    add("--fd", type=int, required=True, help="its end of the socketpair")
    add("--load-seconds", type=float, default=0.0)
    add("--load-while", type=Path, help="load for as long as this file exists")
    add("--hang-load", action="store_true", help="never become ready")
    add("--refuse-load", metavar="MESSAGE", help="say that the model cannot be loaded")
    add("--alone", default="", metavar="WHY", help="say that the model answers one request at a time")
    add("--no-tools", action="store_true", help="say that the model cannot call tools")
    add("--exit-code", type=int, help="exit with this code instead of becoming ready")
    add("--die-after-load", action="store_true", help="exit as soon as a first request comes")
    add("--die-on", metavar="WORD", help="kill itself at a request whose last message has this word in it")
    add("--tokens", type=int, default=3)
    add("--delay", type=float, default=0.0, help="seconds before each token")
    add("--piece", type=int, default=0, help="pad each piece to this many characters")
    add("--hold", type=Path, help="after the first token, wait for as long as this file exists")
    add("--stall-after", type=int, metavar="K", help="say nothing more after K tokens, but live")
    add("--spin-after", type=int, metavar="K", help="compute for ever after K tokens, deaf to Cancel")
    add("--die-after", type=int, metavar="K", help="kill itself after K tokens")
    add("--die-by", default="SIGKILL", metavar="SIGNAL", help="the signal that it kills itself with")
    add("--exit-after", type=int, metavar="K", help="exit with code 0 after K tokens")
    add("--exit-idle", action="store_true", help="exit with code 0 once its first answer is whole")
    add("--hang-up-after", type=int, metavar="K", help="close the socket after K tokens, but live")
    add("--child", type=Path, metavar="FILE", help="start a process of its own, and write its pid to this file")
    add("--garbage", action="store_true", help="answer with bytes that are no frame")
    add("--deep", action="store_true", help="answer with a frame that is nested without end")
    add("--fail", metavar="KIND", help="fail every request, before its first token, with this FailureKind")
    add("--fail-after", type=int, default=0, metavar="K", help="--fail after K tokens instead")
    add("--fail-while", type=Path, help="--fail only for as long as this file exists")
    add("--broken-call", action="store_true", help="the answer is a tool call that cannot be read")
    add("--echo", action="store_true", help="the answer is the last user message")
    add("--deaf", action="store_true", help="stop reading the socket after the load: not even a Cancel is heard")
    add("--record", type=Path, help="append a JSON line for each Generate, Cancel and Count to this file")
    add("--counter", action="store_true", help="be a counter: load nothing, and be asked for counts alone")
    add("--count", type=int, metavar="N", help="every prompt has N tokens; without it one for each of its words")
    add("--die-counting", action="store_true", help="kill itself when it is to count")
    parser.add_argument("--context", type=int, default=2048, help="the model's context, in tokens")
    return parser.parse_args(arguments)


class FakeWorker:
    """One thread reads; each answer has a thread of its own."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._socket = socket.socket(fileno=options.fd)
        self._sending = threading.Lock()
        self._cancelled: dict[int, threading.Event] = {}

    def send(self, message: wire.FromWorker) -> None:
        with self._sending:
            self._socket.sendall(pack(wire.encoder.encode(message)))

    def load(self) -> None:
        options = self.options
        if options.child:
            options.child.write_text(str(subprocess.Popen(["/bin/sleep", "3600"]).pid))
        self.send(wire.Loading(phase="weights", fraction=0.5))
        threading.Event().wait(options.load_seconds)
        while options.hang_load or (options.load_while and options.load_while.exists()):
            self._end_with_the_daemon()
        if options.exit_code is not None:
            print("the driver is on fire", file=sys.stderr, flush=True)
            os._exit(options.exit_code)
        if options.refuse_load is not None:
            self.send(wire.LoadFailed(message=options.refuse_load, hint="choose another"))
            os._exit(EXIT_LOAD_FAILED)
        self.send(
            wire.Ready(
                context=options.context,
                vocab=384,
                load_s=options.load_seconds,
                tools=not options.no_tools,
                reasoning=False,
                versions={"fake": "1"},
                memory=MEMORY,
                alone=options.alone,
            )
        )

    def _end_with_the_daemon(self) -> None:
        self._socket.settimeout(0.01)
        try:
            if not self._socket.recv(1, socket.MSG_PEEK):
                os._exit(0)
        except TimeoutError:
            pass
        self._socket.settimeout(None)

    def serve(self) -> None:
        frames = FrameBuffer()
        while chunk := self._socket.recv(65536):
            for frame in frames.feed(chunk):
                self.handle(wire.decode(frame))
        if self.options.hang_up_after is not None:
            time.sleep(3600)
        os._exit(0)

    def handle(self, message: wire.ToWorker) -> None:
        match message:
            case wire.Generate():
                self.record("generate", message.id, message.chat.messages[-1].text)
                if self.options.die_after_load:
                    os._exit(1)
                if self.options.die_on and self.options.die_on in message.chat.messages[-1].text:
                    signal.raise_signal(signal.Signals[self.options.die_by])
                self._cancelled[message.id] = threading.Event()
                threading.Thread(target=self.answer, args=[message], daemon=True).start()
            case wire.Cancel():
                self.record("cancel", message.id)
                if cancelled := self._cancelled.get(message.id):
                    cancelled.set()
            case wire.Ping():
                self.send(wire.Pong(id=message.id, memory=MEMORY, in_flight=len(self._cancelled)))
            case wire.Count():
                self.record("count", message.id, message.chat.messages[-1].text)
                self.count(message)
            case wire.Stop():
                os._exit(0)

    def count(self, question: wire.Count) -> None:
        if self.options.die_counting:
            signal.raise_signal(signal.SIGKILL)
        words = sum(len(message.text.split()) for message in question.chat.messages)
        tokens = words if self.options.count is None else self.options.count
        self.send(wire.Counted(id=question.id, tokens=tokens))

    def record(self, what: str, id_: int, text: str = "") -> None:
        if self.options.record:
            with self.options.record.open("a") as file:
                file.write(json.dumps({"what": what, "id": id_, "text": text, "pid": os.getpid()}) + "\n")

    def answer(self, request: wire.Generate) -> None:
        options, id_ = self.options, request.id
        if options.garbage:
            self._socket.sendall(b"\xff" * 64)
        if options.deep:
            self._socket.sendall(pack(b"\x82\xa4type\xa6failed\xa4more" + b"\x91" * 100_000 + b"\xc0"))
        fails = options.fail and (options.fail_while is None or options.fail_while.exists())
        if fails and not options.fail_after:
            self._fail(id_)
            return
        if options.broken_call:
            self.send(wire.Piece(id=id_, text=BROKEN_CALL, flaw="the model wrote a tool call that cannot be read"))
            usage = Usage(prompt_tokens=7, completion_tokens=9)
            self._end(wire.Finished(id=id_, finish_reason=FinishReason.STOP, usage=usage, decode_s=0.01))
            return
        words = request.chat.messages[-1].text.split(" ") if options.echo else [f"t{n}" for n in range(options.tokens)]
        words = words[: request.chat.max_tokens]
        self.send(wire.Prefill(id=id_, done=1, total=1))
        for number, word in enumerate(words):
            if fails and number == options.fail_after:
                self._fail(id_)
                return
            self._misbehave(number)
            if self._wait(id_, number):
                self._end(wire.Failed(id=id_, kind=FailureKind.CANCELLED, message="cancelled"))
                return
            self.send(wire.Piece(id=id_, text=(word if number == 0 else f" {word}").ljust(options.piece)))
        usage = Usage(prompt_tokens=7, completion_tokens=len(words))
        self._end(wire.Finished(id=id_, finish_reason=FinishReason.STOP, usage=usage, decode_s=0.01))

    def _misbehave(self, number: int) -> None:
        options = self.options
        if options.die_after == number:
            signal.raise_signal(signal.Signals[options.die_by])
        if options.exit_after == number:
            os._exit(0)
        if options.hang_up_after == number:
            self._socket.shutdown(socket.SHUT_RDWR)
            time.sleep(3600)
        while options.spin_after == number:
            pass

    def _wait(self, id_: int, number: int) -> bool:
        """Whether the answer was cancelled while it waited for its token ``number``."""
        cancelled = self._cancelled[id_]
        if self.options.stall_after == number:
            return cancelled.wait()
        while number == 1 and self.options.hold and self.options.hold.exists():
            if cancelled.wait(0.005):
                return True
        return cancelled.wait(self.options.delay) if self.options.delay else cancelled.is_set()

    def _fail(self, id_: int) -> None:
        kind = FailureKind(self.options.fail)
        self._end(wire.Failed(id=id_, kind=kind, message=f"made to fail: {kind.value}"))

    def _end(self, message: wire.Finished | wire.Failed) -> None:
        del self._cancelled[message.id]
        self.send(message)
        if self.options.exit_idle:
            os._exit(0)


def main() -> None:
    options = parse()
    worker = FakeWorker(options)
    try:
        if not options.counter:
            worker.load()
        if options.deaf:
            daemon = os.getppid()
            while os.getppid() == daemon:  # it does not hear the socket's end
                time.sleep(0.5)
            os._exit(0)
        worker.serve()
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the daemon is gone


if __name__ == "__main__":
    main()
