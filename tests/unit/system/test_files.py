import errno
import json
import os
import stat
import subprocess
import sys
import threading
import time

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.system import files
from ansible_collections.canvas.fleet.plugins.module_utils.system.ownership import Owner

from tests.unit.support.accounts import DENIED, GID, UID, account_folder, give, plant, secret_file


@pytest.fixture
def account(tmp_path):
    return account_folder(tmp_path)


@pytest.fixture
def secret(tmp_path):
    path = secret_file(tmp_path)
    yield path
    path.chmod(0o600)
    path.parent.chmod(0o755)
    assert path.read_text() == "precious"
    assert [one.name for one in path.parent.iterdir()] == ["secret"]
    assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())


# --- writing


def test_a_link_to_what_is_no_file_is_not_written_through(tmp_path):
    """systemctl mask links a unit to /dev/null, and the rename would put a file in the device's place."""
    os.mkfifo(tmp_path / "fifo")  # in the device's stead: a test that fails must not cost a machine its own
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    for write in (files.write, files.rewrite):
        with pytest.raises(OSError, match="is not a file"):
            write(tmp_path / "link", b"new")
    assert stat.S_ISFIFO(os.stat(tmp_path / "fifo").st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755])
def test_a_file_has_the_mode_that_was_asked_for_whatever_the_umask(tmp_path, mode):
    before = os.umask(0o077)
    try:
        files.write(tmp_path / "f", b"new", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode
    assert [one.name for one in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("step", ["write", "fchmod", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, error):
    (tmp_path / "f").write_text("old")

    def fail(*args, **named):
        raise error

    if step == "write":
        monkeypatch.setattr(os, "fdopen", fail)
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        files.write(tmp_path / "f", b"new")
    monkeypatch.undo()
    assert (tmp_path / "f").read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("age", [0, files.STALE + 60], ids=["of another writer", "of one that was cut off"])
def test_a_part_beside_the_file_is_removed_once_it_is_old(tmp_path, age):
    part = tmp_path / ".f.0123abcd.canvas-fleet"
    for name in (part.name, ".f.canvas-fleet", ".g.0123abcd.canvas-fleet"):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    files.write(tmp_path / "f", b"new")
    assert part.exists() is not bool(age)
    assert (tmp_path / ".f.canvas-fleet").exists() is not bool(age), "the name that version 0.1 used"
    assert (tmp_path / ".g.0123abcd.canvas-fleet").exists()


@pytest.mark.parametrize("age", [0, files.STALE + 60], ids=["of another writer", "of one that was cut off"])
def test_a_link_that_was_not_yet_renamed_is_removed_once_it_is_old(tmp_path, age):
    part = tmp_path / ".l.0123abcd.canvas-fleet"
    part.symlink_to("half")
    os.utime(part, (time.time() - age,) * 2, follow_symlinks=False)
    files.point(tmp_path / "l", "new")
    assert part.is_symlink() is not bool(age)
    assert os.readlink(tmp_path / "l") == "new"


def test_two_writers_at_once_never_show_half_a_file(tmp_path):
    path, ended = tmp_path / "f", threading.Event()
    texts = [bytes([number]) * 200_000 for number in range(2)]
    files.write(path, texts[0])

    def keep_writing(text):
        while not ended.is_set():
            files.write(path, text, durable=False)

    writers = [threading.Thread(target=keep_writing, args=(text,)) for text in texts]
    for writer in writers:
        writer.start()
    seen = {files.read(path) for _ in range(300)}
    ended.set()
    for writer in writers:
        writer.join()
    assert seen <= set(texts)
    assert [one.name for one in tmp_path.iterdir()] == ["f"]


def test_a_process_that_is_killed_while_it_writes_leaves_the_old_file(tmp_path):
    (tmp_path / "f").write_text("old")
    code = (
        "import os, sys; from tests.finder import install; install()\n"
        "from ansible_collections.canvas.fleet.plugins.module_utils.system import files\n"
        "os.replace = lambda *a, **k: os.kill(os.getpid(), 9)\n"
        "files.write(sys.argv[1], b'new')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "f")], check=False)
    assert done.returncode == -9
    assert (tmp_path / "f").read_text() == "old"


def test_what_must_survive_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real, **k: (steps.append(name), real(*a, **k))[1])
    files.write(tmp_path / "f", b"x")
    assert steps == ["fsync", "replace", "fsync"]
    steps.clear()
    files.write(tmp_path / "f", b"y", durable=False)
    assert steps == ["replace"]


def test_a_file_is_its_folders_owners_and_the_named_owners(account, tmp_path):
    files.write(account / "own", b"x")
    files.write(tmp_path / "given", b"x", owner=Owner(os.getuid(), os.getgid()))
    if os.geteuid() == 0:
        files.write(tmp_path / "given", b"x", owner=Owner(UID, GID))
        assert (account / "own").stat().st_uid == (tmp_path / "given").stat().st_uid == UID
        assert (tmp_path / "given").stat().st_gid == GID
    assert (tmp_path / "given").read_bytes() == b"x"


def test_new_content_keeps_permissions_and_owner_but_no_set_uid(account):
    path = account / "f"
    path.write_text("old")
    give(path).chmod(0o4750)
    files.rewrite(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o750)
    assert path.stat().st_uid == account.stat().st_uid


# --- links


@pytest.mark.parametrize("where", ["the file", "the folder", "a chain"])
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda path: files.write(path, b"x"), id="write"),
        pytest.param(lambda path: files.write(path, b"x", owner=Owner(UID, GID)), id="write for the account"),
        pytest.param(lambda path: files.rewrite(path, b"x"), id="rewrite"),
        pytest.param(files.read, id="read"),
        pytest.param(lambda path: files.put(path, path.with_name("other"), 0o644), id="put"),
        pytest.param(files.open_part, id="open_part"),
        pytest.param(files.sync, id="sync"),
    ],
)
def test_a_link_of_the_account_leads_to_nothing_of_roots(account, secret, act, where):
    if where == "the folder":
        path = plant(account / "folder", secret.parent) / "secret"
    elif where == "the file":
        path = plant(account / "f", secret)
    else:
        plant(account / "first", secret)
        path = plant(account / "f", "first")
    with pytest.raises(OSError, match=DENIED):
        act(path)


