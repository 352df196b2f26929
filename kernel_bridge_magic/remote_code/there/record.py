"""Tell how the cell ended that this kernel ran last.

The request that asks is itself what the kernel runs last when its expressions are evaluated. So its code puts the
answer away, and its expression takes it out again.
"""

KEY = "_guest_record"


def keep():
    """Put away what IPython remembers of the last cell; nothing where it remembers nothing."""
    shell = __import__("IPython").get_ipython()
    try:
        result = shell.last_execution_result
        error = result.error_before_exec or result.error_in_exec
        record = (result.info.cell_id, bool(result.success), type(error).__name__, str(error)[:2000])
    except Exception:  # no cell yet, or an error of the owner's that has no text
        return
    vars(shell.displayhook)[KEY] = record


def take():
    """Take the answer out again, and return it."""
    return vars(__import__("IPython").get_ipython().displayhook).pop(KEY)
