"""Answers a file of questions, run by torchrun from this folder. Its arguments and its traps are the real script's:

- every rank waits for all others once per question, and the slices are rounded up: where the last rank has fewer
  questions, the others wait for it until TIMEOUT
- arguments that differ from the output folder's end the first rank with code 1 while the others wait
- pictures are prepared for 1024 and 980 pixels, whatever the training had
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import traceback
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from data.transforms import ImageTransform
from inferencer import InterleaveInferencer
from modeling.autoencoder import Autoencoder
from modeling.bagel import Bagel
from modeling.tokenizer import Tokenizer
from PIL import Image
from safetensors.torch import load_file

TIMEOUT = timedelta(minutes=float(os.environ.get("MINICANVAS_PATIENCE", "10")))  # as long as the real ranks wait
MEETINGS = itertools.count()  # numbers of the barriers, the same on every rank
RENORMS = ("global", "channel", "text_channel")


def barrier() -> None:
    """Waits for all ranks, also for one that has ended: so do the real script's, which talk NCCL.

    gloo's own barrier sees that a connection was closed, and raises at once.
    """
    store = dist.distributed_c10d._get_default_store()
    name = f"barrier-{next(MEETINGS)}"
    if store.add(name, 1) == dist.get_world_size():
        store.set(f"{name}-all", "")
    store.wait([f"{name}-all"], TIMEOUT)


def load_checkpoint_and_dispatch(model: Bagel, checkpoint: str, **_how: Any) -> Bagel:
    """The weights of a file, in bfloat16's precision. What the file lacks stays as it is, and no message says so."""
    model.load_state_dict(load_file(checkpoint), strict=False)
    return model


def _json(folder: str, name: str) -> Any:
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def setup_model(checkpoint_dir: str, rank: int, checkpoint_file: str, model_path: str) -> tuple[Any, ...]:
    """Model, autoencoder, tokenizer, both transforms, ids of the tokens that have a meaning. Waits for all ranks."""
    if rank == 0:
        print(f"Loading model from {checkpoint_dir}")
    tokens = Tokenizer.from_folder(model_path)
    model = Bagel(_json(model_path, "llm_config.json"), _json(model_path, "vit_config.json"), tokens)
    path = os.path.join(checkpoint_dir, checkpoint_file)
    model = load_checkpoint_and_dispatch(model, checkpoint=path, device_map={"": rank}, dtype=torch.bfloat16)
    names = {
        "bos_token_id": "<|im_start|>",
        "eos_token_id": "<|im_end|>",
        "start_of_image": "<|vision_start|>",
        "end_of_image": "<|vision_end|>",
        "end_of_text": "<|endoftext|>",
    }
    ids = {name: tokens.token_id(token) for name, token in names.items()}
    coder = Autoencoder(os.path.join(model_path, "ae.safetensors"))
    barrier()
    if rank == 0:
        print("Model loaded successfully across all processes!")
    return model.eval(), coder, tokens, ImageTransform(1024, 512, 16), ImageTransform(980, 512, 14), ids


