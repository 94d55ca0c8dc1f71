"""Entries about the inventory, reaching hosts, the machine, its driver and its environment (see catalogue.py)."""

from __future__ import annotations

from .entry import Entry
from .of_reach import KNOWN_HOSTS

ENTRIES: dict[str, Entry] = {
    # the inventory
    "VARIABLE_UNKNOWN": Entry(
        "error",
        "no role reads this name, so a misspelt variable has no effect",
        "correct the name in the inventory, or remove it",
    ),
    "VARIABLE_INVALID": Entry("error", "the variable cannot have this value", "correct the value in the inventory"),
    "SECRET_MISPLACED": Entry(
        "error",
        "the secret would be written to a file that others can read",
        "put it in run_config_wandb_api_key, in weights_token, or in fleet_credentials for the server of a URL or a "
        "proxy (all of them with ansible-vault)",
    ),
    "ACCOUNT_OF_SYSTEM": Entry(
        "error",
        "the training would run as root or as an account of the distribution",
        "set fleet_user to another name; fleet_agent makes the account",
    ),
    "ACCOUNT_LIKE_ROOT": Entry(
        "error",
        "members of the named group can become root, and the training runs code of hundreds of packages",
        "remove the account from the group (gpasswd -d ACCOUNT GROUP), or set fleet_user to another account",
    ),
    "READER_UNKNOWN": Entry(
        "error",
        "only an account of the host can be given the right to read results and journal",
        "make the account on the host, or remove its name from fleet_readers",
    ),
    "READER_OF_SYSTEM": Entry(
        "error",
        "the training, or a program of the distribution, would read the journal of the whole host",
        "name accounts of people in fleet_readers",
    ),
    "STATE_DIR_OPEN": Entry(
        "error",
        "root believes or runs what lies here, so no other account may write to it or replace it",
        "leave the variable at its default, or choose an empty folder of root's for it",
    ),
    "HOST_LOCKED": Entry(
        "warning",
        "another ansible-playbook is at work on this host, so a change would stop with an error",
        "wait until the other playbook has ended, then run again",
    ),
    "HOST_CHANGED": Entry(
        "error",
        "another ansible-playbook has changed this host since the plan was made",
        "run again, so that the plan is made from the present state",
    ),
    "RUN_DISAGREES": Entry(
        "error",
        "the hosts of one run need equal settings; otherwise the ranks hang or train different things",
        "set the variable for the group of the run, not for one host",
    ),
    "ADDRESS_TWICE": Entry(
        "error",
        "two hosts of a run have the same address, so one of them cannot be reached",
        "give each host of the run its own fleet_address, at which the others reach it",
    ),
    "NO_HOSTS": Entry(
        "error",
        "the inventory has no host to train on",
        "name your inventory (-i inventory/mine), and list its hosts under `trainers:` (inventory/example/hosts.yml); "
        "playbooks/init.yml writes one",
    ),
    "HOST_KEY_UNCONFIRMED": Entry(
        "error",
        "a host key that nobody has compared may be that of somebody between you and the server",
        f"{KNOWN_HOSTS}, and answer yes, or give the right fingerprints (init_fingerprints)",
    ),
    "INVENTORY_EXISTS": Entry(
        "error",
        "an inventory is never overwritten",
        "edit that inventory, or name another folder (init_path)",
    ),
    "VARIABLE_FILE_UNUSED": Entry(
        "warning",
        "Ansible reads such a file by its name alone, so the settings in it have no effect",
        "rename the file with its host or group, or remove it",
    ),
    "LIMIT_EMPTY": Entry(
        "error",
        "this limit leaves no host of the group trainers",
        "name hosts of the group trainers, or a group within it",
    ),
    "RUNS_SEVERAL": Entry(
        "error",
        "this playbook works on one run, and these hosts train several",
        "name the hosts of one run with --limit",
    ),
    "TAG_UNKNOWN": Entry(
        "error",
        "no task has this tag, so Ansible would skip all of them",
        "correct the tag, or leave it out to run everything",
    ),
    "ANSIBLE_TOO_OLD": Entry(
        "error",
        "the roles and plugins use what ansible-core brought with 2.19, and would end in a traceback",
        "install it with Python 3.11 or newer: `python3 -m venv fleet; fleet/bin/pip install 'ansible-core>=2.19'`",
    ),
    "MACHINE_TWICE": Entry(
        "error",
        "two names in the inventory are the same machine, and two trainings would share its GPUs and files",
        "remove one of the two names, or correct its ansible_host",
    ),
    "RUN_AMBIGUOUS": Entry(
        "error",
        "a host trains one run, and Ansible silently takes the group that is last by name",
        "remove the host from one of the groups, or set training_run in its host_vars",
    ),
    # what hosts answer
    "HOST_ANSWER_MALFORMED": Entry(
        "error",
        "the host's answer does not have the declared form, so all of it is ignored",
        "run again; if it happens again, look at what runs as Python on that host",
    ),
    "ANSWER_NOT_JUDGED": Entry(
        "error",
        "the plan has no rule for this answer of the host, so its run is left unchanged",
        "look at the named part on the host; if it is in order, report a bug with the answer",
    ),
    "HOST_PART_SILENT": Entry(
        "error",
        "a part of the host did not answer, so its run is left unchanged",
        "look at the named path or program on the host: mount a hanging file system again; restart the host for a "
        "hanging nvidia-smi",
    ),
    # the machine
    "NO_SYSTEMD": Entry(
        "error",
        "the training runs as a systemd unit, so it survives a lost connection and a restart of the host",
        "use a host whose PID 1 is systemd; most containers have none",
    ),
    "NO_GPU": Entry(
        "error",
        "the trainer needs a CUDA device; it has no CPU mode",
        "install or repair the driver (role nvidia), or set nvidia_gpu_expected: false for a host without GPUs",
    ),
    "GPU_COUNT_SHORT": Entry(
        "error", "each process of the run needs its own GPU", "lower run_config_processes, or use a host with more GPUs"
    ),
    "GPU_MEMORY_SHORT": Entry(
        "error",
        "weights, gradients, Adam's moments and the EMA copy take 20 bytes per parameter, 24 in the optimizer step, "
        "divided by the shards; batches and gathered layers come on top",
        "use more GPUs as shards of the run, larger GPUs, or training_profile: lora",
    ),
    "GPU_MEMORY_TIGHT": Entry(
        "warning",
        "the activations of a long batch may not fit; they are an estimate, the rest is counted",
        "lower run_config_expected_num_tokens, or watch the first steps",
    ),
    "HOST_MEMORY_SHORT": Entry(
        "error",
        "each rank needs 4 GB and the memory that cpu_offload takes off the GPU (lora: 27 GB for each rank); without "
        "canvas_code_lean it needs 10 bytes per parameter to load the model",
        "set canvas_code_lean: true, use a host with more memory, or fewer processes",
    ),
    "HOST_MEMORY_TIGHT": Entry(
        "warning",
        "at a start or a save the kernel must drop pages of the files; this is slow, and another process can exhaust "
        "the memory",
        "run nothing else on the host, or use one with more memory",
    ),
    "DISK_SHORT": Entry(
        "error",
        "when the disk fills during a save, no training can resume from that checkpoint",
        "free space, or put the named folder on a larger disk",
    ),
    "MOUNT_READ_ONLY": Entry("error", "the file system is mounted read-only", "mount it rw, or choose another folder"),
    "MOUNT_NOEXEC": Entry(
        "error",
        "programs and compiled kernels cannot be loaded from a noexec file system",
        "mount it without noexec, or choose another folder",
    ),
    "SHM_SMALL": Entry(
        "error",
        "loader workers pass their batches through /dev/shm; when it is full the kernel kills them (bus error)",
        "make /dev/shm larger (mount -o remount,size=…; --shm-size of a container), or lower run_config_num_workers",
    ),
    "PORT_TAKEN": Entry(
        "error",
        "the first process of the run must listen on this port; otherwise it ends with EADDRINUSE",
        "end the program that listens there, or choose another run_config_master_port",
    ),
    "PEER_UNREACHABLE": Entry(
        "error",
        "every host of a run must reach the first one",
        "open all ports between the hosts (NCCL chooses its own), or set fleet_address to an address at which they "
        "reach each other",
    ),
    "CLOCK_SKEW": Entry(
        "warning",
        "log lines of different hosts do not line up; a clock that is a day off also breaks certificates and "
        "package lists",
        "let chrony or systemd-timesyncd set the clock",
    ),
    "PACKAGE_MANAGER_UNKNOWN": Entry(
        "error",
        "system packages are installed with apt-get or dnf only",
        "use a host with Debian, Ubuntu, or a relative of RHEL 9",
    ),
    "FOLDER_NOT_OURS": Entry(
        "error",
        "the roles never change the owner of a foreign folder",
        "set fleet_user to its owner, give the account write access, or choose another folder",
    ),
    # driver, toolkit and environment
    "NVIDIA_DRIVER_BROKEN": Entry(
        "error",
        "the driver is installed but does not answer; the role never replaces such a driver",
        "restart the host (nvidia_reboot: when_needed does it once), or do what nvidia-smi says",
    ),
    "NVIDIA_REBOOT_NEEDED": Entry(
        "error",
        "the new driver is installed, but the running kernel still uses the old one",
        "restart the host, or set nvidia_reboot: when_needed, which waits while a training runs",
    ),
    "NVIDIA_SYSTEM_UNKNOWN": Entry(
        "error",
        "the role knows the packages of Debian 12 and 13, Ubuntu 22.04 and 24.04, and EL 9, all on x86_64",
        "install driver and toolkit by hand; the role keeps a working driver",
    ),
    "SECURE_BOOT_ON": Entry(
        "warning",
        "with Secure Boot the kernel loads signed modules only; a driver built on this host is not signed",
        "run mokutil --import /var/lib/dkms/mok.pub (Ubuntu: /var/lib/shim-signed/mok/MOK.der), restart, and choose "
        "Enroll MOK on the console (SSH does not work yet); or switch Secure Boot off in the firmware or at the "
        "provider",
    ),
    "NVIDIA_KEY_CHANGED": Entry(
        "note",
        "NVIDIA sometimes changes the key of its repository; apt refuses the repository under the old key",
        "no action needed: the role fetches the new key and accepts only nvidia_repository_fingerprint",
    ),
    "NVIDIA_SOURCE_FOREIGN": Entry(
        "note",
        "apt fails when two sources have the same address and different keys",
        "no action needed: the role uses the existing source with its key; remove that source to let the role write "
        "its own",
    ),
    "NVIDIA_DRIVER_NOT_HELD": Entry(
        "note",
        "an unattended update of the driver breaks CUDA until the next restart (Driver/library version mismatch)",
        "hold the named packages with apt-mark hold; packages that the role installs are held already (nvidia_hold)",
    ),
    "NVSWITCH_FABRIC_DOWN": Entry(
        "error",
        "while the NVSwitch fabric is down, every CUDA program ends with error 802 (system not yet initialized)",
        "look at journalctl -u nvidia-fabricmanager; on a rented slice, ask the provider to start the fabric",
    ),
    "NVSWITCH_NVLINK5": Entry(
        "warning",
        "HGX B200 and B300 need a subnet manager besides fabric manager; until the fabric is up, every CUDA program "
        "ends with error 802 (system not yet initialized)",
        "the role does not set this up: install nvidia-fabricmanager in the driver's version, nvlsm and "
        "infiniband-diags, load ib_umad (and name it in /etc/modules-load.d), then start nvidia-fabricmanager",
    ),
    "TORCH_BUILD_MISSING": Entry(
        "error",
        "each version of torch is built for a few CUDA versions only; pip finds no other build",
        "set conda_env_lock: cu126 and keep the default index (the driver serves every CUDA 12), or pin a torch "
        "that is built for this CUDA version",
    ),
    "TORCH_BUILD_UNFIT": Entry(
        "error",
        "torch needs a driver and GPUs that its CUDA build supports (otherwise: no kernel image is available); "
        "flash-attn needs a toolkit of the same major version",
        "set nvidia_cuda_version to the CUDA version of the torch build",
    ),
    "GPU_TOO_OLD": Entry(
        "error",
        "flash-attn 2 and bf16 need compute capability 8.0 (Ampere) or newer",
        "use a host with newer GPUs",
    ),
    "GPU_ECC_ERRORS": Entry(
        "warning",
        "uncorrected memory errors spoil numbers or end the process",
        "reset the GPU or restart the host; if the count grows, have the card replaced",
    ),
    "GPU_MISSING": Entry(
        "error",
        "a GPU does not answer; a run with fewer GPUs has another world size and cannot resume the checkpoints",
        "look at dmesg on the host (Xid) and restart it; to train on the other GPUs, set run_config_processes to "
        "their number",
    ),
    "NVIDIA_SMI_WARNS": Entry(
        "warning",
        "nvidia-smi prints a warning beside its report",
        "read the warning; ask the provider to replace a failing card or a damaged infoROM",
    ),
    "GPU_RESET_PENDING": Entry(
        "warning",
        "the GPU needs a reset; it works until then",
        "restart the host, or reset the GPU while nothing uses it (nvidia-smi --gpu-reset -i N)",
    ),
    "GPU_MEMORY_TAKEN": Entry(
        "error",
        "a process that nvidia-smi does not list holds memory of the GPU, so the training would run out of it",
        "find the process (fuser -v /dev/nvidia*, containers of the host) and end it; without one, reset the GPU or "
        "restart the host",
    ),
    "GPU_HIDDEN": Entry(
        "error",
        "a process of the training without a GPU ends with: invalid device ordinal",
        "remove CUDA_VISIBLE_DEVICES from run_config_env, or set run_config_processes to the number of GPUs in it",
    ),
    "NVIDIA_PERSISTENCE_OFF": Entry(
        "note",
        "without the persistence daemon the driver initializes the GPUs again for each program, so each start is "
        "slower",
        "install nvidia-persistenced; the role nvidia installs it together with a driver",
    ),
    "ARCHITECTURE_OTHER": Entry(
        "error",
        "the conda installer, the shipped locks and the wheels of flash-attn are for x86_64",
        "set an installer (conda_env_installer_url, conda_env_installer_sha256), a lock (make lock) and "
        "conda_env_flash_attn_from: source for this architecture; or use an existing environment "
        "(conda_env_use_existing: true)",
    ),
    "TOOLKIT_OLDER": Entry(
        "warning",
        "LD_LIBRARY_PATH puts the toolkit's libraries before torch's own, and older ones lack symbols",
        "set nvidia_cuda_version to the CUDA version of the torch build, or remove LD_LIBRARY_PATH from run_config_env",
    ),
    "LIBC_OLD": Entry(
        "error",
        "a wheel for a newer C library can be installed but not imported",
        "use a newer distribution (Debian 12, Ubuntu 22.04, EL 9); conda_env_flash_attn_from: source builds "
        "flash-attn for this one",
    ),
    "GPU_MIG_ON": Entry(
        "error",
        "MIG cuts the GPU into instances, and a process gets only one of them",
        "switch MIG off on the named GPU (nvidia-smi -mig 0)",
    ),
    "GPU_MIXED": Entry(
        "warning",
        "the slowest GPU sets the speed and the smallest one the memory limit",
        "use GPUs of one model in a run",
    ),
    "COMPILER_MISSING": Entry(
        "error",
        "flex attention is compiled at the start of the training, with a C compiler and Python's headers",
        "set fleet_agent_compiler: true, or run_config_use_flex: false",
    ),
    "GPU_BUSY": Entry(
        "warning",
        "the training needs the whole GPU, and another process holds some of its memory",
        "end that process, or wait for it",
    ),
    "CONDA_ROOT_FOREIGN": Entry(
        "error",
        "conda is installed into an empty folder only; this one holds foreign files",
        "choose another conda_env_root, or move the files away",
    ),
    "CONDA_LOCK_STALE": Entry(
        "error",
        "the environment follows its lock, so the changed list of packages has no effect",
        'renew the lock (make lock), name another one, or set conda_env_lock: "" to let pip choose each time',
    ),
    "CONDA_ENV_FOREIGN": Entry(
        "error",
        "the role never changes or replaces a foreign environment",
        "choose another conda_env_name, or set conda_env_use_existing: true to use it as it is",
    ),
}
