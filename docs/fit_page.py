"""Makes docs/fit.md: what BAGEL-7B-MoT needs, and which usual hosts hold it, by the planner."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.assess import assess
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.choose import FULL_RATE, candidates, choose
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.findings import human, remedy
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.host_memory import host_floor, host_need
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.judge import Node
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.memory import Run, gpu_need, gpu_phases
from ansible_collections.canvas.fleet.plugins.module_utils.plan.text import marks, of
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL
from ansible_collections.canvas.fleet.plugins.plugin_utils.role_action import load_specs

from tools.cards import CARDS, MIB

OPTIMIZER = str(load_specs().defaults["run_config_optimizer"])
EMA = 0.995  # the default of run_config_ema
LONGEST = 9500  # tokens of BlockMoving's longest samples
SMALL, HALF = "training_profile: frozen", "run_config_cpu_offload: true"
# The guide's hosts, then other ones that people rent. Name, GPU, GPUs, memory of the host in GB; what the plan offered
# before there were adapters ("" for full fine-tuning).
GUIDE = (
    ("RTX 4090 24 GB", "4090", 2, 128, f"{SMALL}, {HALF}, on 1 GPU"),
    ("RTX 4090 24 GB", "4090", 4, 128, SMALL),
    ("A100 40 GB", "A100-40", 2, 128, SMALL),
    ("A100 80 GB", "A100-80", 4, 128, SMALL),
    ("RTX 4090 24 GB", "4090", 1, 128, f"{SMALL}, {HALF}"),
    ("RTX 4090 24 GB", "4090", 8, 256, SMALL),
    ("A100 40 GB", "A100-40", 1, 128, SMALL),
    ("L40S 48 GB", "L40S", 1, 128, SMALL),
    ("A100 80 GB", "A100-80", 1, 128, SMALL),
    ("A100 80 GB", "A100-80", 8, 128, ""),
)
# name, GPU, GPUs, hosts, memory of a host in GB
HOSTS = (
    ("RTX 4090 24 GB", "4090", 1, 1, 64),
    ("RTX 4090 24 GB", "4090", 1, 1, 128),
    ("RTX 4090 24 GB", "4090", 4, 1, 128),
    ("RTX 5090 32 GB", "5090", 8, 1, 512),
    ("A100 40 GB", "A100-40", 2, 1, 256),
    ("A100 40 GB", "A100-40", 8, 1, 1000),
    ("L40S 48 GB", "L40S", 4, 1, 512),
    ("L40S 48 GB", "L40S", 8, 1, 1000),
    ("A100 80 GB", "A100-80", 1, 1, 256),
    ("A100 80 GB", "A100-80", 2, 1, 256),
    ("A100 80 GB", "A100-80", 4, 1, 512),
    ("A100 80 GB", "A100-80", 8, 1, 128),
    ("A100 80 GB", "A100-80", 8, 1, 1000),
    ("H100 80 GB", "H100", 8, 1, 2000),
    ("H100 80 GB", "H100", 8, 2, 2000),
    ("H200 141 GB", "H200", 1, 1, 256),
    ("H200 141 GB", "H200", 4, 1, 1000),
    ("H200 141 GB", "H200", 8, 1, 1000),
    ("H200 141 GB", "H200", 8, 1, 2000),
    ("H200 141 GB", "H200", 8, 2, 2000),
    ("B200 180 GB", "B200", 8, 1, 2000),
)


def streaming(one: Run) -> Run:
    return replace(one.adapted(), offload=True)


def run(ranks: int, hosts: int = 1) -> Run:
    return Run(BAGEL, ranks, hosts, sample_tokens=LONGEST, optimizer=OPTIMIZER)


def guide() -> list[str]:
    lines = [
        "| host | its memory | before | `training_profile: auto` trains | needs of a GPU | needs of the host |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, card, gpus, memory, before in GUIDE:
        node = Node(gpus, float(CARDS[card] * MIB), memory * 1e9, name)
        made = choose([(run(gpus), node)], EMA, FULL_RATE)
        best = next(one for one in candidates(run(gpus), EMA, FULL_RATE) if made and one.name == made.name)
        needs = of(gpu_need(best.run), node.gpu_bytes), of(host_floor(best.run), node.memory)
        cells = [f"{gpus} × {name}", human(node.memory), before or "`full`", f"**{best.name}**", *needs]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def hosts() -> list[str]:
    lines = [
        "| hosts | memory of each | GPU needed of one (`full`) | host needed | `full` | `lora` | `frozen` "
        "| nearest that fits |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, card, gpus, number, memory in HOSTS:
        fit = assess(run(gpus, number), Node(gpus, float(CARDS[card] * MIB), memory * 1e9, name))
        gpu = of(fit.gpu.need, fit.gpu.have) if fit.gpu else "–"
        nearest = "as it is" if fit.state == "fits" else remedy(fit)
        where = f"{number} × {gpus} × {name}" if number > 1 else f"{gpus} × {name}"
        cells = [where, human(memory * 1e9), gpu, of(fit.host.need, fit.host.have), *marks(fit.profiles), nearest]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def phases(title: str, runs: list[tuple[str, Run]]) -> list[str]:
    names = list(gpu_phases(runs[0][1]))
    lines = [f"| {title} | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for name, one in runs:
        found = gpu_phases(one)
        lines.append(f"| {name} | " + " | ".join(human(sum(found[phase].values())) for phase in names) + " |")
    return lines


def memory() -> list[str]:
    kinds = (
        "`full`",
        "`lora`, `frozen`",
        "`lora`, streamed",
        "`full`, `canvas_code_lean: false`",
        "`frozen`, `canvas_code_lean: false`",
    )
    lines = ["| ranks on a host | " + " | ".join(kinds) + " |", "| --- |" + " --- |" * len(kinds)]
    for ranks in (1, 2, 4, 8):
        lean = (run(ranks), run(ranks).frozen(ema_copy=False))
        every = (*lean, streaming(run(ranks)), *(replace(one, lean=False) for one in lean))
        cells = [f"{human(host_floor(one))}, {human(host_need(one))}" for one in every]
        lines.append(f"| {ranks} | " + " | ".join(cells) + " |")
    return lines


MEASURED = """\
What is planned is the peak of torch's allocator for the longest batch, and 1.5 GB for CUDA. Seen through the trainer's
own `main()` on one and two H200s, with 28 layers and random weights: the fullest batch of each run, and in brackets the
plan for a batch of so many tokens, without CUDA's part. GB of 10⁹ bytes ([gpu-proof.md](gpu-proof.md)).

