"""`%%remote --all` and `%%remote a,b,c`: one cell on many kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel_bridge_magic.choices import check_for_many
from kernel_bridge_magic.display.neutral import VARIABLE
from kernel_bridge_magic.display.notebook import NotebookSink
from kernel_bridge_magic.display.tables import KernelList, links_of
from kernel_bridge_magic.interrupts import held, sends_nothing
from kernel_bridge_magic.ipython.variables import bind_many, check_names
from kernel_bridge_magic.jobs.consent import confirm
from kernel_bridge_magic.jobs.fanout import FanOut
from kernel_bridge_magic.jobs.results import RemoteResults
from kernel_bridge_magic.jobs.together import Together, show

if TYPE_CHECKING:
    from kernel_bridge_magic.ipython.shell import InShell


def run_on_many(
    here: InShell, kernels: KernelList, code: str, options: Any, *, hold_result: bool
) -> RemoteResults | None:
    """Run code on all these kernels at the same time and show what comes of it; with `hold_result` return it.

    Raises:
        RemoteErrors: it did not end well on all of them, unless `options.no_raise_error`.
        NotRun: nobody has said that it may run on so many.
    """
    with held():
        sink = here.front.sink()
        with sends_nothing():
            check_names(options.variables, kernels)
            fan = _fan_out(here, kernels, code, options)
            confirm(kernels, yes=options.yes, ask=input if sink.can_ask else None)
        together = _together(here, sink, kernels, hold_result=hold_result)
        try:
            results = show(fan, together, group=not options.no_group)
            for text in bind_many(here.shell.user_ns, options.variables, results):
                sink.inform(VARIABLE, text)
        finally:
            sink.finish()
    if options.result:
        here.shell.user_ns[options.result] = results
    if not options.no_raise_error:
        results.raise_for_error()
    return results if hold_result else None


def _together(here: InShell, sink: NotebookSink, kernels: KernelList, *, hold_result: bool) -> Together:
    painter, new_sink = here.front.groups(sink, len(kernels))
    return Together(
        kernels,
        painter,
        new_sink,
        widgets_of=here.widgets_of,
        parent=here.front.parent(),
        links=links_of(kernels),
        hold_result=hold_result,
    )


def _fan_out(here: InShell, kernels: KernelList, code: str, options: Any) -> FanOut:
    check_for_many(options)
    return FanOut(
        here.bridge.pool,
        kernels,
        here.cell(code, kernels, options),
        transport=options.transport,
        at_once=options.at_once,
        if_busy=options.if_busy,
        reconnect_timeout=here.reconnect_timeout,
    )