def test_nothing_is_removed_or_moved_through_a_folder_that_the_account_linked(account, secret):
    folder = plant(account / "folder", secret.parent)
    for act in (files.remove, lambda path: files.move(path, account / "taken"), lambda path: files.point(path, "x")):
        with pytest.raises(OSError, match=DENIED):
            act(folder / "secret")


def test_a_link_itself_is_removed_and_moved_not_what_it_names(account, secret):
    path = plant(account / "f", secret)
    files.move(path, account / "g")
    assert os.readlink(account / "g") == str(secret)
    files.remove(account / "g", account / "never there", account / "g" / "below nothing")
    assert list(account.iterdir()) == []


def test_a_link_of_the_account_to_its_own_other_disk_is_followed(account, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    give(other)
    plant(account / "outputs", other)
    plant(account / "f", "outputs/real")
    files.write(account / "f", b"x")
    assert files.read(account / "outputs/real") == b"x" == (other / "real").read_bytes()
    assert (account / "f").is_symlink()
    assert (other / "real").stat().st_uid == other.stat().st_uid


def test_a_link_that_root_laid_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "srv").symlink_to("disk")
    (tmp_path / "f").symlink_to("srv/../srv/f")
    files.write(tmp_path / "f", b"x")
    assert (tmp_path / "disk/f").read_bytes() == b"x"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=DENIED):
        files.read(tmp_path / "loop")


def test_a_part_beside_the_file_is_never_the_accounts(account, secret, monkeypatch):
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: "0" * 8)
    plant(account / ".f.00000000.canvas-fleet", secret)
    with pytest.raises(FileExistsError):
        files.write(account / "f", b"x")


# --- reading


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: os.mkfifo(path), id="a pipe that nobody writes to"),
        pytest.param(lambda path: path.mkdir(), id="a folder"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), id="a device"),
        pytest.param(lambda path: None, id="nothing"),
        pytest.param(lambda path: path.write_bytes(b"x" * 101), id="more than the limit"),
    ],
)
def test_only_plain_files_within_bounds_are_read(tmp_path, make):
    make(tmp_path / "f")
    with pytest.raises(OSError, match=str(tmp_path)) as caught:
        files.read(tmp_path / "f", 100)
    assert str(caught.value.filename) == str(tmp_path / "f")
    assert (files.load(tmp_path / "f", 100), files.text(tmp_path / "f", 100)) == ({}, "")


