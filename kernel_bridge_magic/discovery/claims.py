"""Tell which ids are the user's own where a foreign server lists them too: who is trusted owns an id, others claim it.

An id stays owned while that cannot be seen: while the trusted server is frozen or does not list its kernels, and while
the kernel itself is stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kernel_bridge_magic.discovery.asking import Answer
from kernel_bridge_magic.discovery.heartbeat import Endpoint, Heartbeats
from kernel_bridge_magic.discovery.runtime_files import FileContent, Refused
from kernel_bridge_magic.discovery.standalone import file_kernel_id, standalone_kernel
from kernel_bridge_magic.models import Origin

#: what each server of ours, or hub, has listed since it last answered in full
_LISTED: dict[Origin, set[str]] = {}
_MOST_SERVERS = 200


def listed_by(ours: Sequence[Answer]) -> set[str]:
    """Return the ids that trusted servers list; of those that do not answer, the ids that they listed before."""
    groups: dict[Origin, list[Answer]] = {}
    for answer in ours:
        server = answer.report.server
        # A hub that does not answer does not name its servers either.
        groups.setdefault((server.hub or server).origin, []).append(answer)
    for origin, answers in groups.items():
        ids = {kernel.id for answer in answers for kernel in answer.kernels}
        if any(map(_lists_nothing, answers)):
            ids |= _LISTED.get(origin, set())
        if len(_LISTED) >= _MOST_SERVERS:
            _LISTED.clear()
        _LISTED[origin] = ids
    return {kernel_id for origin in groups for kernel_id in _LISTED.get(origin, ())}


def of_frozen_servers(ours: Sequence[Answer], files: Sequence[FileContent]) -> set[str]:
    """Return the ids of all connection files here if a server of this machine does not list its kernels.

    Only then: files of ended kernels stay for ever. On a home that machines share, they may belong to kernels that a
    server of the other machine lists rightly.
    """
    frozen = any(answer.report.server.source == "runtime" and _lists_nothing(answer) for answer in ours)
    return {file_kernel_id(file.path) for file in files} if frozen else set()


def of_silent_kernels(files: Sequence[FileContent], where: Mapping[str, Endpoint], heartbeats: Heartbeats) -> set[str]:
    """Return the ids of those connection files whose kernel does not answer, but is a process of ours that listens."""
    found = set()
    for file in files:
        if heartbeats.is_silent(file.path):
            try:
                found.add(standalone_kernel(file, where[file.path]).id)
            except Refused:
                continue
    return found


def _lists_nothing(answer: Answer) -> bool:
    return bool(answer.report.problem) and not answer.kernels
