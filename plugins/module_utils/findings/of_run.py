"""Entries about code, settings of the trainer, weights, and a running training (see catalogue.py)."""

from __future__ import annotations

from .entry import Entry

ENTRIES: dict[str, Entry] = {
    # code
    "CODE_LOCAL_EDITS": Entry(
        "warning",
        "somebody changed files of the checkout by hand; the training runs with these changes",
        "commit or revert them; canvas_code_local_edits says what happens to them at a change of commit",
    ),
    "CODE_EDITS_IN_THE_WAY": Entry(
        "error",
        "another commit would overwrite changes that were made by hand",
        "save them elsewhere, or set canvas_code_local_edits: stash",
    ),
    "CODE_FOLDER_FOREIGN": Entry(
        "error", "the folder does not hold the expected repository", "choose another canvas_code_checkout"
    ),
    "REVISION_NOT_PINNED": Entry(
        "warning", "a branch moves, so the same name gives other files tomorrow", "set the full commit id"
    ),
    "UPSTREAM_UNKNOWN": Entry(
        "warning",
        "the findings describe the known files of the trainer; other files may behave differently",
        "set canvas_code_commit to a known commit, or read what changed and accept this finding "
        "(preflight_accepted_findings)",
    ),
    "UPSTREAM_FILE_UNKNOWN": Entry(
        "error",
        "the role patches known files only, never an edit by hand or another version",
        "revert the edits in the file, set canvas_code_commit to a known commit, or do without the patch: "
        "canvas_code_lean: false, run_config_optimizer: adamw, training_profile: full",
    ),
    "UPSTREAM_NOT_SUPPORTED": Entry(
        "error",
        "ByteDance-Seed/Bagel is different code: it lacks the group interleave_reasoning and has other flags",
        "set canvas_code_repo to MathCanvas; its BAGEL-Canvas reads the same weights",
    ),
    "DEBUG_BATCHES_BROKEN": Entry(
        "error",
        "at this commit the trainer calls a function that it does not import (NameError after the model is loaded)",
        "set run_config_debug_batches: 0, or canvas_code_commit to a newer commit",
    ),
    "REPLICAS_NOT_AVERAGED": Entry(
        "error",
        "FSDP averages gradients over the shards of a copy alone; with one shard each rank trains a model of its own",
        "set canvas_code_lean: true, or run_config_num_replicate: 1 and run_config_num_shard to the number of all "
        "processes (checkpoints then need a shared disk); a trainer that averages by itself names "
        "run_config_num_shard: 1 in fleet_built_in.json",
    ),
    # configuration of the run
    "YAML_DIALECT": Entry(
        "error",
        "the loader needs dataset_names in each top-level key; otherwise the training ends after half a minute",
        "let run_config write blockmoving_sft.yaml; the form in the guide does not load",
    ),
    "REGISTRATION_DIALECT": Entry(
        "error",
        "the loader needs data_dir, num_files, parquet_info_path and num_total_samples (KeyError otherwise)",
        "remove the entry made by hand, and let run_config register the dataset",
    ),
    "REGISTRATION_BY_HAND": Entry(
        "error",
        "an entry made by hand and one of canvas-fleet have the same name; Python uses the later one",
        "remove the entry made by hand, or choose another dataset_name",
    ),
    "REGISTRATION_BROKEN": Entry(
        "error",
        "the trainer imports dataset_info.py, and a file that Python cannot parse cannot be patched",
        "restore the file (git checkout in the code folder), then converge again",
    ),
    "GROUP_UNKNOWN": Entry(
        "error",
        "the loader looks the group up in DATASET_REGISTRY (KeyError otherwise)",
        "choose a dataset_group that the code knows",
    ),
    "WEIGHTS_NOT_ASKED": Entry(
        "error",
        "without resume_from, resume_model_only and finetune_from_ema together, the trainer starts from random "
        "weights; only one log line says so",
        "set run_config_resume_from to the model folder, and the other two to true",
    ),
    "RESUME_FROM_MISSING": Entry(
        "error",
        "when resume_from does not exist, the trainer starts from random weights, and only one log line says so",
        "put the folder there, or set run_config_resume_from to the model folder (its default)",
    ),
    "AUTO_RESUME_OFF": Entry(
        "warning",
        "without auto_resume every start begins at step 0, even after a failure, although checkpoints exist",
        "set run_config_auto_resume: true",
    ),
    "FREEZE_NEEDS_PROFILE": Entry(
        "error",
        "the unpatched trainer cannot hold frozen and trained parameters in one FSDP unit (ValueError: Must flatten "
        "tensors with uniform requires_grad)",
        "set training_profile: lora or frozen, which patch the deployed code",
    ),
    "ADAPTERS_UNEXPECTED": Entry(
        "warning",
        "the training has more or fewer adapters than the model has layers for them, so it may train another part",
        "compare training_lora_targets with the script and the model folder, and restart",
    ),
    "ADAPTERS_STILL": Entry(
        "warning",
        "the adapters have not moved, so nothing is learned",
        "check run_config_lr and the losses, stop the training and start it again",
    ),
    "MERGE_FAILED": Entry(
        "note",
        "the run is finished, but its adapters are no whole model; a converge does not try the same again",
        "remove the cause, then run playbooks/merge.yml",
    ),
    "MODELS_PILE_UP": Entry(
        "note",
        "merged models and exports have up to 29 GB each, and nothing removes them by itself",
        "fetch or push what is still needed, then remove the folders of the others on the host by hand (rm -r); the "
        "checkpoint of an export stays",
    ),
    "LORA_RATE_LOW": Entry(
        "note",
        "adapters begin at zero and need about ten times the learning rate of full fine-tuning",
        "set run_config_lr: 0.0001, or leave it and watch whether the loss falls",
    ),
    "SHARDS_MISMATCH": Entry(
        "error", "num_replicate × num_shard must equal the world size (device mesh)", "leave both to the plan"
    ),
    "TAIL_STEPS_UNSAVED": Entry(
        "warning",
        "the trainer saves only at multiples of save_every, not at the end",
        "choose a run_config_save_every that divides run_config_total_steps",
    ),
    "NO_SAVE_AT_ALL": Entry(
        "error", "the run would never save a checkpoint", "set run_config_save_every to at most run_config_total_steps"
    ),
    "WARMUP_NEVER_ENDS": Entry(
        "warning",
        "the learning rate never reaches its full value",
        "choose run_config_warmup_steps well below run_config_total_steps",
    ),
    "EMA_TOO_SLOW": Entry(
        "warning",
        "ema.safetensors stays close to the base model, so its evaluation shows almost nothing learned",
        "lower run_config_ema (upstream uses 0.995), or evaluate model.safetensors",
    ),
    "SAMPLES_TOO_LONG": Entry(
        "error",
        "the loader skips samples over max_num_tokens_per_sample; if all are longer, it loops for ever",
        "raise run_config_max_num_tokens_per_sample to the longest sample or more",
    ),
    "BATCH_OVERFLOWS": Entry(
        "error",
        "the first sample of a batch is packed even above the limit, and flex attention then fails (negative "
        "dimension)",
        "raise run_config_max_num_tokens, or skip such samples with run_config_max_num_tokens_per_sample",
    ),
    "PACKING_DROPS_SAMPLES": Entry(
        "warning",
        "with these token limits the packer drops parsed samples without a message",
        "raise run_config_max_num_tokens to at least twice the longest sample, and at least expected_num_tokens + "
        "longest sample",
    ),
    "DEBUG_BATCHES_PRINT": Entry(
        "note",
        "the log will show text of samples, and rank 0 starts a second set of workers",
        "set run_config_debug_batches: 0",
    ),
    "FLAG_UNKNOWN": Entry(
        "error", "the trainer's argument parser refuses unknown flags", "correct run_config_extra_flags"
    ),
    # weights
    "WEIGHTS_SIZE_UNSURE": Entry(
        "warning",
        "the memory plan follows the number of parameters; a wrong number starts a run that dies or refuses one "
        "that fits",
        "set weights_parameters to the number of the model, or to 0 to count it in the files",
    ),
    "WEIGHTS_DIGEST_WRONG": Entry(
        "error",
        "the file differs from the one of this revision",
        "remove the named file; the next converge fetches it again",
    ),
    "PATH_IS_A_FILE": Entry(
        "error", "a file lies where a folder is needed", "move the file away, or choose another folder"
    ),
    # a running training
    "CHECKPOINT_FOLDER_SHARED": Entry(
        "error",
        "the named folders hold no file of a save and lie beside no checkpoint, so they may be somebody's data; a "
        "start moves nothing here",
        "set training_checkpoint_dir to a folder of its own, or move the named folders elsewhere",
    ),
    "UNIT_FOREIGN": Entry(
        "error",
        "canvas-fleet writes, starts and removes only its own units",
        "set training_unit to another name, or remove that unit (systemctl cat shows it; unmask it if it is masked)",
    ),
    "TRAINING_OF_ANOTHER_RUN": Entry(
        "error",
        "another run is alive on this host; all runs of a host share the GPUs and train_blockmoving.sh",
        "stop it after its next save: playbooks/stop.yml -e training_run=<that run>",
    ),
    "TRAINING_RUNS_OLDER": Entry(
        "warning",
        "a converge never restarts a running training",
        "wait: the changes apply at its next start (training_apply: restart_after_save restarts it after the next "
        "save)",
    ),
    "CHECKPOINTS_LINKED_AWAY": Entry(
        "error",
        "the training may write to its own folders only, so the first save would fail (read-only file system)",
        "set the folder to its real path",
    ),
    "CHECKPOINTS_FOREIGN_NAME": Entry(
        "warning",
        "the trainer ends when a name in the checkpoint folder is not a number, so the start moves the entry into "
        "quarantine",
        "no action needed; or move the named entry where you want it",
    ),
    "CHECKPOINT_INCOMPLETE": Entry(
        "note",
        "the trainer resumes from the highest number and dies when that checkpoint is incomplete, so the start "
        "moves it into quarantine",
        "no action needed: the run resumes from the newest whole checkpoint",
    ),
    "CHECKPOINTS_NONE_WHOLE": Entry(
        "error",
        "no checkpoint is whole; a start from step 0 would throw away more than one save",
        "copy a whole checkpoint into the folder, or empty the folder to begin at step 0",
    ),
    "CHECKPOINT_SHARDS_DIFFER": Entry(
        "error",
        "the trainer cannot resume an optimizer state of another number of shards",
        "keep the number of processes per node, or start a new training_run",
    ),
    "CHECKPOINT_OTHER_PROFILE": Entry(
        "error",
        "the optimizer state of another training_profile holds other parameters and cannot be loaded",
        "set training_profile back, or start a new training_run",
    ),
    "CHECKPOINT_OTHER_ADAPTER": Entry(
        "error",
        "the newest checkpoint has adapters of another rank, alpha or set of layers, which cannot go on as others",
        "set training_lora_* back to those of the checkpoint, or start a new training_run",
    ),
    "CHECKPOINT_OTHER_OPTIMIZER": Entry(
        "error",
        "the optimizer state of adamw_8bit and that of the others do not fit each other",
        "set run_config_optimizer back, or start a new training_run",
    ),
    "PROFILE_UNKNOWN": Entry(
        "error",
        "training_profile: auto goes on with the profile of the checkpoints, and no script says which one made them",
        "set training_profile to the one that made them, or start a new training_run",
    ),
    "CHECKPOINT_OTHER_MODEL": Entry(
        "error",
        "with auto_resume the newest checkpoint wins over resume_from, even one of another model",
        "move the named folder out of the checkpoint folder, or start a new training_run",
    ),
    "WORKERS_GROWN": Entry(
        "error",
        "on resume each loader worker looks up its place in data_status.pt; a worker without one dies after some "
        "steps (KeyError)",
        "lower run_config_num_workers to the number in the checkpoint, or start a new training_run",
    ),
    "SAVED_BEFORE_ALL_WORKERS": Entry(
        "warning",
        "the trainer cannot resume a checkpoint that was saved before every loader worker gave a batch (KeyError)",
        "raise run_config_save_every, or lower run_config_num_workers",
    ),
    "RUN_ALREADY_DONE": Entry(
        "warning",
        "the newest checkpoint is at the last step, so the trainer loads it and ends; the change is never trained",
        "start a new training_run, or raise run_config_total_steps and ask for a start (-e training_state=restarted)",
    ),
    "RUN_STAYS_FINISHED": Entry(
        "warning",
        "a converge never starts a finished run again",
        "to go on from its last checkpoint: ansible-playbook site.yml -e training_state=restarted",
    ),
    "DATASET_IN_USE": Entry(
        "error",
        "the running loader opens the training file again for each row group; another file starves some workers and "
        "hides rows",
        "stop the training after its next save (playbooks/stop.yml) and converge, or undo the change",
    ),
    "SCRIPT_TEMPLATE_OWN": Entry(
        "note",
        "the plan judges the trainer's flags only, not what your script template does besides",
        "no action needed; unset run_config_script_template to use the role's own script",
    ),
    "WANDB_KEY_MISSING": Entry(
        "error",
        "the trainer logs in to W&B at its start and ends without a key, also with wandb_offline",
        "set run_config_wandb_api_key (in ansible-vault), run_config_env: {WANDB_MODE: offline}, or "
        "run_config_enable_wandb: false",
    ),
    "WANDB_KEY_IN_SCRIPT": Entry(
        "warning",
        "everybody who can read the script can read the key, also in its copies",
        "remove the key from the script, renew it at W&B, and set run_config_wandb_api_key",
    ),
}
