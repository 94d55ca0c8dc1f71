"""Entries about reaching a host: its address, SSH, becoming root, Python, temporary folders (see catalogue.py)."""

from __future__ import annotations

from .entry import Entry

KNOWN_HOSTS = "compare the fingerprint with the provider's console (ssh-keyscan ADDRESS | ssh-keygen -lf -)"

ENTRIES: dict[str, Entry] = {
    "HOST_UNREACHABLE": Entry(
        "error",
        "canvas-fleet cannot check or change a host without a connection",
        "log in by hand with the same address and user (ssh USER@ADDRESS), and follow the message",
    ),
    "HOST_MISSING": Entry(
        "error",
        "a run needs all its hosts; without one its world size would change",
        "run the play for all hosts of the run (a --limit must not split it), or repair the lost host",
    ),
    "SSH_NAME_UNKNOWN": Entry(
        "error",
        "the controller finds no address for the name of the host",
        "set ansible_host to the address of the host, or correct its name",
    ),
    "SSH_REFUSED": Entry(
        "error",
        "the address answers, but nothing listens on that port",
        "set ansible_port to the port of SSH (rented containers often use another one), or start sshd on the host",
    ),
    "SSH_TIMEOUT": Entry(
        "error",
        "the host did not answer in time: it is off or frozen, the address is wrong, or a firewall drops the "
        "connection",
        "check ansible_host, the host's power and the firewall; ansible_timeout sets the seconds to wait",
    ),
    "SSH_CLOSED": Entry(
        "error",
        "the connection ended before the login: another program listens there, or sshd refuses this address",
        "check ansible_port; look at journalctl -u ssh on the host (AllowUsers, MaxStartups, a ban after wrong logins)",
    ),
    "HOST_KEY_UNKNOWN": Entry(
        "error",
        "ssh asks for a confirmation of a new host key, and Ansible cannot answer",
        f"{KNOWN_HOSTS}; when it is the same: ssh-keyscan ADDRESS >> ~/.ssh/known_hosts",
    ),
    "HOST_KEY_CHANGED": Entry(
        "error",
        "another machine answers at this address, or the server was installed anew",
        f"{KNOWN_HOSTS}; when it is the same: ssh-keygen -R ADDRESS && ssh-keyscan ADDRESS >> ~/.ssh/known_hosts",
    ),
    "SSH_LOGIN_REFUSED": Entry(
        "error",
        "the host accepts neither the user nor the offered key",
        "set ansible_user to the user of the server (ubuntu, debian, root) and ansible_ssh_private_key_file to its key",
    ),
    "SSH_TOO_MANY_KEYS": Entry(
        "error",
        "ssh offers all keys of the agent, and the host stops before the right one",
        "set ansible_ssh_private_key_file, and ansible_ssh_common_args: -o IdentitiesOnly=yes",
    ),
    "SSH_PASSWORD_EXPIRED": Entry(
        "error",
        "the host asks for a new password at the login, and Ansible cannot type it",
        "log in by hand once and set a new password",
    ),
    "BECOME_PASSWORD_MISSING": Entry(
        "error",
        "the roles need root, and the host asks this user for a password",
        "enter it with ansible-playbook -K, or set ansible_become_password in ansible-vault",
    ),
    "BECOME_PASSWORD_WRONG": Entry(
        "error",
        "the host refuses the password for root",
        "enter the right one with -K, or correct ansible_become_password; su needs the password of root",
    ),
    "BECOME_NOT_ALLOWED": Entry(
        "error",
        "the roles need root, and sudo refuses some commands of this user",
        "set ansible_user to a user with full sudo rights, or add the user to the group sudo (wheel on EL) as root",
    ),
    "BECOME_NEEDS_TERMINAL": Entry(
        "error",
        "sudo on this host works only in a terminal (requiretty)",
        "set ansible_pipelining: false, or remove requiretty from /etc/sudoers (visudo)",
    ),
    "BECOME_PROGRAM_MISSING": Entry(
        "error",
        "the program that makes this user root is missing",
        "install sudo on the host, set ansible_become_method: su, or log in as root (ansible_user)",
    ),
    "BECOME_TIMEOUT": Entry(
        "error",
        "the program that makes this user root waits for an input other than a password",
        "give su a password (-K, or ansible_become_password); for sudo log in by hand and look what `sudo -v` waits "
        "for",
    ),
    "NOT_ROOT": Entry(
        "error",
        "the roles need root, because they install packages and manage units",
        "remove ansible_become: false and ansible_become_user from the inventory",
    ),
    "ACL_MISSING": Entry(
        "error",
        "Ansible needs setfacl to give files to an account other than root, and the host has none",
        "remove ansible_become_user, because the roles need root; or install the package acl on the host",
    ),
    "PYTHON_MISSING": Entry(
        "error",
        "the modules need Python on the host, and there is none at that path",
        "install it on the host (apt-get install python3), or set ansible_python_interpreter to its path",
    ),
    "PYTHON_OLD": Entry(
        "error",
        "the modules need Python 3.9 or newer on the host",
        "install a newer Python beside it, and set ansible_python_interpreter to its path",
    ),
    "SHELL_PRINTS": Entry(
        "error",
        "the login prints text or runs another program, so the module's answer is unreadable",
        "let ~/.bashrc, /etc/profile.d and /etc/ssh/sshrc print only in terminals; follow the printed text",
    ),
    "TEMPORARY_FOLDER_FULL": Entry(
        "error",
        "Ansible unpacks modules in a temporary folder, whose disk has no space or inode left",
        "free space there, or set ansible_remote_tmp to a folder on another disk",
    ),
    "TEMPORARY_FOLDER_UNWRITABLE": Entry(
        "error",
        "Ansible unpacks modules in a temporary folder, and it cannot write there",
        "set ansible_remote_tmp to a folder that this user can write, such as /tmp/.ansible-USER",
    ),
}
