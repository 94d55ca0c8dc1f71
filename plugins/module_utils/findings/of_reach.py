"""Entries about reaching a host: its address, SSH, becoming root, Python, temporary folders (see catalogue.py)."""

from __future__ import annotations

from .entry import Entry

KNOWN_HOSTS = "compare the fingerprint with the provider's console (ssh-keyscan ADDRESS | ssh-keygen -lf -)"

ENTRIES: dict[str, Entry] = {
    "HOST_UNREACHABLE": Entry(
        "error",
        "canvas-fleet cannot check or change a host without a connection",
        "log in by hand with the same address and user (ssh USER@ADDRESS), and mend what it says",
    ),
    "HOST_MISSING": Entry(
        "error",
        "a run needs all its hosts; without one its world size would change",
        "run the play for all hosts of the run (a --limit must not split it), or repair the lost host",
    ),
    "SSH_NAME_UNKNOWN": Entry(
        "error",
        "the name of the host has no address here, so there is nothing to connect to",
        "set ansible_host to the address of the host, or correct its name",
    ),
    "SSH_REFUSED": Entry(
        "error",
        "the address answers, but nothing listens on that port",
        "set ansible_port to the port of SSH (a rented container often has one of its own), or start sshd on the host",
    ),
    "SSH_TIMEOUT": Entry(
        "error",
        "no answer came in time: the host is off or frozen, the address is wrong, or a firewall drops the connection",
        "check ansible_host, the host's power and the firewall; ansible_timeout is how long to wait, in seconds",
    ),
    "SSH_CLOSED": Entry(
        "error",
        "the connection was made and ended before the login: no SSH listens there, or sshd refuses this address",
        "check ansible_port; look at journalctl -u ssh on the host (AllowUsers, MaxStartups, a ban after wrong logins)",
    ),
    "HOST_KEY_UNKNOWN": Entry(
        "error",
        "ssh trusts no host whose key it has never seen, and nobody is there to confirm the key",
        f"{KNOWN_HOSTS}; when it is the same: ssh-keyscan ADDRESS >> ~/.ssh/known_hosts",
    ),
    "HOST_KEY_CHANGED": Entry(
        "error",
        "another machine answers at this address, or the server was installed anew",
        f"{KNOWN_HOSTS}; when it is the same: ssh-keygen -R ADDRESS && ssh-keyscan ADDRESS >> ~/.ssh/known_hosts",
    ),
    "SSH_LOGIN_REFUSED": Entry(
        "error",
        "the host knows neither the user nor the key that was offered",
        "set ansible_user to the user of the server (ubuntu, debian, root) and ansible_ssh_private_key_file to its key",
    ),
    "SSH_TOO_MANY_KEYS": Entry(
        "error",
        "ssh offers every key of the agent, and the host gives up before the right one comes",
        "set ansible_ssh_private_key_file, and ansible_ssh_common_args: -o IdentitiesOnly=yes",
    ),
    "SSH_PASSWORD_EXPIRED": Entry(
        "error",
        "the host asks for a new password at the login, and nobody is there to type it",
        "log in by hand once and set a new password",
    ),
    "BECOME_PASSWORD_MISSING": Entry(
        "error",
        "the roles need root, and the host asks this user for a password",
        "give it when asked (ansible-playbook -K), or set ansible_become_password in ansible-vault",
    ),
    "BECOME_PASSWORD_WRONG": Entry(
        "error",
        "the host refuses the password for root",
        "give the right one with -K, or correct ansible_become_password; su wants the password of root itself",
    ),
    "BECOME_NOT_ALLOWED": Entry(
        "error",
        "the roles need root, and sudo does not let this user run every command",
        "set ansible_user to a user who may, or add the user to the group sudo (wheel on EL) as root",
    ),
    "BECOME_NEEDS_TERMINAL": Entry(
        "error",
        "sudo on this host works in a terminal only (requiretty)",
        "set ansible_pipelining: false, or remove requiretty from /etc/sudoers (visudo)",
    ),
    "BECOME_PROGRAM_MISSING": Entry(
        "error",
        "the program that makes this user root is not there",
        "install sudo on the host, set ansible_become_method: su, or log in as root (ansible_user)",
    ),
    "BECOME_TIMEOUT": Entry(
        "error",
        "the program that makes this user root neither asked for a password nor went on",
        "give su a password (-K, or ansible_become_password); for sudo log in by hand and see what `sudo -v` waits for",
    ),
    "NOT_ROOT": Entry(
        "error",
        "the roles install packages, own folders and manage units: that takes root",
        "remove ansible_become: false and ansible_become_user from the inventory",
    ),
    "ACL_MISSING": Entry(
        "error",
        "Ansible hands files to an account that is not root by setfacl, and the host has none",
        "remove ansible_become_user, since the roles need root; or install the package acl on the host",
    ),
    "PYTHON_MISSING": Entry(
        "error",
        "the modules run under Python on the host, and none runs at that path",
        "install it on the host (apt-get install python3), or set ansible_python_interpreter to its path",
    ),
    "PYTHON_OLD": Entry(
        "error",
        "the modules need Python 3.9 or newer on the host",
        "install a newer Python beside it, and set ansible_python_interpreter to its path",
    ),
    "SHELL_PRINTS": Entry(
        "error",
        "something else than the module's answer came from the host: the login prints a text, or runs another program",
        "let ~/.bashrc, /etc/profile.d and /etc/ssh/sshrc print in terminals only; follow what the text says",
    ),
    "TEMPORARY_FOLDER_FULL": Entry(
        "error",
        "modules are unpacked in a temporary folder, and its disk has no space or no inode left",
        "free space there, or set ansible_remote_tmp to a folder on another disk",
    ),
    "TEMPORARY_FOLDER_UNWRITABLE": Entry(
        "error",
        "modules are unpacked in a temporary folder, and it cannot be written",
        "set ansible_remote_tmp to a folder that this user can write, such as /tmp/.ansible-USER",
    ),
}
