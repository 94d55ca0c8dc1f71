"""Sources of the training environment: index, channel, release, mirror, or wheelhouse. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from . import flash_attn

RAW_PROGRESS = (24, 1)  # the first pip that reports bytes to a program


def pip_options(spec: Mapping[str, Any], state_dir: str, version: str) -> list[str]:
    """pip's options for index and output. The user chose an index without TLS, so its host is trusted."""
    index, more = str(spec["pip_index_url"] or ""), [str(url) for url in spec["pip_extra_index_urls"]]
    links = str(spec["pip_find_links"] or "")
    if spec["wheelhouse"]:  # offline: no other place is asked
        index, more, links = "", [], os.path.join(str(spec["wheelhouse"]), "wheels")
    hosts = {urlsplit(url).hostname or "" for url in (index, links, *more) if url.startswith("http://")}
    # pip would compile every file of every package, one after the other: 40 % of its processor time. The proof that
    # follows imports what the trainer imports, and Python keeps what it compiled for that.
    options = ["--disable-pip-version-check", "--no-compile", "--cache-dir", os.path.join(state_dir, "pip-cache")]
    options += ["--no-index"] if spec["wheelhouse"] else []
    options += ["--index-url", index] if index else []
    options += [word for url in more for word in ("--extra-index-url", url)]
    options += ["--find-links", links] if links else []
    options += [word for host in sorted(hosts) for word in ("--trusted-host", host)]
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return options + (["--progress-bar", "raw"] if numbers >= RAW_PROGRESS else [])


def installer_url(spec: Mapping[str, Any]) -> str:
    """URL of conda's installer, from the wheelhouse if there is one."""
    url = str(spec["installer_url"])
    return f"file://{spec['wheelhouse']}/installer/{url.rsplit('/', 1)[-1]}" if spec["wheelhouse"] else url


def locked_urls(lock: Sequence[str], spec: Mapping[str, Any]) -> list[str]:
    """The lock's URLs at the place that serves this host: the wheelhouse, or the channel when it is a URL.

    Of several channels, the one of the same name (…/conda-forge for …/conda-forge), else the first.
    """
    channels = [str(channel).rstrip("/") for channel in spec["channels"]]
    places = [f"file://{spec['wheelhouse']}/conda"] if spec["wheelhouse"] else [one for one in channels if "://" in one]
    if not places or (not spec["wheelhouse"] and "://" not in channels[0]):
        return list(lock)
    names = {place.rpartition("/")[2]: place for place in reversed(places)}
    parts = (url.rsplit("/", 2) for url in lock)
    return ["/".join([names.get(head.rpartition("/")[2], places[0]), *rest]) for head, *rest in parts]


def flash_attn_url(name: str, spec: Mapping[str, Any]) -> str:
    """URL of the wheel, with its digest if given."""
    if spec["wheelhouse"]:
        url = f"file://{spec['wheelhouse']}/wheels/{name.replace('+', '%2B')}"
    else:
        url = flash_attn.wheel_url(name, str(spec["flash_attn_releases"]))
    return url + (f"#sha256={spec['flash_attn_sha256']}" if spec["flash_attn_sha256"] else "")