def test_the_limit_itself_is_read(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 100)
    assert files.read(tmp_path / "f", 100) == b"x" * 100
    assert files.tail(tmp_path / "f", 7) == b"x" * 7


def test_a_link_at_the_end_can_be_refused(tmp_path):
    (tmp_path / "f").write_text("x")
    (tmp_path / "l").symlink_to("f")
    assert files.read(tmp_path / "l") == b"x"
    with pytest.raises(OSError, match=DENIED):
        files.read(tmp_path / "l", follow=False)
    assert files.tail(tmp_path / "l", 9) == b""


@pytest.mark.parametrize("text", ["[1]", "{", "", "9" * 5000, "[" * 100_000, "null"], ids=lambda text: text[:4])
def test_a_record_that_is_no_mapping_is_empty(tmp_path, text):
    (tmp_path / "f").write_text(text)
    assert files.load(tmp_path / "f") == {}


def test_a_saved_record_is_loaded_again(tmp_path):
    files.save(tmp_path / "f", {"b": 1, "a": [2]}, 0o600)
    assert files.load(tmp_path / "f") == {"a": [2], "b": 1} == json.loads((tmp_path / "f").read_text())


# --- the rest


def test_a_part_is_written_on_and_comes_into_its_place(tmp_path):
    for piece in (b"one", b"two"):
        with files.open_part(tmp_path / "p") as out:
            out.write(piece)
    files.put(tmp_path / "p", tmp_path / "f", 0o640)
    assert ((tmp_path / "f").read_bytes(), stat.S_IMODE((tmp_path / "f").stat().st_mode)) == (b"onetwo", 0o640)
    assert not (tmp_path / "p").exists()


def test_a_link_is_switched_in_one_step(tmp_path, monkeypatch):
    files.point(tmp_path / "l", "one")
    files.point(tmp_path / "l", "two")
    assert os.readlink(tmp_path / "l") == "two"

    def fail(*args, **named):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        files.point(tmp_path / "l", "three")
    assert [one.name for one in tmp_path.iterdir()] == ["l"]
    assert os.readlink(tmp_path / "l") == "two"


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    with files.locked(tmp_path / "lock") as held:
        assert held > 2
        with pytest.raises(BlockingIOError), files.locked(tmp_path / "lock", wait=False):
            pass
    with files.locked(tmp_path / "lock", wait=False):
        pass


@pytest.mark.parametrize("path", ["", ".", "..", "../x", "/x", "a/../../x", "a//b", "a/", "./a", "a\0b"])
def test_a_path_of_a_record_stays_below_its_folder(path):
    assert not files.stays_below(path)
    assert files.stays_below("a/b.c")


def test_a_second_name_is_the_same_file(tmp_path):
    (tmp_path / "f").write_text("x")
    files.link(tmp_path / "f", tmp_path / "g")
    assert os.path.samefile(tmp_path / "f", tmp_path / "g")


def test_only_the_kernels_own_files_are_read_without_looking_at_the_way(tmp_path):
    assert files.kernel("/proc/self/comm").strip()
    with pytest.raises(ValueError, match="precious"):
        files.kernel(str(tmp_path / "precious"))


def test_lines_are_added_by_several_processes_and_stay_whole(tmp_path):
    path = tmp_path / "lines"
    files.add_line(path, b"first")
    code = (
        "import sys; from tests.finder import install; install()\n"
        "from ansible_collections.canvas.fleet.plugins.module_utils.system import files\n"
        "for number in range(20): files.add_line(sys.argv[1], b'x' * 5000)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _number in range(3)]
    assert [one.wait() for one in running] == [0, 0, 0]
    assert sorted(path.read_bytes().split(b"\n")) == sorted([b"", b"first", *[b"x" * 5000] * 60])


def test_a_line_that_was_cut_off_ends_before_the_next(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"whole\nhal")
    files.add_line(path, b"next")
    assert path.read_bytes() == b"whole\nhal\nnext\n"
