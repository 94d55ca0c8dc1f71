"""The resize of a picture under the name that inference knows."""

from __future__ import annotations

from PIL import Image

from data import tokens


class ImageTransform(tokens.ImageTransform):
    def resize_transform(self, image: Image.Image) -> Image.Image:
        return image.resize(self.size(*image.size), Image.Resampling.BICUBIC)
