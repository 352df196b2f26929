"""Keep secrets: tokens, passwords and cookies are here and nowhere else.

A secret is bound to one `Origin` (scheme, host, port, base path) and goes nowhere else (T6). It is in no repr,
no pickle and no error text.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
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


class Vault:
    """The secrets of one process, each for one `Origin`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: dict[Origin, Secret] = {}
        self._given: set[Origin] = set()
        self._xsrf: dict[Origin, str] = {}
        self._cookies: dict[Origin, dict[str, str]] = {}
        self._passwords: dict[Origin, tuple[Callable[[], Secret], bool]] = {}
        self._lent: dict[Origin, Origin] = {}
        self._owners: dict[Origin, str] = {}
        self._withheld: set[Origin] = set()

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
            if found and origin in self._given:
                return
            if not found:
                self._given.add(origin)
                self._lent.pop(origin, None)
            self._owners.pop(origin, None)
            self._withheld.discard(origin)
            if secret:
                self._secrets[origin] = secret
            else:
                self._secrets.pop(origin, None)

    def forget(self, origin: Origin) -> None:
        """Drop what is kept for `origin`, if anything is."""
        with self._lock:
            self._secrets.pop(origin, None)
            self._given.discard(origin)
            self._xsrf.pop(origin, None)
            self._cookies.pop(origin, None)
            self._passwords.pop(origin, None)
            self._owners.pop(origin, None)
            self._withheld.discard(origin)
            lent = [borrower for borrower, lender in self._lent.items() if lender == origin]
            for borrower in lent:
                del self._lent[borrower]
                self._secrets.pop(borrower, None)
                self._given.discard(borrower)
                self._passwords.pop(borrower, None)
                self._cookies.pop(borrower, None)

    def lend(self, lender: Origin, borrower: Origin) -> None:
        """Let a hub's token go to one of its user's own servers; what was put for that itself is kept."""
        assert lender[:3] == borrower[:3], "a secret does not leave its host"
        with self._lock:
            if lender in self._secrets and (borrower not in self._secrets or borrower in self._lent):
                self._secrets[borrower] = self._secrets[lender]
                self._lent[borrower] = lender

    def adopt(self, given: Origin, found: Origin) -> None:
        """Use what the user gave for one name of a server for its other one, whose process is known to listen."""
        with self._lock:
            if given in self._given and (found not in self._given or self._lent.get(found) == given):
                self._given.add(found)
                self._lent[found] = given
                if given in self._secrets:
                    self._secrets[found] = self._secrets[given]
                else:
                    self._secrets.pop(found, None)
            if given in self._passwords and found not in self._cookies and found not in self._passwords:
                self._passwords[found] = self._passwords[given]
                self._lent[found] = given

    def alone(self, origin: Origin, other: Origin) -> Vault:
        """Return a vault that holds nothing but the secret for `origin`, for another path of the same host."""
        assert origin[:3] == other[:3], "a secret does not leave its host"
        vault = Vault()
        with self._lock:
            secret = self._secrets.get(origin)
        if secret is not None:
            vault.put(other, secret)
        return vault

    def withhold(self, origin: Origin) -> None:
        """Send the secret for `origin` nowhere until `put_owner` says whose it is."""
        with self._lock:
            self._withheld.add(origin)

    def owner(self, origin: Origin) -> str | None:
        """Return the name of the user whose token is kept for `origin`; "" if nobody can say, None if not asked yet."""
        with self._lock:
            return self._owners.get(origin)

    def put_owner(self, origin: Origin, name: str, *, withhold: bool) -> None:
        """Remember whose token it is; with `withhold` it is not sent to `origin` any more."""
        with self._lock:
            self._owners[origin] = name
            (self._withheld.add if withhold else self._withheld.discard)(origin)

    def put_password(self, origin: Origin, read: Callable[[], Secret], *, once: bool = False) -> None:
        """Keep how to read the password for `origin` when its server wants a login.

        With `once` it is dropped after the login (it was typed in: T30).
        """
        with self._lock:
            self._passwords[origin] = read, once
            self._cookies.pop(origin, None)

    def password(self, origin: Origin) -> Secret | None:
        """Read the password for `origin`; None if there is none.

        Raises:
            BadServer: it cannot be read any more.
        """
        with self._lock:
            read, _ = self._passwords.get(origin, (None, False))
        return read() if read else None

    def login_was(self, origin: Origin, accepted: bool) -> None:
        """Drop a password that was refused (it would be refused again), or was for one login."""
        with self._lock:
            _, once = self._passwords.get(origin, (None, False))
            if once or not accepted:
                self._passwords.pop(origin, None)

    def put_cookies(self, origin: Origin, cookies: Mapping[str, str]) -> None:
        """Keep the cookies of a login, for `origin` alone and for this process (T12, T30)."""
        with self._lock:
            self._cookies[origin] = {name: Hidden(value) for name, value in cookies.items()}

    def auth_method(self, origin: Origin) -> str:
        """Name how we say who we are there: `token`, `password` (its login's cookies) or `none`."""
        with self._lock:
            if origin in self._secrets:
                return "token"
            return "password" if self._cookies.get(origin) or origin in self._passwords else "none"

    def has(self, origin: Origin) -> bool:
        """Return whether there is a secret for this very origin."""
        with self._lock:
            return origin in self._secrets

    def headers(self, origin: Origin) -> dict[str, str]:
        """Return the headers that say who we are to the server at `origin`, and to no other.

        With a secret that is `Authorization: token …`, the one form that Jupyter Server, gateways and hubs all
        take (FACTS.md#authentication). Without, it is a double submit of our own making: open servers refuse POST and
        DELETE when the `_xsrf` cookie and the `X-XSRFToken` header are not the same.
        """
        with self._lock:
            secret = self._secrets.get(origin)
            if secret and origin not in self._withheld:
                return {"Authorization": Hidden(f"token {secret.reveal()}")}
            if len(self._xsrf) > 1000:  # only a fuzzer knows that many servers
                self._xsrf.clear()
            cookies = dict(self._cookies.get(origin, {}))
            value = cookies.get("_xsrf") or self._xsrf.setdefault(origin, secrets.token_hex(16))
        cookies["_xsrf"] = value
        text = "; ".join(f"{name}={cookie}" for name, cookie in cookies.items())
        return {"Cookie": Hidden(text), "X-XSRFToken": Hidden(value)}

    def __repr__(self) -> str:
        return f"Vault({len(self._secrets)} secrets)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a vault cannot be pickled or copied")
