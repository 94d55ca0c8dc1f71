"""Entries about the inventory, reaching hosts, the machine, its driver and its environment (see catalogue.py)."""

from __future__ import annotations

from .entry import Entry

ENTRIES: dict[str, Entry] = {
    # the inventory
    "VARIABLE_UNKNOWN": Entry(
        "error",
        "a misspelt variable is silently the default",
        "correct the name in the inventory, or remove it",
    ),
    "VARIABLE_INVALID": Entry("error", "the value cannot mean what was intended", "correct the value in the inventory"),
    "SECRET_MISPLACED": Entry(
        "error",
        "the value would stand in a file that others can read",
        "use run_config_wandb_api_key or weights_token (in ansible-vault), which are never shown or written openly; a "
        "password of a URL belongs into ~/.netrc of the host, which git and pip read",
    ),
    "RUN_DISAGREES": Entry(
        "error",
        "the ranks of one run must be told the same, or they hang or train different things",
        "set the variable for the whole run (a group), not for one host",
    ),
    "ADDRESS_TWICE": Entry(
        "error",
        "two hosts of one run with one address are one machine, or the second cannot find the first",
        "give each host of the run its own fleet_address, the one at which the others reach it",
    ),
    # reaching hosts
    "HOST_UNREACHABLE": Entry(
        "error",
        "nothing can be checked or changed on a host that does not answer",
        "check address, login and network of the host; `make demo` starts the embedded fleet",
    ),
    "HOST_KEY_CHANGED": Entry(
        "error",
        "another machine answers at this address, or the server was reinstalled",
        "compare the fingerprint with the provider's console, then replace the key in known_hosts",
    ),
    "HOST_ANSWER_MALFORMED": Entry(
        "error",
        "the host's answer does not have the form that the collection declares, so nothing of it is believed",
        "run again; if it happens again, look at what answers on that host in the place of its Python",
    ),
    "ANSWER_NOT_JUDGED": Entry(
        "error",
        "no rule of the plan is made for what this host answered, so nothing is changed in its run",
        "look at the named part on the host; report it with the answer if nothing is wrong there",
    ),
    "HOST_MISSING": Entry(
        "error",
        "a run needs all of its hosts; with fewer its world size would be another",
        "run the play for all hosts of the run (no --limit that cuts it), or mend the host that was lost",
    ),
    # the machine
    "NO_SYSTEMD": Entry(
        "error",
        "the training runs as a systemd unit, so that it survives the connection and the reboot",
        "use a host whose PID 1 is systemd (most containers are not)",
    ),
    "NO_GPU": Entry(
        "error",
        "the trainer asserts a CUDA device and has no CPU mode",
        "install or repair the driver (nvidia role), or say nvidia_gpu_expected: false if the host has none on purpose",
    ),
    "GPU_COUNT_SHORT": Entry(
        "error", "each process of the run needs a GPU of its own", "lower run_config_processes, or use a larger host"
    ),
    "GPU_MEMORY_SHORT": Entry(
        "error",
        "weights, gradients, Adam's moments and the EMA copy take 20 bytes per parameter at rest and 24 in the "
        "optimizer step, divided by the shards; a save gathers the whole model on top",
        "more GPUs as shards of one run, larger GPUs, or training_profile: frozen",
    ),
    "GPU_MEMORY_TIGHT": Entry(
        "warning",
        "the activations of a long batch may not fit; they are estimated, all else is counted",
        "lower run_config_expected_num_tokens, or watch the first steps",
    ),
    "HOST_MEMORY_SHORT": Entry(
        "error",
        "while loading, each rank builds the model twice and reads the weights: 10 bytes per parameter per rank",
        "a host with more memory, or fewer processes",
    ),
    "HOST_MEMORY_TIGHT": Entry(
        "warning",
        "while the ranks load, the kernel has to drop pages of the weights file that they read: it is slow, and any "
        "other process of the host may be what is too much",
        "run nothing else beside it, or a host with more memory",
    ),
    "DISK_SHORT": Entry(
        "error",
        "a disk that fills while a checkpoint is written leaves a checkpoint that cannot be resumed",
        "free space, or put the named folder on a larger disk",
    ),
    "MOUNT_READ_ONLY": Entry(
        "error", "nothing can be written there", "mount the file system rw, or choose another folder"
    ),
    "MOUNT_NOEXEC": Entry(
        "error",
        "neither a program nor a compiled kernel can be loaded from a noexec file system",
        "mount the file system without noexec, or choose another folder",
    ),
    "SHM_SMALL": Entry(
        "error",
        "loader workers hand their batches over in /dev/shm; where it is full they are killed (bus error)",
        "a larger /dev/shm (mount -o remount,size=…; --shm-size of a container), or fewer run_config_num_workers",
    ),
    "PORT_TAKEN": Entry(
        "error",
        "the first process of the run must listen on that port, and dies when it cannot (EADDRINUSE)",
        "end what listens there, or choose another run_config_master_port",
    ),
    "PEER_UNREACHABLE": Entry(
        "error",
        "each host of a run connects to the first one, and waits in vain",
        "open the network between the hosts (all ports, NCCL chooses its own), or set fleet_address to the address "
        "at which they reach each other",
    ),
    "CLOCK_SKEW": Entry(
        "warning",
        "logs of the hosts do not fit together; off by a day, certificates and package lists are refused too",
        "let chrony or systemd-timesyncd set the clock",
    ),
    "PACKAGE_MANAGER_UNKNOWN": Entry(
        "error",
        "system packages are installed with apt-get or dnf",
        "use a host with Debian, Ubuntu, or a relative of RHEL 9",
    ),
    "FOLDER_NOT_OURS": Entry(
        "error",
        "the roles never change the owner of a folder that somebody else made",
        "set fleet_user to its owner, give the account write access, or choose another folder",
    ),
    "PYTHON_OLD": Entry("error", "the modules need Python 3.9 on the host", "set ansible_python_interpreter"),
    # driver, toolkit and environment
    "NVIDIA_DRIVER_BROKEN": Entry(
        "error",
        "a driver that is installed and does not answer is mended by a restart or by hand, never by training over it",
        "restart the host (nvidia_reboot: when_needed does it once), or follow what nvidia-smi says",
    ),
    "NVIDIA_REBOOT_NEEDED": Entry(
        "error",
        "the new driver is installed and the running kernel does not use it yet",
        "restart the host, or set nvidia_reboot: when_needed; a running training is never interrupted for it",
    ),
    "NVIDIA_SYSTEM_UNKNOWN": Entry(
        "error",
        "packages are known for Debian 12 and 13, Ubuntu 22.04 and 24.04, and EL 9 on x86_64",
        "install driver and toolkit by hand; the role leaves a working driver alone",
    ),
    "SECURE_BOOT_ON": Entry(
        "warning",
        "with Secure Boot the kernel loads only signed modules, and a driver built on this host is not signed",
        "on the host: mokutil --import /var/lib/dkms/mok.pub (Ubuntu: /var/lib/shim-signed/mok/MOK.der), restart, and "
        "on its console Enroll MOK (it asks before the system starts, so not over SSH); or switch Secure Boot off in "
        "the firmware or the provider's settings",
    ),
    "NVIDIA_KEY_CHANGED": Entry(
        "note",
        "NVIDIA rotates the key of its repository now and then, and with the old one apt takes nothing from it",
        "nothing to do: the role fetches the key anew and takes the one of nvidia_repository_fingerprint alone",
    ),
    "NVIDIA_SOURCE_FOREIGN": Entry(
        "note",
        "two sources with one address and different keys stop apt altogether",
        "nothing to do: the source that is there is used, with its key; remove it to let the role write its own",
    ),
    "NVIDIA_DRIVER_NOT_HELD": Entry(
        "note",
        "an unattended update of the driver ends CUDA until the next restart (Driver/library version mismatch)",
        "hold the named packages: apt-mark hold; what the role installs it holds itself (nvidia_hold)",
    ),
    "NVSWITCH_FABRIC_DOWN": Entry(
        "error",
        "without the fabric of its NVSwitches every CUDA program ends with error 802 (system not yet initialized)",
        "look at journalctl -u nvidia-fabricmanager; on a rented slice the fabric is the provider's to start",
    ),
    "NVSWITCH_NVLINK5": Entry(
        "warning",
        "HGX B200 and B300 reach their NVSwitches through network cards, and need a subnet manager besides fabric "
        "manager; until that fabric is up every CUDA program ends with error 802 (system not yet initialized)",
        "the role does not set up this fabric: install nvidia-fabricmanager in the driver's version, nvlsm and "
        "infiniband-diags, load ib_umad (and name it in /etc/modules-load.d), then start nvidia-fabricmanager",
    ),
    "TORCH_BUILD_MISSING": Entry(
        "error",
        "each version of torch is built for some CUDA versions alone, and pip finds no other build",
        "set conda_env_lock: cu126 and leave the index alone (the driver serves every CUDA 12), or pin a torch that is "
        "built for this CUDA version",
    ),
    "TORCH_BUILD_UNFIT": Entry(
        "error",
        "torch runs only on a driver and on GPUs that its CUDA build knows (no kernel image is available), and "
        "flash-attn is built by a toolkit of the same major version alone",
        "set nvidia_cuda_version to the CUDA version that torch is built for",
    ),
    "GPU_TOO_OLD": Entry(
        "error",
        "flash-attn 2 and bf16 need compute capability 8.0 (Ampere) or newer",
        "use a host with newer GPUs; the trainer has no other attention for its images",
    ),
    "GPU_ECC_ERRORS": Entry(
        "warning",
        "uncorrected memory errors spoil numbers or end the process",
        "reset the GPU or restart the host; if the count grows, have the card replaced",
    ),
    "GPU_MIG_ON": Entry(
        "error",
        "a GPU that is cut into instances gives a process one slice of it",
        "switch MIG off on the named GPU (nvidia-smi -mig 0)",
    ),
    "GPU_MIXED": Entry(
        "warning",
        "all wait for the slowest, and the memory of the smallest is the limit",
        "use GPUs of one kind in one run",
    ),
    "COMPILER_MISSING": Entry(
        "error",
        "flex attention is compiled when the training starts, with a C compiler and Python's headers",
        "fleet_agent_compiler: true, or run_config_use_flex: false",
    ),
    "GPU_BUSY": Entry(
        "warning",
        "another process holds memory of the GPU",
        "end it, or wait; the training needs the whole GPU",
    ),
    "CONDA_ROOT_FOREIGN": Entry(
        "error",
        "conda is installed into an empty folder only; what lies there is not ours",
        "choose another conda_env_root, or move the files away",
    ),
    "CONDA_LOCK_STALE": Entry(
        "error",
        "the environment is made from its lock alone, so another list of packages would change nothing",
        'renew the lock (make lock), name another one, or set conda_env_lock: "" to let pip choose each time',
    ),
    "CONDA_ENV_FOREIGN": Entry(
        "error",
        "an environment that somebody else made is never changed or replaced",
        "choose another conda_env_name, or set conda_env_use_existing: true to use it as it is",
    ),
}
