"""`-i` and `-o`: which variables go with a cell, and where those that come are bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from kernel_bridge_magic.errors import BadOption, BadVariable
from kernel_bridge_magic.jobs.results import RemoteResults
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.questions import Ask, says_yes
from kernel_bridge_magic.results import Copied, RemoteResult
from kernel_bridge_magic.transfer.names import check, parse
from kernel_bridge_magic.transfer.put import Outgoing
from kernel_bridge_magic.transfer.refusals import offer
from kernel_bridge_magic.transfer.summary import HERE, THERE, line, line_of_many
from kernel_bridge_magic.transfer.variables import MAX_SIZE, Variables


def asked_for(options: Any, here: Mapping[str, Any]) -> Variables:
    """Return the variables that the options of a magic name; `here` are those of this shell.

    Raises:
        BadOption: a name cannot be used, or an option stands without names.
        BadVariable: there is no such variable here.
    """
    sent, wanted = _parsed(options.i, "-i"), _parsed(options.o, "-o")
    if not sent and not wanted:
        given = [name for name, value in (("--max-size", options.max_size), ("--pickle", options.pickle)) if value]
        if given:
            raise BadOption(f"{', '.join(given)} goes with -i NAMES or -o NAMES")
    missing = [name for name in sent.values() if name not in here]
    if missing:
        raise BadVariable(f"there is no variable {missing[0]} here, so nothing was run", name=missing[0])
    most = options.max_size or MAX_SIZE
    values = {there: here[name] for there, name in sent.items()}
    outgoing = Outgoing(values, most, pickles=options.pickle) if values else None
    by_file = options.transport == "auto"
    return Variables(sent=outgoing, wanted=wanted, most=most, pickles=options.pickle, by_file=by_file)


def _parsed(given: list[str] | None, option: str) -> dict[str, str]:
    # Names of other languages may have dots. Which language it is, is known once the kernel is found.
    text = ",".join(given or ())
    return parse(text, option, foreign="." in text) if given else {}


def check_names(variables: Variables, kernels: Iterable[Kernel]) -> None:
    """Check the names in the other kernels, now that these are known.

    Raises:
        BadOption: a kernel's language has no such names.
    """
    theirs = [*(variables.sent.values if variables.sent else ()), *variables.wanted.values()]
    dotted = [name for name in theirs if "." in name]
    if dotted and any(kernel.language in ("", "python") for kernel in kernels):
        check(dotted[0], "")


def larger(variables: Variables, problem: BadVariable, ask: Ask | None) -> Variables:
    """Return the variables with leave to be larger, if the user gives it.

    Raises:
        BadVariable: the error itself, where it is not for the size, nobody can be asked, or the answer is no.
    """
    if not problem.size or ask is None:
        raise problem
    sent_names = list(variables.sent.values) if variables.sent else []
    # Its size is that of all that are written together.
    names = sent_names if problem.name in sent_names else list(dict.fromkeys(variables.wanted.values()))
    question, most = offer(names or [problem.name or "it"], problem.size, variables.most)
    if not says_yes(ask, question):
        raise problem
    sent = variables.sent and Outgoing(variables.sent.values, most, pickles=variables.pickles)
    return dataclasses.replace(variables, sent=sent, most=most, kept=problem.kept)


def sent_lines(sent: Mapping[str, Copied], title: str) -> list[str]:
    """Return one line for each variable that went to the kernel of that title."""
    return [line(copied, THERE, title) for copied in sent.values()]


def bind(namespace: dict[str, Any], result: RemoteResult) -> list[str]:
    """Bind the variables that came with a result; return one line for each."""
    lines = []
    for name, copied in result.variables.items():
        lines.append(line(copied, HERE, result.kernel.title, name in namespace))
        namespace[name] = copied.value
    return lines


def bind_many(namespace: dict[str, Any], variables: Variables, results: RemoteResults) -> list[str]:
    """Bind each variable to a dict of what the kernels had, by their titles; return one line for each variable.

    A kernel that had none is not in the dict; the line names it. If none had one, what the name is here stays. What
    went there has a line, too.
    """
    lines = []
    for name in variables.sent.values if variables.sent else ():
        there = {title: result.sent[name] for title, result in results.items() if name in result.sent}
        lines.append(line_of_many(name, there, THERE, list(results)))
    for name in variables.wanted:
        came = {title: result.variables[name] for title, result in results.items() if name in result.variables}
        lines.append(line_of_many(name, came, HERE, list(results), replaced=name in namespace))
        if came:
            namespace[name] = {title: copied.value for title, copied in came.items()}
    return lines