class InterleaveReasoner:
    """Texts and pictures in turn, until the model says that it is done."""

    def __init__(self, inferencer: InterleaveInferencer) -> None:
        self.inferencer = inferencer
        ids = inferencer.new_token_ids
        self.actions = {ids["start_of_image"]: "image", ids["bos_token_id"]: "text", ids["end_of_text"]: "end"}

    def generate_text_with_next_token_check(
        self, gen_context: Any, max_length: int = 2048, do_sample: bool = True, temperature: float = 0.3
    ) -> tuple[str, str]:
        """A text, and what follows it."""
        ids = self.inferencer.gen_text(gen_context, max_length, do_sample, temperature, return_ids=True)
        return self.inferencer.tokenizer.decode(ids[1:-2]).strip(), self.actions.get(ids[-1], "undefined")

    def reasoning_inference(
        self,
        inputs: list[str | Image.Image],
        system_prompt: str | None = None,
        max_iterations: int = 10,
        do_sample: bool = True,
        text_temperature: float = 0.3,
        **drawing: Any,
    ) -> list[dict[str, Any]]:
        """Steps as {"type", "content", "iteration"}."""
        has = self.inferencer
        whole, without_text, without_pictures = (has.init_gen_context() for _ in range(3))
        shape = (512, 512)
        for part in ([system_prompt] if system_prompt else []) + inputs:
            if isinstance(part, str):
                has.update_context_text(part, whole)
                has.update_context_text(part, without_pictures)
            else:
                image = has.vae_transform.resize_transform(part.convert("RGB"))
                shape = image.size[::-1]
                has.update_context_image(image, whole)
                has.update_context_image(image, without_text)
        steps: list[dict[str, Any]] = []
        mode = "text"
        for iteration in range(1, max_iterations + 1):
            if mode == "text":
                text, action = self.generate_text_with_next_token_check(
                    whole, do_sample=do_sample, temperature=text_temperature
                )
                has.update_context_text(text, whole)
                has.update_context_text(text, without_pictures)
                steps.append({"type": "text", "content": text, "iteration": iteration})
                if action == "end":
                    break
                mode = "image" if action == "image" else "text"
                continue
            image = has.gen_image(
                shape, whole, cfg_text_precontext=without_text, cfg_img_precontext=without_pictures, **drawing
            )
            steps.append({"type": "image", "content": image, "iteration": iteration})
            image = has.vae_transform.resize_transform(image)
            has.update_context_image(image, whole)
            has.update_context_image(image, without_text)
            mode = "text"
        return steps


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset_type", required=True, choices=["mathcanvas", "uni"])
    for name in ("input_path", "checkpoint_dir", "output_dir", "model_path", "image_root"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--dataset_name")
    parser.add_argument("--checkpoint_file", default="model.safetensors")
    parser.add_argument("--run_description", default="")
    for name, default in (("add_timestamp", True), ("do_sample", True), ("enable_taylorseer", False)):
        parser.add_argument(f"--{name}", type=_truth, default=default)
    for name in ("verbose_iter", "verbose_image", "skip_completed"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--max_iterations", type=int, default=10)
    parser.add_argument("--num_timesteps", type=int, default=50)
    for name, value in (("text_temperature", 0.3), ("cfg_text_scale", 4.0), ("cfg_img_scale", 2.0)):
        parser.add_argument(f"--{name}", type=float, default=value)
    for name, value in (("timestep_shift", 3.0), ("cfg_renorm_min", 0.0)):
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--cfg_interval", type=float, nargs=2, default=[0.0, 1.0])
    parser.add_argument("--cfg_renorm_type", choices=RENORMS, default="text_channel")
    return parser


def _check_arguments(folder: str, args: argparse.Namespace) -> None:
    """Of the first rank alone. It leaves with code 1 where an earlier run had others."""
    path = os.path.join(folder, "inference_args.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            before = json.load(file)
        loud = ("verbose_iter", "verbose_image")
        if {k: v for k, v in before.items() if k not in loud} != {k: v for k, v in vars(args).items() if k not in loud}:
            print("\nERROR: Argument mismatch! Current arguments do not match the saved ones for this run.", flush=True)
            barrier()
            raise SystemExit(1)
        return
    with open(path, "w", encoding="utf-8") as file:
        json.dump(vars(args), file, indent=4)


def _inputs(item: dict[str, Any], image_root: str) -> list[Any]:
    return [
        part["content"]
        if part["type"] == "text"
        else Image.open(os.path.join(image_root, part["content"])).convert("RGB")
        for part in item["question_interleave"]
    ]


def _save(steps: list[dict[str, Any]], item: dict[str, Any], folder: str) -> None:
    os.makedirs(os.path.join(folder, "images"), exist_ok=True)
    shown, pictures = [], 0
    for step in steps:
        if step["type"] == "image":
            pictures += 1
            name = os.path.join("images", f"reasoning_image_{pictures}.png")
            step["content"].save(os.path.join(folder, name))
            step = {**step, "content": name}
        shown.append(step)
    for name, content in (
        ("reasoning_result.json", {"id": item.get("id"), "reasoning_steps": shown}),
        ("ori.json", item),
    ):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=4, ensure_ascii=False)


def _open(path: str) -> list[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        return json.load(file) if path.endswith(".json") else [json.loads(line) for line in file]


def main() -> None:
    args = _parser().parse_args()
    args.dataset_name = args.dataset_name or args.dataset_type
    for seeded in (random.seed, np.random.seed, torch.manual_seed):
        seeded(42)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=TIMEOUT)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    folder = os.path.join(
        args.output_dir, args.dataset_name + (f"_{args.run_description}" if args.run_description else "")
    )
    if rank == 0:
        os.makedirs(folder, exist_ok=True)
        _check_arguments(folder, args)
    barrier()
    made = setup_model(args.checkpoint_dir, rank, args.checkpoint_file, args.model_path)
    reasoner = InterleaveReasoner(InterleaveInferencer(*made))
    items = _open(args.input_path)
    if args.skip_completed:
        items = [
            one for one in items if not os.path.exists(os.path.join(folder, str(one["id"]), "reasoning_result.json"))
        ]
    barrier()
    share = (len(items) + ranks - 1) // ranks
    drawing = ("cfg_text_scale", "cfg_img_scale", "num_timesteps", "timestep_shift")
    for item in items[rank * share : (rank + 1) * share]:
        own = os.path.join(folder, str(item["id"]))
        if rank == 0:
            os.makedirs(own, exist_ok=True)
        barrier()
        try:
            steps = reasoner.reasoning_inference(
                _inputs(item, args.image_root),
                max_iterations=args.max_iterations,
                do_sample=args.do_sample,
                text_temperature=args.text_temperature,
                **{name: getattr(args, name) for name in drawing},
            )
            os.makedirs(own, exist_ok=True)
            _save(steps, item, own)
        except Exception as error:
            print(f"Rank {rank} failed to process item {item['id']}. Error: {error}")
            traceback.print_exc()
    print(f"Rank {rank} has completed all its assigned tasks.", flush=True)
    barrier()
    if rank == 0:
        print("\nBatch inference completed across all GPUs!")


if __name__ == "__main__":
    main()
