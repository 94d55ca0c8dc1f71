"""Rows of text and pictures in turn: what one row becomes before it is packed."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from modeling.shapes import PICTURE
from modeling.tokenizer import Tokenizer
from PIL import Image

from data.row_groups import known_row_groups, of_rank, of_worker, read_rows
from data.tokens import ImageTransform


@dataclass(frozen=True)
class Item:
    """A text, or one of the up to three ways in which a picture enters the sequence."""

    kind: str  # text, vae_image, vit_image
    loss: bool
    may_drop: bool
    tokens: int  # without the two that enclose it
    ids: tuple[int, ...] = ()
    label: int | None = None  # what the end of a text should predict
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))


@dataclass
class Sample:
    items: list[Item] = field(default_factory=list)
    position: list[int] = field(default_factory=list)  # row group of the worker, row
    dataset: str = ""
    worker: int = 0

    @property
    def num_tokens(self) -> int:
        """All tokens, the two around each item included."""
        return sum(item.tokens + 2 for item in self.items)


class OtherRows:
    """The groups that the stand-in names but can't read."""

    def __init__(self, dataset_name: str, **_: Any) -> None:
        raise NotImplementedError(f"minicanvas reads interleave_reasoning alone, not {dataset_name}")


class ReasoningRows:
    """The group interleave_reasoning."""

    def __init__(
        self,
        dataset_name: str,
        transform: dict[str, int],
        vit_transform: dict[str, int],
        tokenizer: Tokenizer,
        data_dir_list: list[str],
        num_used_data: list[int],
        parquet_info: dict[str, Any],
        local_rank: int = 0,
        world_size: int = 1,
        data_status: dict[int, list[int]] | None = None,
    ) -> None:
        self.dataset_name = dataset_name
        self.transform = ImageTransform(**transform)
        self.vit_transform = ImageTransform(**vit_transform)
        self.tokenizer = tokenizer
        self.rank = local_rank
        self.world_size = world_size
        self.data_status = data_status
        self.row_groups = known_row_groups(data_dir_list, num_used_data, parquet_info)
        self.set_epoch(42)

    def set_epoch(self, seed: int) -> None:
        """Shuffles. Raises IndexError when no row group is known."""
        self.rank_groups = of_rank(self.row_groups, self.rank, self.world_size, seed)

    def samples(self, worker: int, num_workers: int) -> Iterator[Sample]:
        """Samples without end. A worker without a row group, or whose rows are all dropped, gives none, for ever."""
        mine = of_worker(self.rank_groups, worker, num_workers)
        group, row = self.data_status[worker] if self.data_status is not None else (0, -1)
        first = row + 1
        where = f"rank-{self.rank} worker-{worker}"
        print(f"{where} dataset-{self.dataset_name}: resuming data at global_rg#{group}, row#{first}")
        while True:
            for number, row_group in enumerate(mine[group:], start=group):
                try:
                    rows = list(read_rows(row_group))
                except Exception as error:
                    print(f"Error {error} in rg#{row_group[1]}, {row_group[0]}")
                    continue
                for place, values in enumerate(rows[first:], start=first):
                    sample = self.parse_row(values)
                    if sample.items:
                        sample.position, sample.dataset, sample.worker = [number, place], self.dataset_name, worker
                        yield sample
                first = 0
            group = 0
            print(f"{self.dataset_name} repeat in {where}")

    def parse_row(self, row: dict[str, Any]) -> Sample:
        """The row's sample; an empty one when the row is unfit, which is printed but never raised."""
        try:
            question, solution = row.get("question_interleave", []), row.get("solution_interleave", [])
            if not row.get("answer", "") or len(question) == 0 or len(solution) == 0:
                return Sample()
            items = self._side(question, row.get("question_images", []), solution=False)
            return Sample(items + self._side(solution, row.get("solution_images", []), solution=True))
        except _UnfitPictureError:
            return Sample()
        except Exception as error:
            traceback.print_exc()
            print(f"Error parsing row: {error}")
            return Sample()

    def _side(self, parts: list[dict[str, Any]], images: Any, solution: bool) -> list[Item]:
        items: list[Item] = []
        for place, part in enumerate(parts):
            if part["type"] == "text":
                text = (part["content"] or "").strip()
                if text:
                    label = self._label_after(parts, place) if solution else None
                    ids = tuple(self.tokenizer.encode(text))
                    items.append(Item("text", solution, True, len(ids), ids, label))
            elif part["type"] == "image":
                items += self._picture(part, images, solution)
        return items

    def _label_after(self, parts: list[dict[str, Any]], place: int) -> int:
        if place == len(parts) - 1:
            return self.tokenizer.token_id("<|endoftext|>")
        follows = parts[place + 1]["type"]
        return self.tokenizer.token_id("<|vision_start|>" if follows == "image" else "<|im_start|>")

    def _picture(self, part: dict[str, Any], images: Any, solution: bool) -> list[Item]:
        index = None
        try:
            index = part["index"]
            if not index < len(images):
                print(f"Image index {index} out of bounds for images_list of length {len(images)}")
                raise _UnfitPictureError
            image = _opened(images[index])
        except _UnfitPictureError:
            raise
        except Exception as error:
            print(f"Failed to load image with index {index}: {error}")
            traceback.print_exc()
            raise _UnfitPictureError from error
        pixels = np.asarray(image.resize((PICTURE[1], PICTURE[0]), Image.Resampling.BILINEAR), dtype=np.uint8)
        vae, vit = self.transform.tokens(*image.size), self.vit_transform.tokens(*image.size)
        clean = [
            Item("vae_image", False, True, vae, pixels=pixels),
            Item("vit_image", False, True, vit, pixels=pixels),
        ]
        return [Item("vae_image", True, False, vae, pixels=pixels), *clean] if solution else clean


class _UnfitPictureError(Exception):
    """A picture that can't be had; it has been printed."""


def _opened(value: Any) -> Image.Image:
    """RGB on white paper. Raises what PIL raises for bytes that are no picture."""
    image = Image.open(BytesIO(value["bytes"] if isinstance(value, dict) else value))
    if image.mode in ("RGBA", "LA") or (image.mode == "P" and "transparency" in image.info):
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, (255, 255, 255))
        paper.paste(image, mask=image.getchannel("A"))
        return paper
    return image.convert("RGB")
