"""`lora` on two nodes, at BAGEL's size: two GPUs of this machine as two hosts with one each, and the same on one host.

    python -m demo.gpu_proof.nodes BAGEL_CANVAS WORK [--seconds 500] [--layers 28] [--small]

Run as demo.gpu_proof.lora. Each node has the script that run_config writes for it, an agent of its own, and sees one
GPU; they talk over TCP on the loopback (NCCL's other ways are off). Streamed with all layers and sharded with FEW: ten
steps with made batches on one node of two ranks; the same on two nodes, the second one killed at step 6; both started
again from checkpoint 4. Losses and the digests of saved adapters are compared.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, cast

from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology

from demo.gpu_proof import lora, starts
from demo.gpu_proof.lora_parts import MADE, STREAMED, Part
from tests.unit.support.run_settings import topology

FEW = 8  # layers of the sharded runs: each step fetches them twice
STEPS, SAVES, KILL = 10, 4, 6
ENDS = 90.0  # seconds that the other node gets to see that its peer is gone
LOOPBACK = {
    "NCCL_SOCKET_IFNAME": "lo",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_P2P_DISABLE": "1",
    "NCCL_SHM_DISABLE": "1",
    "NCCL_IB_DISABLE": "1",
    "NCCL_DEBUG": "INFO",
}


@dataclass
class Node(Part):
    """One host of a run. `shards`: of the base, over all nodes; 0 as the script has it (those of a node)."""

    nodes: int = 1
    number: int = 0
    shards: int = 0
    port: int = 0


class Stage(lora.Stage):
    def topology(self, part: Part) -> Topology:
        one = cast("Node", part)
        world = one.nodes * one.ranks
        return topology(
            hosts=tuple(f"node{number}" for number in range(one.nodes)),
            node_rank=one.number,
            nproc_per_node=one.ranks,
            num_workers=1,
            master_addr="127.0.0.1",
            master_port=one.port,
            own_shards=one.shards,
            own_replicas=world // one.shards if one.shards else 0,
        )


def parts_of(way: str, port: int) -> tuple[Node, list[Node], list[Node]]:
    """The run on one node; on two nodes, killed; on two nodes, resumed."""
    streamed = way == "streamed"
    changes: dict[str, Any] = {**MADE, **(STREAMED if streamed else {})}
    sizes: dict[str, Any] = {"steps": STEPS, "save_every": SAVES, "made": True, "layers": 0 if streamed else FEW}
    one = Node(f"{way}, one node", "0,1", run=f"{way}-one", port=port, changes=changes, **sizes)
    shards = 0 if streamed else 2
    apart = {**changes, "run_config_env": LOOPBACK}
    return one, *(
        [
            Node(
                f"{way}, node {number}, {turn}",
                str(number),
                run=f"{way}-two",
                nodes=2,
                number=number,
                shards=shards,
                port=port + 1 + 2 * (turn == "resumed"),
                changes=apart,
                **sizes,
            )
            for number in range(2)
        ]
        for turn in ("killed", "resumed")
    )


def pair(stage: Stage, parts: list[Node], kill: int) -> None:
    """Both nodes until they end. After step `kill` the second one is killed; the first has to see it by itself."""
    runners = [lora.Runner(stage, part) for part in parts]
    for runner in runners:
        runner.process = runner.start()
    lora.wait(lambda: (stage.source(parts[0]) / "go").exists(), stage)
    begin, killed = time.monotonic(), 0.0
    for runner in runners:
        (runner.place / "go").touch()
    while not all(runner.over for runner in runners) and stage.left > 0:
        time.sleep(0.1)
        last = lora.log_of(runners[0].place).last
        if kill and not killed and last and last.step >= kill:
            runners[1].kill()
            killed = time.monotonic()
        if killed and time.monotonic() - killed > ENDS:
            break
    over = runners[0].over
    more = {"sees the kill after": round(time.monotonic() - killed, 1) if over else None} if killed else {}
    for runner in runners:
        runner.end("" if runner.over else "ended", seconds=round(time.monotonic() - begin, 1), **more)
    texts = [path.read_text(errors="replace") for runner in runners for path in runner.place.glob("*.txt")]
    lines = [line for text in texts for line in text.splitlines() if "NCCL INFO Channel" in line]
    stage.say("channels", part=parts[0].name, all=len(lines), by_socket=sum("via NET/Socket" in line for line in lines))


def compared(stage: Stage, way: str, one: Node, turns: list[list[Node]]) -> None:
    """Whether two nodes printed and saved what one node did."""

    def found(part: Node) -> tuple[dict[int, Any], dict[str, Any]]:
        place = stage.work / "parts" / part.place
        losses = {step.step: sorted(step.losses.items()) for step in lora.log_of(place).steps}
        return losses, lora.report_of(place, 1)["saved"] if (place / "report.0").exists() else {}

    losses, saved = found(one)
    for (first, _second), turn in zip(turns, ("killed", "resumed"), strict=True):
        theirs, kept = found(first)
        stage.say(
            f"{way}, {turn}: two nodes and one",
            steps=sorted(theirs),
            losses_equal=theirs == {step: losses.get(step) for step in theirs} != {},
            saves=sorted(kept),
            digests_equal=kept == {step: saved.get(step) for step in kept} != {},
        )


def run(stage: Stage, way: str, port: int) -> None:
    one, killed, resumed = parts_of(way, port)
    alone = threading.Thread(target=lora.Runner(stage, one).run)
    alone.start()
    pair(stage, killed, stage.steps(KILL))
    pair(stage, resumed, 0)
    alone.join()
    compared(stage, way, one, [killed, resumed])


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.gpu_proof.nodes")
    parser.add_argument("canvas", help="BAGEL-Canvas, as committed")
    parser.add_argument("work", help="a folder for models, copies and checkpoints")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--seconds", type=float, default=500, help="after which everything is ended")
    parser.add_argument("--small", action="store_true", help="a small model, for a machine without a GPU")
    options = parser.parse_args(argv)
    options.made = True
    stage = Stage(options)
    stage.work.mkdir(parents=True, exist_ok=True)
    for name in ("runs", "parts"):
        shutil.rmtree(stage.work / name, ignore_errors=True)
    stage.done["warm"] = True
    starts.stand_in(stage.work)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    from demo.minicanvas.tiny_model import write_model

    write_model(stage.work / "tokenizer")
    ways = ("streamed", "sharded")
    for layers in sorted({options.layers, FEW} if not options.small else {options.layers}):
        stage.make_model(layers)
    stage.prepare([parts_of(ways[0], 0)[0]])
    threads = [threading.Thread(target=run, args=(stage, way, 29700 + 10 * at)) for at, way in enumerate(ways)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stage.say("all", failed=[name for name, good in stage.done.items() if not good])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
