"""Logins and tokens for servers, by host. This process gets them once; no argument of a program shows them.

A host is named as in a URL, with its port where that is a part of it. login:password is for HTTP's basic
authentication; a word alone is a token.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from urllib.parse import quote, quote_plus, urlsplit

from ..core import masking
from . import files, folders

TOKEN_LOGIN = "token"  # noqa: S105 - beside a token any name will do, but an empty one
_known: dict[str, str] = {}


def use(credentials: Mapping[str, str]) -> None:
    """For every request and program of this process."""
    masking.remember(credentials)
    _known.update({_same(host): login for host, login in credentials.items()})


def _same(host: str) -> str:
    """A host in one way of writing: names know no case, and end with a dot or without (RFC 1034)."""
    return re.sub(r"\.(?=:\d+$|$)", "", host.lower())


def login(url: str) -> tuple[str, str] | None:
    """Login and password for this URL; None where none was given."""
    given = _of(url)
    name, colon, password = given.partition(":")
    return None if not given else (name, password) if colon else (TOKEN_LOGIN, given)


def header(url: str) -> str:
    """The value of Authorization for this URL, "" for none."""
    given = _of(url)
    if ":" in given:
        return f"Basic {base64.b64encode(given.encode()).decode()}"
    return f"Bearer {given}" if given else ""


def _of(url: str) -> str:
    try:
        parts = urlsplit(url)
        return _known.get(_same(parts.netloc.rpartition("@")[2])) or _known.get(_same(parts.hostname or "")) or ""
    except ValueError:  # no port, no address
        return ""


def with_logins(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, in which a proxy has the login that was given for it."""
    return {
        name: _with_login(value) if name.lower().endswith("_proxy") else value for name, value in environment.items()
    }


def _with_login(proxy: str) -> str:
    full = proxy if "://" in proxy else f"http://{proxy}"
    found = login(full)
    if not found or "@" in full:
        return proxy
    scheme, _mark, rest = full.partition("://")
    return f"{scheme}://{quote(found[0], safe='')}:{quote(found[1], safe='')}@{rest}"


def for_git() -> tuple[list[str], dict[str, str]]:
    """Options by which git asks us when a host wants a login, and the environment that holds the answers."""
    options, environment = [], {}
    for number, host in enumerate(sorted(_known)):
        name, password = login(f"//{host}") or ("", "")
        environment.update({f"CANVAS_FLEET_LOGIN_{number}": name, f"CANVAS_FLEET_PASSWORD_{number}": password})
        says = f'"$CANVAS_FLEET_LOGIN_{number}" "$CANVAS_FLEET_PASSWORD_{number}"'
        for scheme in ("https", "http"):
            helper = f"!f() {{ printf 'username=%s\\npassword=%s\\n' {says}; }}; f"
            options += ["-c", f"credential.{scheme}://{host}.helper={helper}"]
    return options, environment


def for_programs(folder: str) -> dict[str, str]:
    """Files in a folder of ours, and the variables by which pip and conda find them: netrc, and conda's tokens."""
    if not _known:
        return {}
    lines, tokens = [], os.path.join(folder, "data")
    for host, given in sorted(_known.items()):
        name, password = login(f"//{host}") or ("", "")
        lines.append(f"machine {urlsplit(f'//{host}').hostname} login {name} password {password}\n")
        if ":" not in given:
            folders.make(tokens, mode=0o700)
            files.write(os.path.join(tokens, f"{quote_plus(f'https://{host}')}.token"), given.encode(), 0o600)
    netrc = os.path.join(folder, "netrc")
    files.write(netrc, "".join(lines).encode(), 0o600)
    return {"NETRC": netrc, "BINSTAR_CONFIG_DIR": folder}
