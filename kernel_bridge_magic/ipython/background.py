"""`%%remote --bg` and `%jobs`: cells in the background."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

from kernel_bridge_magic.errors import BadOption
from kernel_bridge_magic.interrupts import held, sends_nothing
from kernel_bridge_magic.ipython.screens import show_anew
from kernel_bridge_magic.ipython.variables import bind, check_names
from kernel_bridge_magic.jobs.job import RemoteJob
from kernel_bridge_magic.jobs.jobs import JobList

if TYPE_CHECKING:
    from kernel_bridge_magic.ipython.shell import InShell


def begin(here: InShell, match: str, code: str, options: Any) -> RemoteJob:
    """Begin a job and return it at once. What it shows comes below the cell that runs now.

    Raises:
        BadInput: no such kernel, or an option that cannot be used; nothing was sent.
    """
    here.ask_for_secrets(options.server)
    with held(), sends_nothing():
        kernel = here.find(match, options.server)
        cell = dataclasses.replace(here.cell(code, [kernel], options), if_busy=options.if_busy or "wait")
        check_names(cell.variables, [kernel])
        if cell.variables.sent is not None:
            cell.variables.sent.keep()  # what this shell does meanwhile must not change it
        number = here.jobs.number()
        job = RemoteJob(
            number,
            kernel,
            cell,
            here.bridge.pool,
            here.front.screen(number, kernel),
            transport=options.transport,
            widgets_of=here.widgets_of,
            reconnect_timeout=here.reconnect_timeout,
            bind=partial(bind, here.shell.user_ns),
        )
        here.jobs.add(job)
        if options.result:
            here.shell.user_ns[options.result] = job
        job.start()
    return job


def jobs(here: InShell, number: str, options: Any) -> JobList | RemoteJob | None:
    """Return the jobs of this shell, or do something with one of them.

    Raises:
        BadOption: there is no such job, or it is not said which.
    """
    if not number:
        if options.output or options.wait or options.stop:
            raise BadOption("which job? Write %jobs N --output; %jobs lists them")
        return here.jobs.all
    job = here.jobs.get(number)
    if options.stop:
        job.interrupt()
    if options.wait:
        with held():
            job.result()
    if options.output:
        show_anew(job.outputs, here.front.sink(), job.kernel)
    return None if options.output or options.wait else job
