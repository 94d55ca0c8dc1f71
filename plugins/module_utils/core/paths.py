"""The variables that name a path on a host, by what comes of it."""

from __future__ import annotations

# what is named to be read lies anywhere
READ = ("evaluation_test_file", "fleet_agent_base_python", "fleet_agent_python", "nvidia_cuda_home")
CODE = ("canvas_code_checkout", "canvas_code_dir")
FILES = ("dataset_info_path", "dataset_train_file", "run_config_script", "run_config_yaml")
FOLDERS = (
    *CODE,
    *("conda_env_prefix", "conda_env_root", "conda_env_state_dir", "dataset_output_dir", "dataset_train_dir"),
    *("fleet_agent_dir", "fleet_root", "fleet_state_dir", "training_kept_dir", "training_results_dir", "weights_dir"),
    "evaluation_dir",
)
CHECKPOINTS = "training_checkpoint_dir"
ABOVE_CHECKPOINTS = ("fleet_root", "training_results_dir")
APART = tuple(name for name in (*READ, *FILES, *FOLDERS) if name not in ABOVE_CHECKPOINTS)  # from the checkpoints