| | `lora` streamed, 1 GPU of 24.7 GB | streamed, 2 GPUs | 2 shards | `full`, 2 GPUs | `adamw_8bit` | `frozen`, 1 GPU |
| --- | --- | --- | --- | --- | --- | --- |
| tokens of that batch | 18,409 | 19,682 | 16,008 | 16,008 | 16,008 | 14,390 |
| at rest, with moments | 5.8 | 4.7 | 18.1 | 117.1 | 73.6 | 30.1 |
| `optimizer.step` | 5.8 | 4.7 | 18.1 | 117.1 (117.0) | 73.6 (73.5) | 30.1 (30.0) |
| at most | 15.6 (16.1) | 17.2 (17.7) | 29.8 (29.3) | 125.7 (127.4) | 82.2 (83.9) | 36.7 (37.1) |
| reserved by the allocator | 16.8 | 18.6 | 32.6 | 139.1 | 95.6 | 37.4 |
| all of the GPU in use | 18.6 | 20.8 | 34.4 | 141.3 | 97.8 | 39.1 |

`full` is without an EMA copy, with `adamw_fused`. With torch's own `adamw` its `optimizer.step` took 146.3 GB (146.1).
`lora` on one GPU without streaming took 41.0 GB (41.0) for 18,998 tokens. CUDA itself takes 1.75 GB of an H200, and
2.2 GB with NCCL between two. The allocator's reserve is not planned: it is given back before an allocation fails.

