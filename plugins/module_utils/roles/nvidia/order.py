"""What is left for the work of the role nvidia, after its files are written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Content:
    """A file to be written: `data` in base64."""

    path: str
    data: str


@dataclass(frozen=True)
class WorkOrder:
    """The spec of work(). `source`: the file that names the repository; `driver_version`: of the driver that runs."""

    family: str = ""
    source: str = ""
    branch: str = ""
    packages: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    files: tuple[Content, ...] = ()
    driver_version: str = ""
    services: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    hold_new: bool = False
    state_dir: str = ""
    wanted: bool = False  # there is anything in it to do
    absent: bool = False  # everything that is ours is to be taken away instead
