"""What a kernel is told to say of itself, and done to its threads, from the control channel."""

import ctypes
import threading


def look_busy():
    """Say on IOPub that the kernel is busy, a moment after the idle of the request that asks for it."""
    kernel = __import__("IPython").get_ipython().kernel
    parent = kernel.get_parent("control")

    def say():
        content = {"execution_state": "busy"}
        kernel.session.send(kernel.iopub_socket, "status", content, parent=parent, ident=kernel._topic("status"))

    threading.Timer(0.1, say).start()


def interrupt(ident):
    """Raise KeyboardInterrupt in a guest's thread; give how many were reached.

    A thread that has ended leaves its identity to another one, which may be the owner's.
    """
    if not any(thread.ident == ident and hasattr(thread, "kernel_bridge_guest") for thread in threading.enumerate()):
        return 0
    return ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(KeyboardInterrupt))
