"""Keep secrets: tokens, passwords and cookies are here and nowhere else.

A secret is bound to one `Origin` (scheme, host, port, base path) and goes nowhere else (T6). It is in no repr,
no pickle and no error text.
"""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import urlencode

from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.models import Origin
from kernel_bridge_magic.text import Hidden


class Secret:
    """A token or password. Only `reveal()` returns it; repr, str and format do not, and it cannot be pickled.

    Raises:
        BadServer: it has a line break or NUL inside, or is no text that could be sent.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        problem = _unusable(value)
        self._value = "" if problem else value
        # A traceback may show local variables: none of a frame that raises holds a secret.
        del value
        if problem is not None:
            raise problem

    def reveal(self) -> str:
        """Return the secret itself; only this module asks for it."""
        return Hidden(self._value)

    def login_form(self, xsrf: str) -> str:
        """Return the body of a login page's form with this password in it."""
        return Hidden(urlencode({"password": self.reveal(), "_xsrf": xsrf}))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment] # a hash would let it be told from others

    def __repr__(self) -> str:
        return "'***'"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


def _unusable(value: str) -> BadServer | None:
    """Return why a text cannot be a secret, None if it can."""
    if any(char in value for char in "\r\n\0"):
        return BadServer("the secret has a line break or NUL inside", "it must be one line")
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes of the environment that are none
        return BadServer("the secret is not UTF-8 text")
    return None


@dataclass
class _Kept:
    """What is kept for one origin."""

    secret: Secret | None = None
    given: bool = False  # whether the user gave it; else it was found in a runtime file
    lender: Origin | None = None  # whose secret or password it is
    owner: str | None = None  # the user whose token it is
    withheld: bool = False  # whether the secret is sent nowhere
    password: Callable[[], Secret] | None = None
    once: bool = False  # whether the password is dropped after a login
    cookies: dict[str, str] | None = None
    xsrf: str = field(default_factory=lambda: Hidden(secrets.token_hex(16)))  # what is sent where no cookie has one


