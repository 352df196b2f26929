"""The requests that copy variables to and from kernels of other languages, and the reading of their answers. Pure."""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.protocol.messages import evaluate_content, execute_content, text
from kernel_bridge_magic.remote_code import source

#: What our texts are called in requests and answers.
NAME = "kernel_bridge"

_R_NAME = re.compile(r"(?:[A-Za-z]|\.(?![0-9]))[A-Za-z0-9._]*")
_R_TAKEN = frozenset(
    "if else repeat while function for next break in TRUE FALSE NULL Inf NaN NA NA_integer_ NA_real_ NA_character_ "  # noqa: SIM905
    "NA_complex_ T F .Random.seed .Last.value .Last .First .GlobalEnv .Traceback .Options".split()
)
_BASH_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_BASH_TAKEN = frozenset(
    "_ PATH IFS UID EUID PPID SHELLOPTS PS0 PS1 PS2 PS3 PS4 PROMPT_COMMAND ENV GLOBIGNORE POSIXLY_CORRECT RANDOM "  # noqa: SIM905
    "SRANDOM SECONDS LINENO EPOCHSECONDS EPOCHREALTIME DIRSTACK FUNCNAME GROUPS PIPESTATUS OPTIND OPTARG OPTERR "
    "IGNOREEOF TMOUT HISTCMD HISTCONTROL HISTFILE HISTFILESIZE HISTIGNORE HISTSIZE HISTTIMEFORMAT LD_PRELOAD "
    "LD_LIBRARY_PATH INPUTRC EXECIGNORE FIGNORE TIMEFORMAT SHELL HOSTTYPE MACHTYPE OSTYPE SHLVL".split()
)
_BASH_HINT = "bash takes texts and numbers"
_ANSWER = "$__kernel_bridge_answer_"
_ESCAPES = {"_p": "+", "_s": "/", "_e": "=", "_b": " ", "_m": "-", "_x": "!"}


def language_of(info: Mapping[str, Any]) -> str:
    """Return the language in a `kernel_info_reply`: "R", "bash", "python", or what the kernel calls it; "" for none."""
    about = info.get("language_info")
    name = text(about.get("name")) if isinstance(about, Mapping) else ""
    known = {"r": "R", "bash": "bash", "python": "python"}
    return known.get(name.lower(), name)


def check_name(language: str, name: str) -> None:
    """Check the name of a variable there.

    Raises:
        BadVariable: the language has no such names, or keeps it for itself.
    """
    pattern, taken = (_R_NAME, _R_TAKEN) if language == "R" else (_BASH_NAME, _BASH_TAKEN)
    special = language == "bash" and name.startswith(("BASH", "COMP_", "READLINE_", "__kernel_bridge"))
    if not pattern.fullmatch(name) or name.startswith(".."):
        raise BadVariable(f"{name!r} is no name of a variable in {language}", name=name)
    if name in taken or special:
        raise BadVariable(f"{name} is a name that {language} keeps for itself", "use another name", name=name)


# -- bash


def bash_text(name: str, value: object) -> str:
    """Return what a variable of bash is set to for a value: a text, or a number's text.

    Raises:
        BadVariable: it is of another type, or cannot be a text there.
    """
    if type(value) in (int, float):
        return str(value)
    if type(value) is not str:
        what = f"{name} is of the type {type(value).__name__}, which cannot be copied to bash"
        raise BadVariable(what, _BASH_HINT, name=name)
    if "\0" in value:
        raise BadVariable(f"{name} holds a NUL character, which no variable of bash can", name=name)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadVariable(f"{name} holds half of a surrogate pair, which is no text in bash", name=name) from None
    return value


def bash_words(names: Sequence[str], values: Mapping[str, str] | None = None) -> str:
    """Build the words that ask for variables, or set them to `values`, as `there/values.sh` has them."""
    if values is None:
        return " ".join(f"g:{_base64(name)}:" for name in names)
    return " ".join(f"p:{_base64(name)}:{_base64(values[name])}" for name in names)


def bash_request(given: str = "", *, path: str = "") -> dict[str, Any]:
    """Build the request that does what the words `given` say, or those in the file `path`, which has the answer then.

    Without any of both it takes the last answer away.
    """
    given = f"@{_base64(path)}" if path else given
    code = (
        f": kernel_bridge; __kernel_bridge_given='{given}'; "
        f"\\builtin eval \"$(\\command base64 -d <<< '{_bash_source()}')\""
    )
    return evaluate_content(code)


@functools.cache
def _bash_source() -> str:
    lines = [line.strip() for line in source("values", ".sh").splitlines()]
    return _base64("\n".join(line for line in lines if not line.startswith("#")))


def bash_question() -> dict[str, Any]:
    """Build the content of the `complete_request` for the last answer."""
    return {"code": _ANSWER, "cursor_pos": len(_ANSWER)}


def bash_answer(content: Mapping[str, Any]) -> str | None:
    """Return the answer in a `complete_reply`; None if there is none."""
    matches = content.get("matches")
    found = [match for match in matches if text(match).startswith(_ANSWER)] if isinstance(matches, list) else []
    if len(found) != 1:
        return None
    return re.sub("_[psebmx]", lambda it: _ESCAPES.get(it[0], it[0]), found[0][len(_ANSWER) :])


def bash_words_of(answer: str | None, count: int) -> list[str]:
    """Return the words of an answer: one for each variable.

    Raises:
        NotCopied: they are others, or there is no answer.
    """
    words = (answer or "").split()
    if len(words) != count or any(word[0] not in "=-!+" for word in words):
        raise NotCopied("bash gave no answer that makes sense")
    return words


def bash_value(word: str) -> str:
    """Return the text in a word of an answer.

    Raises:
        NotCopied: it is none.
    """
    try:
        return base64.b64decode(word[1:], validate=True).decode()
    except (binascii.Error, ValueError):
        raise NotCopied("it holds bytes that are no UTF-8", "copy base64 of it") from None


def _base64(words: str) -> str:
    return base64.b64encode(words.encode("utf-8", "surrogateescape")).decode()


# -- R: requests and answers


def r_request(names: Sequence[str], nodes: Sequence[Any] | None, most: int) -> dict[str, Any]:
    """Build the request that sets variables to `nodes`, see `r_nodes`, or asks for them where that is None.

    The code is always the same text; an IRkernel does not evaluate what stands in `user_expressions`.
    """
    asked = {"put": nodes is not None, "names": list(names), "values": list(nodes or ()), "most": most}
    written = json.dumps(asked)
    return execute_content(source("values", ".R"), silent=True, user_expressions={NAME: written})


def r_answer(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the answer in an `execute_reply`; None if there is none."""
    payload = content.get("payload")
    for item in payload if isinstance(payload, list) else ():
        if isinstance(item, dict) and item.get("source") == NAME:
            try:
                answer = json.loads(item["data"]["text/plain"])
            except (KeyError, TypeError, ValueError, RecursionError):
                return None
            return answer if isinstance(answer, dict) else None
    return None
