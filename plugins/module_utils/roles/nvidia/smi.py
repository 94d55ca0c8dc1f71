"""nvidia-smi -q -x, as data: the GPUs of a host, or what is wrong with its driver."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from ...machine.gpu import Gpu, names
from ...system import limits, programs

PLACES = ("/usr/local/nvidia/bin", "/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/opt/bin", "/usr/lib/wsl/lib")
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

REPORT = re.compile(r"<nvidia_smi_log\b.*(?:</nvidia_smi_log\s*|/)>", re.DOTALL)
HEAD = re.compile(r"<\?xml[^>]*>|<!DOCTYPE[^>]*>")
SAID = 500  # characters
# What the tool says when it can't work, and what that means. The first match counts.
TROUBLES = (
    ("mismatch", re.compile(r"driver/library version mismatch", re.IGNORECASE)),
    ("not_loaded", re.compile(r"couldn't communicate with the NVIDIA driver", re.IGNORECASE)),
    ("no_device", re.compile(r"no devices were found", re.IGNORECASE)),
    ("fallen_off", re.compile(r"GPU is lost|fallen off the bus|Unable to determine the device handle", re.IGNORECASE)),
    ("no_library", re.compile(r"couldn't find libnvidia-ml", re.IGNORECASE)),
    ("no_permission", re.compile(r"insufficient permissions", re.IGNORECASE)),
)


@dataclass(frozen=True)
class Seen:
    """`detail`: what the tool says, in a line; `trouble`: the kind of a broken driver's."""

    state: Literal["works", "absent", "broken"]  # absent: there is no tool
    detail: str
    trouble: str = ""
    gpus: tuple[Gpu, ...] = ()
    fabric: tuple[str, ...] = ()  # state of the NVSwitch fabric per GPU, where there is one
    attached: int = 0  # GPUs by the driver's own count
    said: str = ""  # what the tool prints around its report

    @property
    def works(self) -> bool:
        """A host may say so, and name no GPU."""
        return self.state == "works" and bool(self.gpus)


def size(text: str) -> int:
    """ "81559 MiB" in bytes; 0 for N/A."""
    number, _mark, unit = text.partition(" ")
    return int(number) * UNITS[unit] if number.isdigit() and unit in UNITS else 0


def parse(text: str) -> Seen:
    """Parse the tool's XML, and keep the words around it. Any other text is a broken driver's, and is classified."""
    report = REPORT.search(text)
    try:
        # Only output of the driver's own tool is parsed here, run by root.
        log = ElementTree.fromstring(report[0] if report else "")  # noqa: S314
    except ElementTree.ParseError:
        return trouble(text)
    around = HEAD.sub("", text.replace(report[0], "")) if report else ""
    driver = log.findtext("driver_version", "")
    gpus = tuple(gpu(element, index, driver) for index, element in enumerate(log.iter("gpu")))
    if not gpus:
        return Seen("broken", f"driver {driver} sees no GPU", "no_device")
    states = (element.findtext("fabric/state", "N/A").strip() for element in log.iter("gpu"))
    fabric = tuple(state for state in states if state != "N/A")
    said = "; ".join(line.strip() for line in around.splitlines() if line.strip())[:SAID]
    attached = number(log.findtext("attached_gpus"))
    return Seen("works", f"{names(gpus)}, driver {driver}", gpus=gpus, fabric=fabric, attached=attached, said=said)


def gpu(element: ElementTree.Element, index: int, driver: str) -> Gpu:
    def text(path: str) -> str:
        return (element.findtext(path) or "").strip()

    processes = tuple(
        f"{process.findtext('process_name', '?').strip()} ({process.findtext('pid', '?').strip()})"
        for process in element.iter("process_info")
        if process.findtext("type", "C").strip() != "G"
    )
    held = [text_of.strip() for text_of in (one.findtext("used_memory", "") for one in element.iter("process_info"))]
    volatile = element.find("ecc_errors/volatile")
    counts = [] if volatile is None else [item for item in volatile if "uncorrectable" in item.tag]
    return Gpu(
        index=index,
        name=text("product_name"),
        uuid=text("uuid"),
        memory_bytes=size(text("fb_memory_usage/total")),
        architecture=text("product_architecture"),
        driver_version=driver,
        busy_processes=processes,
        ecc_errors=sum(number(item.text) for item in counts),
        mig=text("mig_mode/current_mig") == "Enabled",
        memory_used_bytes=size(text("fb_memory_usage/used")),
        memory_held_bytes=sum(map(size, held)) if all(map(size, held)) else None,
        persistence=text("persistence_mode") != "Disabled",
        pending=tuple(pending(text)),
        worn=text("remapped_rows/remapped_row_failure") == "Yes",
    )


def number(text: str | None) -> int:
    """0 for what is none."""
    return int(text) if text and text.strip().isdigit() else 0


def pending(text: Callable[[str], str]) -> Iterator[str]:
    """Findings about a pending reset of the GPU. `text`: of an element of its report."""
    for name, now, then in (("ECC", "ecc_mode/current_ecc", "ecc_mode/pending_ecc"),
                            ("MIG", "mig_mode/current_mig", "mig_mode/pending_mig")):  # fmt: skip
        if text(then) in ("Enabled", "Disabled") and text(now) != text(then):
            yield f"{name} is {text(now)} now and {text(then)} after it"
    if "Yes" in (text("remapped_rows/remapped_row_pending"), text("retired_pages/pending_retirement")):
        yield "it takes failed memory out of use"


def trouble(text: str) -> Seen:
    """A broken driver, described by the tool's first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kind = next((name for name, pattern in TROUBLES if pattern.search(text)), "unknown")
    return Seen("broken", lines[0] if lines else "nvidia-smi said nothing", kind)


def find() -> str:
    """The tool's path, "" when there is none."""
    return programs.find("nvidia-smi", os.pathsep.join(PLACES))


def ask(tool: str) -> str:
    """The tool's output, on either channel."""
    try:
        done = programs.run(tool, "-q", "-x", timeout=limits.SMI_SECONDS)
    except TimeoutError:
        return f"nvidia-smi did not answer for {limits.SMI_SECONDS:g} s"
    if done.code == programs.NOT_FOUND:
        return f"nvidia-smi can't be run: {done.err}"
    return "\n".join((done.out, done.err)).strip()


def observe_gpus(tool: str = "", say: Callable[[str], str] = ask) -> Seen:
    """Run the host's nvidia-smi; never raises."""
    tool = tool or find()
    return parse(say(tool)) if tool else Seen("absent", "no nvidia-smi on this host")
