"""A training's unit as a normal host has it, for tests of the unit and of its files."""

from __future__ import annotations

from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want

WANT = Want(
    unit="canvas-training-atlas",
    run="atlas",
    user="blockmoving",
    group="blockmoving",
    script="/srv/b/train.sh",
    working_dir="/srv/b/code",
    results_dir="/srv/b/out",
    checkpoint_dir="/srv/b/out/checkpoints",
    state_dir="/var/lib/canvas-fleet",
    inputs=("/srv/b/data.yaml",),
)