**Streamed**: the layers of the base lie in pinned host memory, and each rank fetches one at a time. They are read into
the memory that is then pinned: 27 GB for each rank, which has a copy of its own. With `canvas_code_lean: false`, and
where the driver cannot pin memory in place, torch pins a copy and rounds each piece up to a power of two: 31 GB. The
plan counts 31 GB with `canvas_code_lean: false`, and 27 GB otherwise: it cannot see what the driver will do.
**CPU offload** of `full` with several ranks keeps the gradients of all shards on the GPU until the backward is done:
28.6 GB (31.2) on each of two GPUs with 20 of the 28 layers and 15,862 tokens. The host has to hold more than the
parameters, too: pinned pieces are rounded up, and the loaders' workers keep the pages of before. 245.6 GB of the host
were gone (245.0). A step took 20 to 22 s; a user reports 80 s on 2 × A100 40 GB (Bagel#290).
"""
AUTO = """\
**`training_profile: auto`** takes the first of these that fits every host of the run: `full`; `full` without an EMA
copy; the same with `adamw_8bit`; `lora`; `lora` streamed, on as many GPUs as the host's memory has pinned copies for;
`frozen`; `frozen` streamed. All but the streamed ones must leave 5 % of a GPU free for the allocator. The first rows
are the guide's hardware.
"""
HEAD = """\
The tables are for BAGEL-7B-MoT with the default flags, the guide's 8,192 expected tokens and samples of up to 9,500
tokens. `full` trains everything. `lora` trains adapters and connectors (193 million parameters), `frozen` only the
connectors (31 million); both have no EMA copy. `✗` says how much is missing. `tight` may fit, and the plan warns. The
plan shows a `fit` table for your own hosts; `fleet_plan_format=json` writes every item to a file ([plan.md](plan.md)).
"""
GPU = """\
Each GPU needs the largest number of its line. At rest it holds 20 bytes per parameter (weights 4, gradients 4, Adam's
moments 8, EMA copy 4), in `optimizer.step` 24, divided by the shards. A step adds gathered layers and the activations
of the longest batch. That batch has two of the longest samples, because the trainer packs one more sample before it
counts the tokens. So `run_config_expected_num_tokens` below the longest sample saves nothing.

**A save adds only the root unit**: one unit at a time is gathered in bf16 and written. Measured on one and two H200s
with 28 layers and EMA copy ([gpu-proof.md](gpu-proof.md)). Without `canvas_code_lean` a sharded save gathers the same
units in fp32: 4.4 GB with `full`, 2.2 GB with `frozen`, on two and four H100s with torch 2.11. The
save code of torch 2.7.1, which the lock has, does the same. Reports of mid 2025 say that 8 × 80 GB die while saving
and 12 do not (Bagel#71, #139). Since then the trainer empties the allocator's cache before a save. A save of `full`
on eight cards was not tested yet. Choose a small `run_config_save_every`, so that the first save comes soon.

With BAGEL itself (`frozen`, on one, two and four H100s, without offload) the phases `first step`, `optimizer.step`,
`pictures` and `training` were within 3 % of these figures. The figures leave out the allocator's reserve between
batches of different sizes (38 GB for 29 in use; 31 GB with `expandable_segments`, which the script sets). They also
leave out up to 1.3 GB of CUDA and NCCL with several ranks, cuDNN's workspace, and the compiler's trials. The
allocator gives its reserve back before it fails, so a tight GPU may work. Do not plan to the last gigabyte.
"""
HOST = """\
Each column gives the minimum, and the memory for an undisturbed start.

**Each rank reads the weights unit by unit, straight to its GPU, and a save goes the same way back**
(`canvas_code_lean`, which is on). So a rank takes no memory for weights; 4 GB are planned for its process and its
loader workers. Measured with 28 layers and EMA copy: 1.7 GB for each rank at a start and a resume, nothing more in a
save of both models. The files pass through the page cache, once for all ranks, and the kernel can drop them. A server
with the guide's 128 GB is enough for eight ranks. `run_config_cpu_offload` comes on top: it keeps in host memory what
it takes off the GPU, 27 GB for each rank of `lora`.

With `canvas_code_lean: false` each rank builds the model in fp32, copies it for the EMA, and maps the weights file:
10 bytes per parameter. The kernel can drop the mapped file, but not the rest. (Measured with `frozen`: 60 GB for each
rank, 89 GB with the mapped file.) In a save the first rank of each replica gathers the model in host memory: 16 bytes
per parameter with `full`, 6 with `frozen`. This exceeds the load only on a host with one rank of the run.
"""


def page(made: str) -> str:
    shards = (1, 2, 4, 8, 12, 16)
    full = [(f"{number} shard{'s' if number > 1 else ''}", run(number)) for number in shards]
    bare = [(name, replace(one, ema_copy=False, optimizer="adamw_fused")) for name, one in full]
    small = [(name, replace(one, ema_copy=False, optimizer="adamw_8bit")) for name, one in full]
    lora = [(name, one.adapted()) for name, one in full[:4]]
    streamed = [(f"{number} rank{'s' if number > 1 else ''}", streaming(run(number))) for number in (1, 2, 4, 8)]
    frozen = [(name, one.frozen(ema_copy=False)) for name, one in full]
    source = made.format(source="plugins/module_utils/machine/fit/{memory,host_memory,disks,assess,nearest,choose}.py")
    lines = [
        "# What fits",
        "",
        source,
        HEAD,
        AUTO,
        *guide(),
        "",
        "## More hosts",
        "",
        *hosts(),
        "",
        "## What was measured of `lora` and of `full` without an EMA copy",
        "",
        MEASURED,
        "## A GPU, phase by phase",
        "",
        GPU,
        *phases("`full`", full),
    ]
    for title, runs in (
        ("`full`, no EMA copy, `adamw_fused`", bare),
        ("`full`, no EMA copy, `adamw_8bit`", small),
        ("`lora`", lora),
        ("`lora`, streamed", streamed),
        ("`frozen`", frozen),
    ):
        lines += ["", *phases(title, runs)]
    lines += ["", "## A host's memory", "", HOST, *memory(), ""]
    return "\n".join(lines)