class Vault:
    """The secrets of one process, each for one `Origin`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: defaultdict[Origin, _Kept] = defaultdict(_Kept)

    def put(self, origin: Origin, secret: Secret, *, found: bool = False) -> None:
        """Keep `secret` for `origin`; an empty one means that the server wants none.

        What was only `found` (in a runtime file) does not replace what the user has given.

        Raises:
            BadServer: it has characters that a header cannot carry; a password may.
        """
        if not secret.reveal().isascii():
            # Latin-1 would do for REST, but websocket-client sends headers in UTF-8: the server would see two tokens.
            raise BadServer("the token has characters beyond ASCII, which no HTTP header carries", "is it a password?")
        with self._lock:
            kept = self._kept[origin]
            if found and kept.given:
                return
            if not found:
                kept.given, kept.lender = True, None
            kept.secret, kept.owner, kept.withheld = secret or None, None, False

    def forget(self, origin: Origin) -> None:
        """Drop what is kept for `origin`, if anything is, and what was lent by it."""
        with self._lock:
            self._kept.pop(origin, None)
            for borrower in self._kept.values():
                if borrower.lender == origin:
                    borrower.secret = borrower.password = borrower.cookies = borrower.lender = None
                    borrower.given = False

    def lend(self, lender: Origin, borrower: Origin) -> None:
        """Let a hub's token go to one of its user's own servers; what was put for that itself is kept."""
        assert lender[:3] == borrower[:3], "a secret does not leave its host"
        with self._lock:
            secret, kept = self._kept[lender].secret, self._kept[borrower]
            if secret is not None and (kept.secret is None or kept.lender is not None):
                kept.secret, kept.lender = secret, lender

    def adopt(self, given: Origin, found: Origin) -> None:
        """Use what the user gave for one name of a server for its other one, whose process is known to listen."""
        with self._lock:
            said, kept = self._kept[given], self._kept[found]
            if said.given and (not kept.given or kept.lender == given):
                kept.secret, kept.given, kept.lender = said.secret, True, given
            if said.password is not None and kept.cookies is None and kept.password is None:
                kept.password, kept.once, kept.lender = said.password, said.once, given

    def alone(self, origin: Origin, other: Origin) -> Vault:
        """Return a vault that holds nothing but the secret for `origin`, for another path of the same host."""
        assert origin[:3] == other[:3], "a secret does not leave its host"
        vault = Vault()
        with self._lock:
            secret = self._kept[origin].secret
        if secret is not None:
            vault.put(other, secret)
        return vault

    def withhold(self, origin: Origin) -> None:
        """Send the secret for `origin` nowhere until `put_owner` says whose it is."""
        with self._lock:
            self._kept[origin].withheld = True

    def owner(self, origin: Origin) -> str | None:
        """Return the name of the user whose token is kept for `origin`; "" if nobody can say, None if not asked yet."""
        with self._lock:
            return self._kept[origin].owner

    def put_owner(self, origin: Origin, name: str, *, withhold: bool) -> None:
        """Remember whose token it is; with `withhold` it is not sent to `origin` any more."""
        with self._lock:
            kept = self._kept[origin]
            kept.owner, kept.withheld = name, withhold

    def put_password(self, origin: Origin, read: Callable[[], Secret], *, once: bool = False) -> None:
        """Keep how to read the password for `origin` when its server wants a login.

        With `once` it is dropped after the login (it was typed in: T30).
        """
        with self._lock:
            kept = self._kept[origin]
            kept.password, kept.once, kept.cookies = read, once, None

    def password(self, origin: Origin) -> Secret | None:
        """Read the password for `origin`; None if there is none.

        Raises:
            BadServer: it cannot be read any more.
        """
        with self._lock:
            read = self._kept[origin].password
        return read() if read else None

    def login_was(self, origin: Origin, accepted: bool) -> None:
        """Drop a password that was refused (it would be refused again), or was for one login."""
        with self._lock:
            kept = self._kept[origin]
            if kept.once or not accepted:
                kept.password = None

    def put_cookies(self, origin: Origin, cookies: Mapping[str, str]) -> None:
        """Keep the cookies of a login, for `origin` alone and for this process (T12, T30)."""
        with self._lock:
            self._kept[origin].cookies = {name: Hidden(value) for name, value in cookies.items()}

    def auth_method(self, origin: Origin) -> str:
        """Name how we say who we are there: `token`, `password` (its login's cookies) or `none`."""
        with self._lock:
            kept = self._kept[origin]
            if kept.secret is not None:
                return "token"
            return "password" if kept.cookies or kept.password is not None else "none"

    def has(self, origin: Origin) -> bool:
        """Return whether there is a secret for this very origin."""
        with self._lock:
            return self._kept[origin].secret is not None

    def headers(self, origin: Origin) -> dict[str, str]:
        """Return the headers that say who we are to the server at `origin`, and to no other.

        With a secret that is `Authorization: token …`, the one form that Jupyter Server, gateways and hubs all
        accept (FACTS.md#authentication). Without, it is a double submit of our own making: open servers refuse POST and
        DELETE when the `_xsrf` cookie and the `X-XSRFToken` header are not the same.
        """
        with self._lock:
            kept = self._kept[origin]
            if kept.secret is not None and not kept.withheld:
                return {"Authorization": Hidden(f"token {kept.secret.reveal()}")}
            cookies = dict(kept.cookies or {})
            value = cookies.get("_xsrf") or kept.xsrf
        cookies["_xsrf"] = value
        text = "; ".join(f"{name}={cookie}" for name, cookie in cookies.items())
        return {"Cookie": Hidden(text), "X-XSRFToken": Hidden(value)}

    def __repr__(self) -> str:
        return f"Vault({sum(kept.secret is not None for kept in list(self._kept.values()))} secrets)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a vault cannot be pickled or copied")
