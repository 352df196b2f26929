"""An IPython kernel in this process, as far as variables need it: it evaluates what it is sent, and answers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import IPython
import pytest

from kernel_bridge_magic.protocol.messages import Message
from tests.support.still import StillTransport


class OtherKernel(StillTransport):
    """A transport to it. `namespace` is what its user has; `answers` may change what it answers, or leave it out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.namespace: dict[str, Any] = {}
        self.answers: Callable[[Message, dict[str, Any]], dict[str, Any] | None] = lambda asked, answer: answer
        self.state.info = {"implementation": "ipython", "language_info": {"name": "python"}}
        self.posted: list[int] = []
        self._numbers_there = itertools.count()
        self._asked: Message | None = None
        kernel = SimpleNamespace(
            get_parent=self._parent,
            _parent_ident={"shell": b"guest"},
            stdin_socket="stdin",
            session=SimpleNamespace(send=self._post),
        )
        #: what stands for the shell: what is held for guests is one of its attributes
        self.shell = SimpleNamespace(user_ns=self.namespace, push=self.namespace.update, kernel=kernel)
        monkeypatch.setattr(IPython, "get_ipython", lambda: self.shell)

    def _send(self, message: Message) -> None:
        super()._send(message)
        self._asked = message
        told: dict[str, Any] = {}
        for name, expression in message.content.get("user_expressions", {}).items():
            try:
                value = eval(expression, {})
                told[name] = {"status": "ok", "data": value._repr_mimebundle_()}
            except Exception as problem:
                told[name] = {"status": "error", "ename": type(problem).__name__}
        content = self.answers(message, {"status": "ok", "user_expressions": told})
        if content is not None:
            self.come("execute_reply", message.channel, content)

    def _parent(self, channel: str = "shell") -> dict[str, Any]:
        assert self._asked is not None
        return {"header": self._asked.header, "buffers": list(self._asked.buffers)}

    def _post(self, stream: Any, msg_type: str, content: Any, *, parent: Any, ident: Any, buffers: Any) -> None:
        assert (stream, ident) == ("stdin", b"guest")
        self.posted.append(len(buffers[0]))
        self.come(msg_type, "stdin", content, tuple(buffers))

    def come(self, msg_type: str, channel: str, content: Any, buffers: tuple[bytes, ...] = ()) -> None:
        """Have a message come that answers what was asked last."""
        assert self._asked is not None
        header = {"msg_type": msg_type, "msg_id": f"there-{next(self._numbers_there)}", "session": "there"}
        self.router.deliver(Message(channel, header, self._asked.header, {}, content, buffers))
