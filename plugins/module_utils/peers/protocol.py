"""The protocol of the nodes of a run, one question per connection. Pure.

    first node   HTTP/1.1 403 …, with Fleet-Challenge: <32 digits>, and a sentence for a node of version 0.1
    node         fleet-peers/2 <path> <begin> <nonce> <proof>
    first node   fleet-peers/2 <status> <length> <sha256 of the body, or -> <proof>, then the body

Why HMAC, not TLS: Python makes no certificates, a pre-shared key for TLS needs Python 3.13, and the nodes need proof of
who asks and who answers. They do not need secrecy: the same weights cross the same wire in the clear, by NCCL.

Why a challenge, not a clock: it is drawn for each connection and is good for one question, so that a recorded question
is worth nothing, no list of nonces is kept, and no clock has to be right. The proof of an answer covers the proof of
its question, hence its challenge and nonce. A file's content has no digest in its head: its sha256 comes as an answer
of its own, and the file is used only when it matches.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

from ..system.digests import sha256
from .secret import RunKey

LINE = 1024  # bytes of a question, a head or a greeting at most
CHALLENGE = re.compile(rb"Fleet-Challenge: ([0-9a-f]{32})\r\n")
LENGTH = re.compile(rb"Content-Length: (\d{1,4})\r\n")
QUESTION = re.compile(rb"fleet-peers/2 (/[!-~]{0,400}) (\d{1,18}) ([0-9a-f]{32}) ([0-9a-f]{64})\n")
HEAD = re.compile(rb"fleet-peers/2 (\d{3}) (\d{1,18}) ([0-9a-f]{64}|-) ([0-9a-f]{64}|-)\n")
OTHER_SECRET = b"fleet-peers/2 401 0 - -\n"
CONTENT = "-"  # in place of a digest: the content of a file
OLDER = "this first node wants a proof, which version 0.1 does not give: converge all nodes of the run together"


@dataclass(frozen=True)
class Question:
    """`begin`: of a file's content, in bytes."""

    path: str
    begin: int
    nonce: str
    proof: str


@dataclass(frozen=True)
class Head:
    status: int
    length: int  # bytes of the body
    digest: str
    proof: str


def greeting(sentence: str, challenge: str = "") -> bytes:
    """A node of version 0.1 reads a refusal with this sentence; one of this version its challenge, if it gets one."""
    text = sentence.encode()
    lines = ["HTTP/1.1 403 Forbidden", "Content-Type: text/plain", f"Content-Length: {len(text)}"]
    lines += [f"Fleet-Challenge: {challenge}"] if challenge else []
    return "\r\n".join([*lines, "", ""]).encode() + text


def question_line(key: RunKey, challenge: str, question: tuple[str, int, str]) -> tuple[bytes, str]:
    """(the line, its proof) of path, begin and nonce."""
    proof = key.proof("question", challenge, *question)
    path, begin, nonce = question
    return f"fleet-peers/2 {path} {begin} {nonce} {proof}\n".encode(), proof


def parse_question(line: bytes) -> Question | None:
    match = QUESTION.fullmatch(line)
    return Question(match[1].decode(), int(match[2]), match[3].decode(), match[4].decode()) if match else None


def asks_by_right(key: RunKey, challenge: str, question: Question) -> bool:
    proof = key.proof("question", challenge, question.path, question.begin, question.nonce)
    return hmac.compare_digest(proof, question.proof)


def head_line(key: RunKey, asked: str, status: int, length: int, digest: str) -> bytes:
    """`asked`: the proof of the question."""
    proof = key.proof("answer", asked, status, length, digest)
    return f"fleet-peers/2 {status} {length} {digest} {proof}\n".encode()


def parse_head(line: bytes) -> Head | None:
    match = HEAD.fullmatch(line)
    return Head(int(match[1]), int(match[2]), match[3].decode(), match[4].decode()) if match else None


def answers_by_right(key: RunKey, asked: str, head: Head) -> bool:
    proof = key.proof("answer", asked, head.status, head.length, head.digest)
    return hmac.compare_digest(proof, head.proof)


def digest_of(body: bytes) -> str:
    return sha256(body)
