"""Copies variables to and from kernels of other languages: R by JSON, bash as texts.

What goes and comes is between the two ends only. An IRkernel is sent values with its request, and answers with the
reply. A bash is sent them in the code of a silent request, which nobody else receives, or in a private file where it
runs on this machine; it answers in that file, or in completions, which are slower and have little room.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from kernel_bridge_magic.access.files import create
from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.protocol.messages import describe_kernel, describe_language
from kernel_bridge_magic.remote_code import languages as remote
from kernel_bridge_magic.remote_code import r_nodes
from kernel_bridge_magic.remote_code.languages import language_of
from kernel_bridge_magic.transfer.exchange import Exchange
from kernel_bridge_magic.transfer.refusals import is_size, too_large

__all__ = ("get", "language_of", "put")

_INLINE = 4_000_000  # characters of code that a bash is sent


def put(exchange: Exchange, values: Mapping[str, Any], *, most: int, folder: str | None = None) -> dict[str, bool]:
    """Set variables there, all or none; return for each whether there was one of that name.

    `most` is how many bytes all may have. `folder` is a private folder that the kernel can reach, None if it cannot.

    Raises:
        BadVariable: a value or a name cannot go there.
        NotCopied: the kernel did not do it, or did not answer.
    """
    language, kernel = _known(exchange), exchange.kernel
    for name in values:
        remote.check_name(language, name)
    if language == "R":
        return _put_r(exchange, values, most)
    texts = {name: remote.bash_text(name, value) for name, value in values.items()}
    names = list(texts)
    _check_size(names, sum(len(text.encode()) for text in texts.values()), most)
    words = _run_bash(exchange, remote.bash_words(names, texts), names, most, folder)
    for name, word in zip(names, words, strict=True):
        if word == "!":
            raise BadVariable(f"{name} cannot be set in {kernel}: it is read-only, an array or typed there", name=name)
    return {name: word == "+" for name, word in zip(names, words, strict=True)}


def get(exchange: Exchange, names: Sequence[str], *, most: int, folder: str | None = None) -> dict[str, Any]:
    """Return variables from there, by name. The parameters are those of `put`.

    Raises:
        BadVariable: there is no such variable, or it cannot be copied.
        NotCopied: the kernel did not answer, or what came is no value.
    """
    language, kernel = _known(exchange), exchange.kernel
    for name in names:
        remote.check_name(language, name)
    if language == "R":
        answer = _ask_r(exchange, remote.r_request(names, None, most), names, most)
        values = answer.get("values")
        if not isinstance(values, list) or len(values) != len(names):
            raise NotCopied(f"{kernel} gave no answer that makes sense")
        return {name: _named(name, r_nodes.r_value, node) for name, node in zip(names, values, strict=True)}
    words = _run_bash(exchange, remote.bash_words(names), names, most, folder)
    for name, word in zip(names, words, strict=True):
        if word == "-":
            raise BadVariable(f"{kernel} has no variable {name}", name=name)
        if word == "!":
            raise BadVariable(
                f"{name} in {kernel} is an array, which cannot be copied", f"copy ${{{name}[*]}}", name=name
            )
    _check_size(names, sum(map(len, words)) * 3 // 4, most)
    return {name: _named(name, remote.bash_value, word) for name, word in zip(names, words, strict=True)}


def _known(exchange: Exchange) -> str:
    """Return the language of a kernel whose variables can be copied here."""
    info, kernel = exchange.transport.state.info, exchange.kernel
    language, program = language_of(info), str(info.get("implementation"))
    if (language, program) in (("R", "IRkernel"), ("bash", "bash_kernel")):
        return language
    is_other = language in ("R", "bash")
    what = (describe_kernel(info) if is_other else describe_language(info)) or "what it does not say"
    raise BadVariable(f"{kernel} runs {what}, for which variables cannot be copied yet")


def _check_size(names: Sequence[str], size: int, most: int) -> None:
    if size > most:
        raise too_large(names, size, most)


def _named(name: str, read: Any, part: Any) -> Any:
    try:
        return read(part)
    except NotCopied as problem:
        raise NotCopied(f"{name}: {problem.problem}", problem.remedy) from None


# -- R


def _put_r(exchange: Exchange, values: Mapping[str, Any], most: int) -> dict[str, bool]:
    nodes = []
    for name, value in values.items():
        try:
            nodes.append(r_nodes.r_node(value))
        except ValueError as problem:
            what, _, remedy = str(problem).partition("; ")
            raise BadVariable(f"{name} {what}", remedy, name=name) from None
    content = remote.r_request(list(values), nodes, most)
    _check_size(list(values), len(content["user_expressions"][remote.NAME]), most)
    replaced = _ask_r(exchange, content, list(values), most).get("replaced")
    if not isinstance(replaced, list) or len(replaced) != len(values):
        raise NotCopied(f"{exchange.kernel} gave no answer that makes sense")
    return {name: one is True for name, one in zip(values, replaced, strict=True)}


def _ask_r(exchange: Exchange, content: Mapping[str, Any], names: Sequence[str], most: int) -> dict[str, Any]:
    kernel = exchange.kernel
    answer = remote.r_answer(exchange.ask(content))
    if answer is None:
        raise NotCopied(f"{kernel} gave no answer; it may be no IRkernel, or an old one")
    problem, size = answer.get("problem"), answer.get("size")
    if isinstance(size, int) and is_size(size):
        raise too_large(names, size, most)
    if problem is not None:
        what, _, remedy = str(problem)[:300].partition("; ")
        raise BadVariable(f"{what} (in {kernel})", remedy)
    return answer


# -- bash


def _run_bash(exchange: Exchange, given: str, names: Sequence[str], most: int, folder: str | None) -> list[str]:
    """Have a bash do what the words `given` say of these variables, and return the words of its answer."""
    if folder is not None:
        return remote.bash_words_of(_by_file(exchange, given, names, most, folder), len(names))
    if len(given) > _INLINE:
        where = f"{_INLINE * 3 // 4_000_000} MB can go to a bash on another machine"
        raise BadVariable(f"the variables are too large: {where}", "send a file", size=len(given) * 3 // 4)
    exchange.ask(remote.bash_request(given))
    try:
        reply = exchange.ask(remote.bash_question(), msg_type="complete_request")
    finally:
        exchange.leave(remote.bash_request())
    answer = remote.bash_answer(reply)
    if answer == "L":
        raise BadVariable("the variables are too large: 0.3 MB can come from a bash on another machine", "send a file")
    return remote.bash_words_of(answer, len(names))


def _by_file(exchange: Exchange, given: str, names: Sequence[str], most: int, folder: str) -> str:
    os.makedirs(folder, 0o700, exist_ok=True)
    path = os.path.join(folder, uuid.uuid4().hex)
    try:
        with os.fdopen(create(path), "w", encoding="ascii") as file:
            file.write(given)
        exchange.ask(remote.bash_request(path=path))
        with open(path, encoding="ascii", errors="replace") as file:
            answer = file.read(most * 2 + 10_000)
        _check_size(names, len(answer) * 3 // 4 - 10_000, most)
        return answer
    except OSError as problem:
        raise NotCopied(f"{exchange.kernel}: no file could be used for it ({problem.strerror})") from problem
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
