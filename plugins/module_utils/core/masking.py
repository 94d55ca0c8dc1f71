"""Secrets: how they are read, what looks like one, and texts in which none can be read.

`masked` is the one function that every text for a person passes: errors, logs, results, diffs. It hides the secrets
that this process was given, in every spelling, and what looks like a secret.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

MASK = "********"
GRAM = 8  # so many letters of a secret in a row are a part of it
LEAST = 4  # letters of a secret; a shorter one would hide half of every text
NEAR = 64  # characters before 40 digits that may say that they are a commit
LINE = 4_000  # characters of a line that are looked at together
TEXT = 1 << 20  # characters of a text that is shown
AROUND = " \t\r\n\v\f\0\ufeff\u200b\u2060\xa0"  # what editors, vaults and shells put around a word

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WHOLE = frozenset(("pat", "pwd", "authorization", "keys", "secrets", "cred", "creds", "bearer"))
_WITHIN = ("password", "passwd", "passphrase", "credential", "apikey", "accesskey", "privatekey")
_END = ("token", "secret", "key", "pass", "auth")
_OTHERS = frozenset(("bypass", "compass", "surpass", "monkey", "donkey", "turkey", "hockey", "jockey", "whiskey"))
_PLACES = ("file", "path", "dir", "folder", "sock", "socket", "location", "store")  # the secret is elsewhere
_HARMLESS = re.compile(r"(true|false|yes|no|on|off|none|null|\d{1,5}(\.\d+)?|~)?", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\w+|\$\{\w+\}|\{\{[^{}]*\}\}")
_FROM_FILE = re.compile(r"\"?\$\(\s*(cat\s|<)")
_CALL = re.compile(r"\w[\w.]*[(\[]")

# Kinds of keys that are known by their first letters, and W&B's 40 digits; a commit has as many.
_VALUES = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}|\b(?:gh[opusr]_|github_pat_)\w{16,}|\bgl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|imt)-[\w-]{16,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bwandb_v\d_\w{16,}|\blocal-[0-9a-f]{40}\b|\bsk-[\w-]{20,}|\bxox[abeprs]-[\w-]{10,}"
    r"|\bpypi-[\w-]{16,}|\bnpm_[A-Za-z0-9]{30,}|\bAIza[\w-]{30,}|\bdckr_pat_[\w-]{16,}|\btk-[0-9a-f]{8}-[0-9a-f-]{8,}"
    r"|(?:(?<![\w-])eyJ[\w-]{8,}|\beyJ[\w-]{8,200})\.[\w-]{8,}\.[\w-]*"
)
_HEX40 = re.compile(r"(?<![\w/@.+-])[0-9a-fA-F]{40}(?![\w/@.+-])")
_COMMIT = re.compile(r"(?i)\b(commit|revision|rev|ref|sha1|digest|fingerprint|checkout|head|tag|at|of|from|to)\W*$")
# login:password@, where the password holds a /; a port is none.
_NAME = r"[^\s/@:]{1,200}:"
_SLASHED = r"(?!\d{1,5}(?:[/?#\s]|$))[^\s@\"'<>]{0,500}@(?:[^\s/@\"'<>]{0,500}@)*"
# The first group stays, the secret behind it goes.
_BEHIND = (
    # the login of a URL, up to its last @; the user name alone is none with ssh
    re.compile(r"((?<!ssh)(?<!\bgit)://)(?!git@)[^\s/@?#\"'<>]{0,500}@(?:[^\s/@?#\"'<>]{0,500}@)*"),
    re.compile(r"((?:ssh|\bgit)://[^\s/@:]*:)[^\s/@]*@"),
    # a password that holds a /; its login may hold an @
    re.compile(rf"(://(?:(?!git@)[^\s/@]{{0,500}}@)?{_NAME}){_SLASHED}"),
    re.compile(r"(?<![\w/.@:%+-])([\w.%+-]+:)(?!\d+[\s/]|//)[^\s:@/\"'<>]+@(?=[\w.-]+)"),  # user:pass@host
    re.compile(r"(://[^\s\"'<>]{0,200}/t/)[^\s/\"'<>]+"),  # the token of a channel
    re.compile(r"((?:^|(?<=[\s\"'/]))t/)tk-[^\s/\"'<>]+"),
    re.compile(r"(\b(?:[Bb]earer|[Bb]asic)\s+)(?=\S*[\d=])[\w.~+/=-]{8,}"),
    re.compile(r"((?:^|\s)(?:-u|-U|--user|--proxy-user)[\s=]+)(?!\d+:\d+\b)[^\s:=][^\s:]*:[^\s]+"),
    re.compile(r"(\bwandb\s+login\s+(?:--\w+\s+)*)(?![-\"']?\$)(?!-)\S+"),
    re.compile(r"((?:\b(?:machine|login)\s.{0,200}|^\s*)\b(?:password|passwd)\s+)\S+(?=\s*$)"),  # netrc
)
# All that may stand before the host.
_LOGIN = re.compile(rf"(?<=//)(?:[^/\s]*@)?(?:(?<!//git@){_NAME}{_SLASHED})?")
_QUERY = re.compile(r"([?&;#])([\w.-]+)=([^\s&;#\"'<>]+)")
_SIGNED = ("sig", "signature", "code", "session")
_NAMED = re.compile(
    r"(?<![\w-])(?:(?P<dash>(?<!\S)--?)(?!-)|-*)(?P<name>\w[\w-]*)(?![\w-])"
    r"(?P<sign>[\"']?\]?\)?\s*(?:=>|\+?=(?!=)|:(?![:/=]))\s*|[\"']\s*,\s*(?=[\"'])|\s+)(?=\S)"
)
_YAML = re.compile(r"\s*(- )?[\"']?[\w-]+[\"']?\s*:\s")
_BLOCK = re.compile(r"[|>][-+\d]*\s*")
_PEM = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)

# None of the patterns above finds anything in a text without one of these.
_SUSPECT = re.compile(r"[=:@]|(?<!\S)-|[\w-]{12}|[Bb]earer|[Bb]asic|passw|wandb\s|t/tk-|[\"']\s*,|-----")

_known: set[str] = set()
_grams: set[str] = set()


def clean(value: Any) -> str:
    """A secret without what comes along with it: the newline of a vault, CRLF, spaces, a byte order mark."""
    return "" if value is None else str(value).strip(AROUND)


def remember(*secrets: Any) -> None:
    """Make `masked` hide these secrets in all texts of this process, also in parts and in the forms of URLs and
    headers.

    Of a mapping they are its values; of login:password, both together and the password.
    """
    for secret in secrets:
        if isinstance(secret, Mapping):
            remember(*secret.values())
            continue
        for line in str(secret or "").splitlines():
            whole = clean(line)
            _mark, colon, password = whole.partition(":")
            _known.update(one for one in _spellings(whole) if len(whole) >= LEAST)
            part = password if colon else whole
            if len(part) >= LEAST:
                _known.update(_spellings(part))
                _grams.update(one[at : at + GRAM] for one in _spellings(part) for at in range(len(one) - GRAM + 1))


def _spellings(text: str) -> set[str]:
    return {text, quote(text, safe=""), json.dumps(text)[1:-1], base64.b64encode(text.encode()).decode()}


def without_logins(text: str) -> str:
    """The text, in which URLs have no login: so they are compared, and kept in records."""
    return _LOGIN.sub("", text)


def public(url: str) -> str:
    """The URL as it may be printed: without login and without query, where keys tend to stand."""
    if "://" not in url:  # git's own user@host:path
        return url
    return re.split("[?#]", without_logins(url), maxsplit=1)[0]


def names_secret(name: str) -> bool:
    """Does a variable of this name hold a secret: HF_TOKEN, dbPassword, GITHUB_PAT; but not TOKENIZERS_PARALLELISM?

    KeyError is no such name, and what stands behind it is needed to mend the error.
    """
    return (
        name not in ("PWD", "OLDPWD")
        and not name.endswith(("Error", "Exception"))
        and any(
            word in _WHOLE or any(one in word for one in _WITHIN) or (word.endswith(_END) and word not in _OTHERS)
            for word in _words(name)
        )
    )


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def holds_secret(name: str, value: str) -> bool:
    """True when this value of a variable, flag or key is a secret, by its name or form."""
    return _is_secret(name, value) or masked(value) != value or masked(name) != name


def _is_secret(name: str, value: str) -> bool:
    """By the name that it stands behind. A switch, a small number, a reference or the path of a file is none."""
    if not names_secret(name) or _HARMLESS.fullmatch(value) or _REFERENCE.fullmatch(value) or value == MASK:
        return False
    return not (_words(name)[-1].endswith(_PLACES) and value.startswith(("/", "~", "$", ".")))


def masked(text: str) -> str:
    """The text with ******** for each secret in it. Its lines stay as many as they were."""
    if not _known and not _SUSPECT.search(text):
        return text
    if len(text) > TEXT:
        return f"({len(text)} characters, not shown)"
    return "\n".join(_lines(_PEM.sub(_hidden_lines, _without_known(text)).split("\n")))


def _hidden_lines(key: re.Match[str]) -> str:
    return f"{key[1]}{MASK}" + f"\n{MASK}" * key.group().count("\n")


def _without_known(text: str) -> str:
    for secret in sorted((one for one in _known if one in text), key=len, reverse=True):
        text = text.replace(secret, MASK)
    out, end = [], 0
    for at in range(len(text) - GRAM + 1) if _grams else ():
        if text[at : at + GRAM] in _grams:
            out += [text[end:at], MASK] if at >= end else []
            end = at + GRAM
    return "".join([*out, text[end:]])


def _lines(lines: list[str]) -> Iterator[str]:
    """A secret may go on below: in a quotation that is still open, behind a backslash, in a block of YAML."""
    goes_on, block = "", -1
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if goes_on:
            at = line.find(goes_on)
            goes_on = goes_on if at < 0 and goes_on != "\\" else "\\" if line.endswith("\\") and at < 0 else ""
            yield MASK + (line[at:] if at >= 0 else "")
        elif block >= 0 and (indent > block or not line.strip()):
            yield f"{line[:indent]}{MASK}" if line.strip() else line
        elif len(line) > LINE:
            yield "".join(_named(_looks(line[at : at + LINE]))[0] for at in range(0, len(line), LINE))
        else:
            shown, goes_on = _named(_looks(line))
            block, goes_on = (indent, "") if goes_on == "|" else (-1, goes_on)
            yield shown


def _looks(line: str) -> str:
    """The line without what looks like a secret, whatever stands around it."""
    for pattern in _BEHIND:
        line = pattern.sub(lambda found: found[1] + MASK + ("@" if found.group().endswith("@") else ""), line)
    line = _VALUES.sub(MASK, _QUERY.sub(_answered, line))
    return _HEX40.sub(lambda found: found.group() if _is_commit(line, found.start()) else MASK, line)


def _is_commit(line: str, at: int) -> bool:
    return bool(_COMMIT.search(line, max(0, at - NEAR), at))


def _answered(query: re.Match[str]) -> str:
    secret = _is_secret(query[2], query[3]) or query[2].lower().rpartition("-")[2] in _SIGNED
    return f"{query[1]}{query[2]}={MASK}" if secret else query.group()


def _named(line: str) -> tuple[str, str]:
    """The line without the values that stand behind names of secrets, and how the last of them goes on below: with the
    quotation mark that ends it, a backslash, or | for a block of YAML."""
    out, at, whole = [], 0, bool(_YAML.match(line))
    while found := _NAMED.search(line, at):
        sign, end = found["sign"], found.end()
        out.append(line[at : found.end("name")])
        at = found.end("name")
        if not (sign.strip() or found["dash"]) or not names_secret(found["name"]):
            continue
        if sign.strip() == ":" and _BLOCK.fullmatch(line, end):
            return "".join([*out, line[at:]]), "|"
        word, mark = _value(line, end, whole=whole)
        if _FROM_FILE.match(line, end) or (not mark and "= " in sign and _CALL.match(word)):
            continue
        if not (mark and not word) and not _is_secret(found["name"], word.strip("\"',;)")):
            continue
        out.append(f"{sign}{mark}{MASK}")
        at = end + len(word)
        if mark and not word:
            return "".join(out), mark
        if word.endswith("\\"):
            return "".join(out), "\\"
        out.append(mark)
    return "".join([*out, line[at:]]), ""


def _value(line: str, at: int, *, whole: bool) -> tuple[str, str]:
    """What stands behind a name, and the mark that it is quoted with: a quotation and what touches it ("" where it
    stays open), all of a line of YAML, or a word."""
    mark = line[at] if line[at] in "\"'" else ""
    if mark:
        found = re.compile(rf"{mark}(?:\\.|[^{mark}\\])*{mark}[^\s,;)}}\]]*").match(line, at)
        return (found.group() if found else ""), mark
    found = re.compile(r".*\S" if whole and line[at] not in "{[" else r"\S+").match(line, at)
    return (found.group() if found else ""), ""
