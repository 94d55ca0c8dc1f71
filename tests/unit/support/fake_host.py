"""A host behind the door to programs: which it has, and what each of them would do. What stands before it is real."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.system import programs
from ansible_collections.canvas.fleet.plugins.module_utils.system.programs import Done

from tests.unit.support.places import FIXTURES

WORKS = (FIXTURES / "nvidia-smi/580.159.04/nvidia-smi-q.xml").read_text()


class KilledError(BaseException):
    """A cut: no handler of ours may catch it."""


class FakeHost:
    """Answers for every program. A subclass says what those of its package manager do."""

    def __init__(self) -> None:
        self.lacks: set[str] = set()  # programs that are not there
        self.calls: list[tuple[str, ...]] = []  # of programs that do something
        self.die_at = 0  # the number of the call before which all ends
        self.breaks: dict[str, str] = {}  # a word of a call → what the program says, and fails
        self.active: set[str] = set()  # services that run
        self.trainings: list[str] = []  # units of trainings that run
        self.proxies = ""  # what apt-config says of them

    def behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("find", "run", "follow"):
            monkeypatch.setattr(programs, name, getattr(self, name))

    @property
    def words(self) -> list[str]:
        return [" ".join(call) for call in self.calls]

    # what a subclass knows better

    def answer(self, argv: tuple[str, ...]) -> Iterable[str]:
        """Do it, and say this."""
        return ()

    def refusal(self, argv: tuple[str, ...]) -> str:
        """What the program says when it fails, "" when it does not."""
        return next((said for word, said in self.breaks.items() if word in argv), "")

    def services(self) -> set[str]:
        """Units that are installed."""
        return set()

    def driver(self) -> bool:
        return True

    # the door

    def find(self, name: str, path: str | None = None) -> str:
        return "" if name in self.lacks or (name == "nvidia-smi" and not self.driver()) else f"/usr/bin/{name}"

    def run(self, *argv: str, env: Mapping[str, str] | None = None, timeout: float | None = None) -> Done:
        """For programs with output."""
        if argv[0].endswith("nvidia-smi"):
            return Done(0, WORKS)
        if argv[:2] == ("systemctl", "show"):
            return Done(0, "\n".join(self._shown(word) for word in argv[2:] if not word.startswith("-")))
        if argv[:2] == ("systemctl", "list-units"):
            return Done(0, "".join(f"{unit} loaded active running\n" for unit in self.trainings))
        return Done(0, self.proxies if argv[0] == "apt-config" else "")

    def _shown(self, unit: str) -> str:
        name = unit.removesuffix(".service")
        load = "loaded" if name in self.services() else "not-found"
        return f"Id={unit}\nLoadState={load}\nActiveState={'active' if name in self.active else 'inactive'}\n"

    def follow(
        self,
        *argv: str,
        each: Callable[[str], None] | None = None,
        env: Mapping[str, str] | None = None,
        user: str = "",
    ) -> tuple[int, list[str]]:
        """Of programs that do something, all of them as root."""
        assert not user, f"{argv[0]} was to run as {user}"
        self.calls.append(argv)
        if len(self.calls) == self.die_at:
            raise KilledError
        refused = self.refusal(argv)
        lines = refused.splitlines() or list(self.answer(argv))
        if argv[:2] == ("systemctl", "enable") and "--now" in argv and not refused:
            self.active.add(argv[-1].removesuffix(".service"))
        for line in lines if each else ():
            each(f"{line}\n")
        return int(bool(refused)), lines
