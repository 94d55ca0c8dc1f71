import os
import pwd
import sys

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.system import programs

PYTHON = sys.executable


def test_a_program_is_run_to_its_end():
    done = programs.run(PYTHON, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (done.code, done.out, done.err, bool(done)) == (3, "out\n", "err\n", False)
    assert programs.run(PYTHON, "-c", "")


def test_a_program_has_nothing_to_read_from_and_the_environment_that_is_given():
    code = "import os, sys; print(repr(sys.stdin.read()), sorted(os.environ))"
    assert programs.run(PYTHON, "-I", "-c", code, env={"LC_ALL": "C"}).out == "'' ['LC_ALL']\n"


def test_a_program_that_is_not_there_is_an_answer():
    done = programs.run("/nowhere/at-all")
    assert (done.code, bool(done)) == (programs.NOT_FOUND, False)
    assert "/nowhere/at-all" in done.err
    assert programs.find("at-all", "/nowhere") == ""
    assert programs.find("sh") != ""


def test_a_program_that_does_not_end_is_ended():
    with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
        programs.run(PYTHON, "-c", "import time; time.sleep(60)", timeout=0.2)


def test_each_line_of_both_streams_is_seen_as_it_comes_and_the_last_are_kept(monkeypatch):
    monkeypatch.setattr(programs, "LAST", 2)
    seen = []
    code = "import sys; print(1, flush=True); print(2, file=sys.stderr, flush=True); print(3); sys.exit(4)"
    assert programs.follow(PYTHON, "-c", code, each=seen.append) == (4, ["2", "3"])
    assert seen == ["1\n", "2\n", "3\n"]
    with pytest.raises(FileNotFoundError):
        programs.follow("/nowhere/at-all", each=seen.append)


def test_of_a_flood_the_last_whole_lines_are_kept():
    code = "for number in range(100_000): print(f'line {number:06d}')"
    done = programs.last(PYTHON, "-c", code, keep=30, timeout=60)
    assert (done.code, done.out) == (0, "line 099998\nline 099999\n")
    assert programs.last(PYTHON, "-c", "print(1); print(2)", keep=30, timeout=60).out == "1\n2\n"
    assert programs.last("/nowhere/at-all", keep=30, timeout=60).code == programs.NOT_FOUND
    with pytest.raises(TimeoutError, match=r"did not end within 0\.5 s"):
        programs.last(PYTHON, "-c", "while True: print(1)", keep=30, timeout=0.5)


def test_bytes_that_are_no_text_are_shown_as_such():
    assert "\ufffd" in programs.run(PYTHON, "-c", "import sys; sys.stdout.buffer.write(b'\\xff')").out


def test_an_environment_without_what_would_mislead(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/x")
    monkeypatch.setenv("KEPT", "1")
    made = programs.environment(drop=("PYTHON",), MORE="2")
    assert ("PYTHONHOME" in made, made["KEPT"], made["MORE"]) == (False, "1", "2")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program as somebody else")
def test_a_program_runs_as_who_is_named(capsys):
    programs.must("id", "-u", user="games")
    programs.must("id", "-G", user="games")
    user = pwd.getpwnam("games")
    assert capsys.readouterr().out.splitlines()[1::2] == [str(user.pw_uid), str(user.pw_gid)]
