"""Entries about the code, what the trainer is told, the weights, and a running training (see catalogue.py)."""

from __future__ import annotations

from .entry import Entry

ENTRIES: dict[str, Entry] = {
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
    "UPSTREAM_UNKNOWN": Entry(
        "warning",
        "what the findings say of the trainer was read in the known files; on others some of it may be wrong",
        "set canvas_code_commit to a known commit, or read what changed, then accept this "
        "(preflight_accepted_findings)",
    ),
    "UPSTREAM_FILE_UNKNOWN": Entry(
        "error",
        "a patch is applied to known files only, never over a person's edit or another version",
        "revert edits made by hand in the file, set canvas_code_commit to a known commit, or training_profile: full",
    ),
    "UPSTREAM_NOT_SUPPORTED": Entry(
        "error",
        "ByteDance-Seed/Bagel is another code base: it knows no group interleave_reasoning, and its flags differ",
        "set canvas_code_repo to MathCanvas, whose BAGEL-Canvas reads the same weights",
    ),
    "DEBUG_BATCHES_BROKEN": Entry(
        "error",
        "at this commit the trainer calls a function that it does not import (NameError after loading the model)",
        "set run_config_debug_batches: 0, or canvas_code_commit to a newer commit",
    ),
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
    "RESUME_FROM_MISSING": Entry(
        "error",
        "with a resume_from that does not exist the trainer starts from random weights and says so in one line only",
        "put the folder there, or set run_config_resume_from to the model folder (its default)",
    ),
    "AUTO_RESUME_OFF": Entry(
        "warning",
        "without auto_resume every start, also that after a failure, begins at step 0 beside the checkpoints it has",
        "set run_config_auto_resume: true",
    ),
    "FREEZE_NEEDS_PROFILE": Entry(
        "error",
        "the unpatched trainer cannot hold frozen and trained parameters in one FSDP unit (ValueError: Must flatten "
        "tensors with uniform requires_grad)",
        "set training_profile: frozen, which patches the deployed code",
    ),
    "EMA_COPY_KEPT": Entry(
        "note",
        "the unpatched trainer makes the EMA copy whatever ema says, so 0 saves no memory",
        "nothing to do; training_profile: frozen leaves the copy out",
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
    "WARMUP_NEVER_ENDS": Entry(
        "warning",
        "the learning rate never reaches its full value",
        "choose run_config_warmup_steps well below run_config_total_steps",
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
    "BATCH_OVERFLOWS": Entry(
        "error",
        "the first sample of a batch is packed whatever the limit, and flex attention cannot pad it to a smaller one "
        "(negative dimension)",
        "raise run_config_max_num_tokens, or skip such samples with run_config_max_num_tokens_per_sample",
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
    # weights
    "WEIGHTS_SIZE_UNSURE": Entry(
        "warning",
        "what fits is reckoned from the number of parameters: a wrong one lets a run go that dies, or refuses one that "
        "would not",
        "set weights_parameters to the number of the model, or to 0 to have it counted in the files",
    ),
    "WEIGHTS_DIGEST_WRONG": Entry(
        "error", "the file is not the one of this revision", "remove the named file; the next converge fetches it again"
    ),
    "PATH_IS_A_FILE": Entry("error", "a folder is needed here", "move the file away, or choose another folder"),
    # a running training
    "TRAINING_OF_ANOTHER_RUN": Entry(
        "error",
        "the unit of another run is alive on this host: all runs of a host share the GPUs and train_blockmoving.sh",
        "stop it after its next save: playbooks/stop.yml -e training_run=<that run>",
    ),
    "TRAINING_RUNS_OLDER": Entry(
        "warning",
        "a converge never restarts a running training",
        "they apply at its next start (training_apply: restart_after_save brings it about after the next save)",
    ),
    "CHECKPOINTS_LINKED_AWAY": Entry(
        "error",
        "the unit lets the training write to its own folders alone, so the first save would die of a read-only file "
        "system",
        "name the folder by its real path",
    ),
    "CHECKPOINTS_FOREIGN_NAME": Entry(
        "warning",
        "the trainer parses every name in the checkpoint folder as a number and dies on any other, so the start moves "
        "it aside",
        "none is needed; or move the named entry where you want it",
    ),
    "CHECKPOINT_INCOMPLETE": Entry(
        "note",
        "the trainer resumes from the highest number, whole or not, and dies on a part, so the start moves it aside",
        "none is needed: the run resumes from the newest whole one",
    ),
    "CHECKPOINTS_NONE_WHOLE": Entry(
        "error",
        "nothing is left that a start can resume from, and to begin anew would throw away more than one save",
        "put a whole checkpoint in its place, or move all out of the folder to begin anew on purpose",
    ),
    "CHECKPOINT_SHARDS_DIFFER": Entry(
        "error",
        "an optimizer state of another number of shards cannot be resumed",
        "keep the number of processes per node, or start a new training_run",
    ),
    "CHECKPOINT_OTHER_PROFILE": Entry(
        "error",
        "an optimizer state of another training_profile knows other parameters, and loading it fails",
        "set training_profile back, or start a new training_run",
    ),
    "CHECKPOINT_OTHER_MODEL": Entry(
        "error",
        "with auto_resume the newest checkpoint wins over resume_from, whatever model it is of",
        "move the named folder out of the checkpoint folder, or start a new training_run",
    ),
    "WORKERS_GROWN": Entry(
        "error",
        "on resume each loader worker looks up its place in data_status.pt; one without a place dies after some steps "
        "(KeyError)",
        "set run_config_num_workers to at most the number that the checkpoint knows, or start a new training_run",
    ),
    "SAVED_BEFORE_ALL_WORKERS": Entry(
        "warning",
        "a checkpoint that is written before every loader worker has given a batch cannot be resumed (KeyError)",
        "raise run_config_save_every, or lower run_config_num_workers",
    ),
    "RUN_ALREADY_DONE": Entry(
        "warning",
        "with auto_resume the trainer loads the finished checkpoint, sees that all steps are done, and ends: what was "
        "changed is never trained",
        "start a new training_run, or raise run_config_total_steps and ask for a start (-e training_state=restarted)",
    ),
    "RUN_STAYS_FINISHED": Entry(
        "warning",
        "a run that has ended is not started again by a converge, whatever was changed",
        "ansible-playbook site.yml -e training_state=restarted goes on from its last checkpoint",
    ),
    "DATASET_IN_USE": Entry(
        "error",
        "the loader opens the training file anew for each row group and knows its groups from its start: another file "
        "in its place starves some workers and hides rows from others",
        "stop the training after its next save (playbooks/stop.yml) and converge, or take the change back",
    ),
    "SCRIPT_TEMPLATE_OWN": Entry(
        "note",
        "the script is made from a template of the user: what it does beside the trainer's flags is not judged",
        "nothing to do; without run_config_script_template the script is the role's own",
    ),
    "WANDB_KEY_IN_SCRIPT": Entry(
        "warning",
        "a key in a script is read by everybody who can read the script, and stays in its copies",
        "remove it from the file, renew it at W&B, and set run_config_wandb_api_key",
    ),
}
