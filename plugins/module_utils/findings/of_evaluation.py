"""Entries about the evaluation of a run on the test rows (see catalogue.py)."""

from __future__ import annotations

from .entry import Entry

ENTRIES: dict[str, Entry] = {
    "EVALUATION_TEST_MISSING": Entry(
        "error",
        "an evaluation needs rows that the run was not trained on",
        "set dataset_test and run the role dataset (ansible-playbook site.yml --tags dataset), or name a file of the "
        "host: evaluation_test_file",
    ),
    "EVALUATION_NO_LETTERS": Entry(
        "error",
        "an answer can be checked only where the test file says which letter is right",
        "evaluate the losses: evaluation_mode: loss",
    ),
    "EVALUATION_STEP_UNKNOWN": Entry(
        "error",
        "there is no checkpoint of this step",
        "give a step that is there (-e evaluation_step=…), newest, or base",
    ),
    "EVALUATION_CHECKPOINT_BROKEN": Entry(
        "error",
        "the weights of a save that was cut are not those of the run",
        "evaluate another step (-e evaluation_step=…)",
    ),
    "EVALUATION_CHECKPOINT_OTHER": Entry(
        "error",
        "weights of another model do not fit the code and the base beside them",
        "set weights_dir to the model folder that the run was trained with, or evaluate another step",
    ),
    "EVALUATION_BASE_BROKEN": Entry(
        "error",
        "configs, tokenizer, VAE and adapters' base come from the model folder",
        "run the role weights: ansible-playbook site.yml --tags weights",
    ),
    "EVALUATION_NOT_MERGED": Entry(
        "error",
        "merged models are made of the adapters of training_profile: lora",
        "merge first (playbooks/merge.yml), or evaluate the adapters beside their base: -e evaluation_step=newest",
    ),
    "EVALUATION_GPU_SMALL": Entry(
        "error",
        "the base's weights and the work of one row are more than this GPU holds",
        "evaluate the losses (evaluation_mode: loss), whose layers can be streamed, or use a host with a larger GPU",
    ),
    "EVALUATION_BUSY": Entry(
        "error",
        "training and evaluation do not fit one GPU together, and a training comes first",
        "wait for the end of the training, or stop it (playbooks/stop.yml); an evaluation that was cut goes on with "
        "the next row",
    ),
    "EVALUATION_DISK_SHORT": Entry(
        "error",
        "test rows and generated pictures are written beside the results, and a full disk ends a training, too",
        "free space there, set evaluation_dir to a folder on a larger disk, or evaluate fewer rows (evaluation_rows)",
    ),
    "EVALUATION_NOT_AT_END": Entry(
        "note",
        "there is nothing to evaluate the finished run on, so no evaluation starts by itself",
        "set dataset_test, or evaluation_at_end: none",
    ),
    "EVALUATION_FAILED": Entry(
        "note",
        "the run is finished, but its evaluation is not; a converge does not try the same again",
        "remove the cause, then run playbooks/evaluate.yml",
    ),
    "EVALUATION_NOT_SHOWN": Entry(
        "warning",
        "the page of an evaluation is made of what lies on the host, and lacks what cannot be read",
        "fetch again (playbooks/fetch.yml) when the cause is removed; playbooks/evaluate.yml computes anew what is "
        "damaged",
    ),
    "CONTROLLER_PACKAGE_MISSING": Entry(
        "error",
        "statistics, pictures and plots of an evaluation are made on the controller, and its Python lacks packages",
        "install them beside ansible-core: pip install -r requirements.txt",
    ),
}
