"""Findings: the one catalogue of what can be wrong with a run, and how a user is told.

A finding is data. Text is made at the edge (terminal, JSON, docs/findings.md is generated from CATALOGUE).
Nothing else decides whether a run may start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Entry:
    """One code of the catalogue: how bad it is, why it matters, and how it is mended."""

    severity: str
    because: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    code: str
    severity: str
    host: str
    found: str
    expected: str
    because: str
    remedy: str
    run: str = ""
    variable: str = ""
    accepted: bool = False

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @property
    def refuses(self) -> bool:
        """True when the run may not start because of this."""
        return self.severity == "error" and not self.accepted


def finding(code: str, *, found: str, expected: str, host: str = "", variable: str = "", remedy: str = "") -> Finding:
    """A finding of the catalogue. Raises KeyError for a code that the catalogue does not hold."""
    entry = CATALOGUE[code]
    return Finding(
        code=code,
        severity=entry.severity,
        host=host,
        found=found,
        expected=expected,
        because=entry.because,
        remedy=remedy or entry.remedy,
        variable=variable,
    )


def placed(findings: Iterable[Finding], *, host: str, run: str, accept: Iterable[str] = ()) -> list[Finding]:
    """The findings with host and run filled in where missing; accepted codes are marked, not dropped."""
    accepted = set(accept)
    return [
        replace(f, host=f.host or host, run=f.run or run, accepted=f.accepted or f.code in accepted) for f in findings
    ]


CATALOGUE: dict[str, Entry] = {
    # the inventory
    "VARIABLE_UNKNOWN": Entry(
        "error",
        "a misspelt variable is silently the default",
        "correct the name in the inventory, or remove it",
    ),
    "VARIABLE_INVALID": Entry("error", "the value cannot mean what was intended", "correct the value in the inventory"),
    "RUN_DISAGREES": Entry(
        "error",
        "the ranks of one run must be told the same, or they hang or train different things",
        "set the variable for the whole run (a group), not for one host",
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
        "full fine-tuning needs at least 24 bytes per parameter in the optimizer step, divided by the shards",
        "more GPUs in one node (more shards), larger GPUs, or run_config_cpu_offload: true",
    ),
    "HOST_MEMORY_SHORT": Entry(
        "error",
        "while loading, each rank builds the model twice and reads the weights: 10 bytes per parameter per rank",
        "a host with more memory, or fewer processes",
    ),
    "DISK_SHORT": Entry(
        "error",
        "a disk that fills while a checkpoint is written leaves a checkpoint that cannot be resumed",
        "free space, or put the named folder on a larger disk",
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
        "restart the host (nvidia_reboot: when_needed does it), or follow what nvidia-smi says",
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
        "enrol the key of the driver's build (mokutil), or switch Secure Boot off in the firmware",
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
    "CONDA_ENV_FOREIGN": Entry(
        "error",
        "an environment that somebody else made is never changed or replaced",
        "choose another conda_env_name, or set conda_env_adopt: true to use it as it is",
    ),
    # code
    "CODE_LOCAL_EDITS": Entry(
        "warning",
        "somebody changed files of the checkout by hand; they are kept, and they are what will run",
        "commit or revert them; canvas_code_local_edits says what a change of commit may do with them",
    ),
    "CODE_EDITS_IN_THE_WAY": Entry(
        "error",
        "another commit would overwrite changes that were made by hand",
        "save them elsewhere, or set canvas_code_local_edits: stash",
    ),
    "CODE_FOLDER_FOREIGN": Entry(
        "error", "the folder holds something else than the expected repository", "choose another canvas_code_checkout"
    ),
    "REVISION_NOT_PINNED": Entry("warning", "a branch name means another thing tomorrow", "give the full commit id"),
    # configuration of the run
    "YAML_DIALECT": Entry(
        "error",
        "the loader asserts dataset_names in each top-level key and exits after half a minute",
        "let run_config write blockmoving_sft.yaml (the guide's form does not load)",
    ),
    "REGISTRATION_DIALECT": Entry(
        "error",
        "the loader reads data_dir, num_files, parquet_info_path and num_total_samples (KeyError otherwise)",
        "remove the entry made by hand, and let run_config register the dataset",
    ),
    "REGISTRATION_BY_HAND": Entry(
        "error",
        "with an entry made by hand and one of ours under one name, Python takes the later of the two",
        "remove the entry made by hand, or choose another dataset_name",
    ),
    "REGISTRATION_BROKEN": Entry(
        "error",
        "dataset_info.py is imported by the trainer, and a file that cannot be read cannot be patched safely",
        "mend the file (git checkout of it in the code folder), then converge again",
    ),
    "GROUP_UNKNOWN": Entry(
        "error",
        "the loader looks the group up in DATASET_REGISTRY for the class that reads it (KeyError otherwise)",
        "choose a dataset_group that the code knows",
    ),
    "WEIGHTS_NOT_ASKED": Entry(
        "error",
        "without resume_from, resume_model_only and finetune_from_ema together the trainer starts from random weights "
        "and says so in one line only",
        "set run_config_resume_from to the model folder, and the two companions to true",
    ),
    "SHARDS_MISMATCH": Entry(
        "error", "num_replicate × num_shard must be the world size (device mesh)", "leave both to the plan"
    ),
    "TAIL_STEPS_UNSAVED": Entry(
        "warning",
        "the trainer saves at multiples of save_every only and nothing at the end",
        "choose save_every so that it divides total_steps",
    ),
    "NO_SAVE_AT_ALL": Entry(
        "error", "nothing of this run would ever be written", "choose save_every at most total_steps"
    ),
    "EMA_TOO_SLOW": Entry(
        "warning",
        "ema.safetensors stays mostly the base model, and whoever evaluates it sees almost nothing learned",
        "set run_config_ema lower (upstream uses 0.995), or evaluate model.safetensors",
    ),
    "SAMPLES_TOO_LONG": Entry(
        "error",
        "a sample over max_num_tokens_per_sample is always skipped; if all are, the loader loops for ever",
        "raise run_config_max_num_tokens_per_sample to the longest sample or more",
    ),
    "PACKING_DROPS_SAMPLES": Entry(
        "warning",
        "with these budgets the packer throws parsed samples away, in silence",
        "raise run_config_max_num_tokens to twice the longest sample and to expected_num_tokens + longest sample",
    ),
    "DEBUG_BATCHES_PRINT": Entry(
        "note",
        "sample text is printed into the log, and rank 0 starts a second set of workers",
        "set run_config_debug_batches: 0",
    ),
    "FLAG_UNKNOWN": Entry(
        "error", "the trainer's argument parser refuses a flag it does not know", "correct run_config_extra_flags"
    ),
    # data
    "DATASET_UNREADABLE": Entry("error", "the file is not a parquet file that can be read", "copy the file again"),
    "DATASET_MISSING": Entry("error", "there is nothing to train on", "set dataset_source and its paths"),
    "DATASET_COLUMN_MISSING": Entry(
        "error", "the loader reads these columns of each row", "convert the data again with all five columns"
    ),
    "DATASET_ROWS_BAD": Entry(
        "error",
        "the trainer drops such rows without stopping",
        "mend the rows, or set dataset_drop_bad_rows: true to leave them out on purpose",
    ),
    "DATASET_ROWS_DROPPED": Entry(
        "warning",
        "dataset_drop_bad_rows leaves these rows out of the training copy; the original keeps them",
        "mend the rows if they matter",
    ),
    "DATASET_FOLDER_FOREIGN": Entry(
        "error",
        "the trainer takes any parquet of its folder in directory order, so another file may be trained on",
        "move the named file out of dataset_train_dir",
    ),
    "DATASET_DIGEST_WRONG": Entry(
        "error", "this is not the file that was meant", "correct the digest in the inventory, or the file"
    ),
    "INDEX_HAS_NULLS": Entry(
        "note",
        "a null index turns the column into floats and the trainer drops every row",
        "nothing to do: the dataset role writes index as int64 without nulls",
    ),
    "TRAIN_TEST_TOGETHER": Entry(
        "note",
        "with both files in one folder the directory order decides which one is trained on",
        "nothing to do: the dataset role keeps the training copy in a folder of its own",
    ),
    "INFO_PATHS_FOREIGN": Entry(
        "note",
        "the loader looks its files up by full path; another machine's paths match nothing",
        "nothing to do: the dataset role writes the info file of this host",
    ),
    "ROW_GROUPS_STARVE": Entry(
        "error",
        "a worker without a row group waits for ever and says nothing",
        "dataset_reshard: true rewrites the row groups of this host's copy; no row is lost",
    ),
    "ROW_GROUPS_UNSEEN": Entry(
        "warning",
        "the loader gives every worker equally many row groups and drops the rest, in silence",
        "dataset_reshard: true rewrites the row groups of this host's copy; no row is lost",
    ),
    "ROWS_TOO_FEW": Entry(
        "error",
        "there are fewer rows than workers, so some worker has nothing and waits for ever",
        "fewer run_config_num_workers or processes, or more data",
    ),
    "TEST_ROWS_IN_TRAIN": Entry("warning", "the test set no longer measures anything", "split the data again"),
    # weights
    "WEIGHTS_DIGEST_WRONG": Entry(
        "error", "the file is not the one of this revision", "remove the named file; the next converge fetches it again"
    ),
    "PATH_IS_A_FILE": Entry("error", "a folder is needed here", "move the file away, or choose another folder"),
    # a running training
    "TRAINING_RUNS_OLDER": Entry(
        "warning",
        "a converge never restarts a running training",
        "the new settings apply at the next start (training_state: restarted applies them now)",
    ),
    "CHECKPOINTS_FOREIGN_NAME": Entry(
        "error",
        "the trainer parses every name in the checkpoint folder as a number and dies on any other",
        "move the named entry out of the checkpoint folder",
    ),
    "CHECKPOINT_INCOMPLETE": Entry(
        "error",
        "the trainer resumes from the highest number, whole or not, and dies on a part",
        "move the folder out of the checkpoint folder; the one before it is whole",
    ),
    "CHECKPOINT_SHARDS_DIFFER": Entry(
        "error",
        "an optimizer state of another number of shards cannot be resumed",
        "keep the number of processes per node, or start a new training_run",
    ),
}
