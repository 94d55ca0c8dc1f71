import os
import stat
import struct
import subprocess
from contextlib import nullcontext

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.system import files, folders
from ansible_collections.canvas.fleet.plugins.module_utils.system.ownership import Owner
from ansible_collections.canvas.fleet.plugins.module_utils.system.reach import as_owner

from tests.unit.support.accounts import DENIED, GID, UID, account_folder, deepen, give, plant, secret_file


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_made_with_those_above_it_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        folders.make(tmp_path / "a/b/c", mode=0o700)
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o755, 0o755, 0o700]
    folders.make(tmp_path / "a/b", mode=0o711)
    assert mode(tmp_path / "a/b") == 0o755, "what exists stays as it is"


def test_a_folder_that_another_process_finishes_first_is_taken(tmp_path, monkeypatch):
    """Both work at one unfinished folder; the other one gives it its name between this one's two calls."""
    real = os.mkdir

    def made_meanwhile(name, *args, dir_fd, **more):
        real(name, *args, dir_fd=dir_fd, **more)
        os.rename(name, "lock", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", made_meanwhile)
    folders.make(tmp_path / "lock")
    assert os.listdir(tmp_path) == ["lock"]


def test_new_folders_are_their_owners_and_none_that_existed(tmp_path):
    owner = Owner(UID, GID) if os.geteuid() == 0 else Owner(os.getuid(), os.getgid())
    (tmp_path / "a").mkdir()
    folders.make(tmp_path / "a/b/c", owner)
    owners = [(tmp_path / name).stat().st_uid for name in ("a", "a/b", "a/b/c")]
    assert owners == [os.geteuid(), owner.uid, owner.uid]


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(NotADirectoryError):
        folders.make(tmp_path / "a/b")


def test_no_folder_is_made_beyond_a_link_of_the_account(tmp_path):
    account, secret = account_folder(tmp_path), secret_file(tmp_path)
    plant(account / "l", secret.parent)
    with pytest.raises(PermissionError):
        folders.make(account / "l/new", Owner(UID, GID))
    assert [one.name for one in secret.parent.iterdir()] == ["secret"]
    folders.make(account / "own/deep", Owner(os.getuid(), os.getgid()))
    assert (account / "own/deep").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
@pytest.mark.parametrize("mode_of_roots", [0o700, 0o755])
def test_a_folder_that_is_exchanged_while_it_is_made_is_given_to_nobody(tmp_path, monkeypatch, mode_of_roots):
    """In a folder of the account something of root's may lie, under any name that the account chooses."""
    account, real = account_folder(tmp_path), os.mkdir
    (account / "roots").mkdir(mode=mode_of_roots)

    def exchanged(path, mode=0o777, **at):
        real(path, mode, **at)
        os.rmdir(path, **at)
        os.rename(account / "roots", account / path)

    monkeypatch.setattr(os, "mkdir", exchanged)
    with pytest.raises(PermissionError):
        folders.make(account / "new", Owner(UID, GID))
    (left,) = account.iterdir()
    assert (left.stat().st_uid, mode(left)) == (0, mode_of_roots)


def test_a_tree_goes_with_its_links_and_without_what_they_name(tmp_path):
    account, secret = account_folder(tmp_path), secret_file(tmp_path)
    top = account / "top"
    (top / "deep/er").mkdir(parents=True)
    (top / "deep/f").write_text("x")
    plant(top / "deep/folder", secret.parent)
    plant(top / "file", secret)
    folders.remove_tree(top)
    folders.remove_tree(top)
    assert list(account.iterdir()) == []
    plant(account / "l", secret.parent)
    with pytest.raises(OSError, match=DENIED):
        folders.remove_tree(account / "l/secret")
    folders.remove_tree(account / "l")
    secret.chmod(0o600)
    assert secret.read_text() == "precious"


def test_a_tree_goes_however_deep_the_account_made_it(tmp_path, request):
    top = account_folder(tmp_path) / "top"
    top.mkdir()
    request.addfinalizer(lambda: subprocess.run(["rm", "-rf", str(top)], check=True))  # pytest's own way ends before
    deepen(give(top), 3000)
    folders.remove_tree(top)
    assert not top.exists()


@pytest.mark.parametrize("change", ["gone", "a link", "moved away"])
def test_a_tree_that_changes_meanwhile_counts_as_removed_only_when_it_is(tmp_path, monkeypatch, change):
    top, other, real = account_folder(tmp_path) / "top", tmp_path / "other", os.scandir
    for path in (top / "inner/deep", top / "last", other / "deep"):
        path.mkdir(parents=True)

    def changed(folder):
        found = sorted(real(folder), key=lambda entry: entry.name)
        names = [entry.name for entry in found]
        if "inner" in names and change != "moved away":
            (top / "inner").rename(tmp_path / "away")
            if change == "a link":
                (top / "inner").symlink_to(other)
        if "deep" in names and change == "moved away":
            (top / "inner").rename(other / "inner")
        return nullcontext(found)

    monkeypatch.setattr(os, "scandir", changed)
    with pytest.raises(OSError, match=r"symbolic|Not a dir|was moved") if change != "gone" else nullcontext():
        folders.remove_tree(top)
    assert top.exists() == (change != "gone")
    assert (other / "deep").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has anything to give away")
def test_nothing_of_roots_comes_into_an_accounts_folder_and_root_does_nothing_as_itself_there(tmp_path):
    """The account may hold a file open that is being written, and rename a folder of root's in its own."""
    account = account_folder(tmp_path)
    files.write(account / "f", b"", 0o755, Owner(0, 0))
    assert (account / "f").stat().st_uid == UID
    (account / "roots").mkdir()
    with as_owner(str(account / "roots")):
        assert os.geteuid() == UID


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
@pytest.mark.parametrize("way", ["behind a link", "renamed"])
def test_nothing_is_given_away_where_the_account_chooses_what_it_is(tmp_path, way):
    account, others = account_folder(tmp_path), tmp_path / "others"
    (others / "checkpoints").mkdir(parents=True)
    if way == "behind a link":
        plant(account / "results", others)
        path = account / "results/checkpoints"
    else:
        (account / "roots").mkdir()
        path = (account / "roots").rename(account / "results")
    with pytest.raises(PermissionError):
        folders.give(path, Owner(UID, GID))
    assert path.stat().st_uid == 0
    (tmp_path / "made").mkdir()
    folders.give(tmp_path / "made", Owner(UID, GID))
    assert (tmp_path / "made").stat().st_uid == UID


def test_a_walk_goes_to_any_depth_and_over_no_link(tmp_path, request):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/f").touch()
    (tmp_path / "a/l").symlink_to(tmp_path)
    found = [(place, below, sorted(names)) for place, below, names in folders.walk(tmp_path / "a")]
    assert found == [(str(tmp_path / "a"), ["b"], ["f", "l"]), (str(tmp_path / "a/b"), [], [])]
    assert list(folders.walk(tmp_path / "none")) == []
    request.addfinalizer(lambda: subprocess.run(["rm", "-rf", str(tmp_path / "a")], check=True))
    deepen(tmp_path / "a", 1100)
    assert sum(1 for _ in folders.walk(tmp_path / "a")) == 1102


def test_only_an_empty_folder_is_removed_as_one(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    with pytest.raises(OSError, match="not empty"):
        folders.remove_empty(tmp_path / "a")
    folders.remove_empty(tmp_path / "a/b")
    assert not (tmp_path / "a/b").exists()


OWNER, USER, GROUP_OWNER, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
ANY = 0xFFFFFFFF


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
@pytest.mark.parametrize("kind", ["access", "default"])
@pytest.mark.parametrize(
    ("entries", "is_open"),
    [
        pytest.param([(USER, 7, 1000), (GROUP_OWNER, 5, ANY), (MASK, 7, ANY)], True, id="an account"),
        pytest.param([(GROUP_OWNER, 5, ANY), (GROUP, 2, 1000), (MASK, 7, ANY)], True, id="a group"),
        pytest.param([(USER, 7, 1000), (GROUP_OWNER, 5, ANY), (MASK, 5, ANY)], False, id="the mask forbids it"),
        pytest.param([(USER, 5, 1000), (GROUP_OWNER, 7, ANY), (MASK, 7, ANY)], False, id="a reader"),
        pytest.param([(USER, 7, 0), (GROUP_OWNER, 5, ANY), (MASK, 7, ANY)], False, id="root itself"),
        pytest.param([(GROUP_OWNER, 5, ANY)], False, id="no list"),
        pytest.param([(GROUP_OWNER, 5, ANY), (OTHER, 7, ANY)], True, id="all others"),
        pytest.param([(USER, 5, 1000), (GROUP_OWNER, 5, ANY), (MASK, 5, ANY), (OTHER, 7, ANY)], True, id="no mask's"),
    ],
)
def test_an_access_control_list_opens_a_way(kind, entries, is_open, tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    rows = [(OWNER, 7, ANY), *entries, *[(OTHER, 5, ANY)] * all(tag != OTHER for tag, _rights, _id in entries)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)
    try:
        os.setxattr(tmp_path / "a", f"system.posix_acl_{kind}", value)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")
    by_mode = (tmp_path / "a").stat().st_mode & stat.S_IWOTH  # what the list of access says of others is the mode, too
    named = f"{tmp_path / 'a'}{'' if by_mode else ' (access control list)'}"
    assert folders.open_to_others(str(tmp_path / "a/b")) == (named if is_open else "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
@pytest.mark.parametrize(
    ("mode", "gid", "entries", "is_open"),
    [
        pytest.param(0o2755, GID, [(GROUP_OWNER, 7, ANY)], True, id="a group that what is made there inherits"),
        pytest.param(0o2755, GID, [(GROUP_OWNER, 7, ANY), (MASK, 7, ANY)], True, id="with a mask that allows it"),
        pytest.param(0o2755, GID, [(GROUP_OWNER, 7, ANY), (MASK, 5, ANY)], False, id="the mask forbids it"),
        pytest.param(0o755, GID, [(GROUP_OWNER, 7, ANY)], False, id="what is made there is of root's group"),
        pytest.param(0o2755, 0, [(GROUP_OWNER, 7, ANY)], False, id="root's group"),
        pytest.param(0o2755, GID, [(GROUP_OWNER, 5, ANY)], False, id="a group that reads"),
    ],
)
def test_a_default_list_opens_a_way_to_an_inherited_group(mode, gid, entries, is_open, tmp_path):
    """A program that root starts makes its files for all (0666): a default list takes the place of root's umask."""
    (tmp_path / "a").mkdir()
    os.chown(tmp_path / "a", 0, gid)
    (tmp_path / "a").chmod(mode)
    rows = [(OWNER, 7, ANY), *entries, (OTHER, 5, ANY)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)
    try:
        os.setxattr(tmp_path / "a", "system.posix_acl_default", value)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")
    (tmp_path / "a/made").touch(0o666)
    made = (tmp_path / "a/made").stat()
    assert (made.st_gid != 0 and bool(made.st_mode & stat.S_IWGRP)) == is_open
    assert folders.open_to_others(str(tmp_path / "a/b")) == (
        f"{tmp_path / 'a'} (access control list)" if is_open else ""
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_way_that_others_can_write_to_is_named(tmp_path):
    account = account_folder(tmp_path)
    (tmp_path / "a/b").mkdir(parents=True)
    assert folders.open_to_others(str(tmp_path / "a/b/not/yet")) == ""
    assert folders.open_to_others(str(account / "state")) == str(account)
    (tmp_path / "link").symlink_to(account)
    assert folders.open_to_others(str(tmp_path / "link/state")) == str(account)
    plant(tmp_path / "theirs", tmp_path / "a")
    assert folders.open_to_others(str(tmp_path / "theirs/b")) == str(tmp_path / "theirs")
    for bits, found in ((0o777, str(tmp_path / "a")), (0o1777, ""), (0o775, "")):
        (tmp_path / "a").chmod(bits)
        assert folders.open_to_others(str(tmp_path / "a/b")) == found
    os.chown(tmp_path / "a", 0, GID)
    (tmp_path / "a").chmod(0o775)
    assert folders.open_to_others(str(tmp_path / "a/b")) == str(tmp_path / "a")
