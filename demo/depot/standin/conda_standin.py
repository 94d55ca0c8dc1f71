"""conda's command line over py-rattler: the part of it that the collection calls. A stand-in, and it says so.

What is real: the solve, the download from the channel, linking and conda-meta, all done by rattler.
What is not: everything of conda that is not listed in `parser`.
"""

from __future__ import annotations

import argparse
import asyncio
import email
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

STANDIN = "canvas-fleet's stand-in for conda: its command line over py-rattler; not conda, not Miniforge"
VERSION = "26.7.1.demo"  # the release whose command line and output are imitated
ROOT = Path(sys.prefix)
ENVIRONMENTS = Path.home() / ".conda" / "environments.txt"


class CondaError(Exception):
    """One line for the user, in conda's words."""


def is_environment(prefix: Path) -> bool:
    return (prefix / "conda-meta" / "history").is_file()


def environments() -> list[str]:
    """The root, what lies in its envs folder, and what was created elsewhere."""
    found = [ROOT, *sorted((ROOT / "envs").glob("*"))]
    if ENVIRONMENTS.is_file():
        found += [Path(line) for line in ENVIRONMENTS.read_text().splitlines() if line]
    return list(dict.fromkeys(str(prefix) for prefix in found if is_environment(prefix)))


def package_cache() -> Path:
    named = os.environ.get("CONDA_PKGS_DIRS", "").split(",")[0]
    if named:
        return Path(named)
    return ROOT / "pkgs" if os.access(ROOT, os.W_OK) else Path.home() / ".conda" / "pkgs"


def target(options: argparse.Namespace) -> Path:
    """The environment's folder: --prefix, --name, or CONDA_PREFIX, in conda's order."""
    if options.prefix:
        return Path(os.path.abspath(os.path.expanduser(options.prefix)))  # links stay, as in conda
    if options.name:
        return ROOT if options.name == "base" else ROOT / "envs" / options.name
    return Path(os.environ.get("CONDA_PREFIX") or ROOT)


def prefix_records(prefix: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((prefix / "conda-meta").glob("*.json"))]


def pip_packages(prefix: Path) -> Iterator[dict[str, Any]]:
    """Packages of pip, in the form of `conda list`."""
    for folder in sorted(prefix.glob("lib/python3.*/site-packages/*.dist-info")):
        installer = folder / "INSTALLER"
        if installer.is_file() and installer.read_text().strip() != "conda":
            metadata = email.message_from_bytes((folder / "METADATA").read_bytes())
            yield row(str(metadata["Name"]), str(metadata["Version"]), "pypi_0", "pypi", "pypi")


def row(name: str, version: str, build: str, channel: str, platform: str) -> dict[str, Any]:
    dist = f"{name}-{version}-{build}"
    start = {"base_url": channel, "build_number": 0, "build_string": build, "channel": channel}
    return start | {"dist_name": dist, "name": name, "platform": platform, "version": version}


def listed(prefix: Path) -> list[dict[str, Any]]:
    if not is_environment(prefix):
        raise CondaError(f"EnvironmentLocationNotFound: Not a conda environment: {prefix}")
    rows = [
        row(r["name"], r["version"], r["build"], str(r.get("channel", "")).rstrip("/"), r["subdir"])
        for r in prefix_records(prefix)
    ]
    return sorted([*rows, *pip_packages(prefix)], key=lambda r: str(r["name"]).lower())


def channels(options: argparse.Namespace) -> list[Any]:
    import rattler

    names = list(options.channel or [])
    if not options.override_channels:
        names.append("conda-forge")
    if not names:
        raise CondaError("ArgumentError: --override-channels needs at least one -c / --channel")
    return [rattler.Channel(name) for name in names]


async def solved(options: argparse.Namespace, locked: list[Any]) -> list[Any]:
    """Records of the packages that fulfil the specs. Raises CondaError when there are none."""
    import rattler

    gateway = rattler.Gateway(cache_dir=package_cache() / "cache")
    try:
        return await rattler.solve(
            sources=channels(options),
            specs=[rattler.MatchSpec(spec) for spec in options.specs],
            platforms=["linux-64", "noarch"],
            locked_packages=locked,
            virtual_packages=rattler.VirtualPackage.detect(),
            gateway=gateway,
        )
    except Exception as error:
        names = ", ".join(options.channel or ["conda-forge"])
        raise CondaError(f"{type(error).__name__}: {one_line(error)} (channels: {names})") from error


def explicit(path: Path) -> list[Any]:
    """Records of the packages that a lock names (URL#sha256:<hex>), unsolved, as conda takes them with --file."""
    import rattler

    lines = [line.strip() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    if lines[:1] != ["@EXPLICIT"]:
        raise CondaError(f"ArgumentError: {path} is no explicit list of packages ({STANDIN})")
    records = []
    for line in lines[1:]:
        url, _, digest = line.partition("#sha256:")
        channel, subdir, file = url.rsplit("/", 2)
        name, version, build = file.removesuffix(".conda").rsplit("-", 2)
        if len(digest) != 64:
            raise CondaError(f"ArgumentError: no sha256 for {url}")
        noarch = "python" if subdir == "noarch" else None
        build_string, sha256 = rattler.BuildString(build), bytes.fromhex(digest)
        record = rattler.PackageRecord(name, version, build_string, 0, subdir, noarch=noarch, sha256=sha256)
        records.append(rattler.RepoDataRecord(record, file, url, channel))
    return records


def one_line(error: BaseException) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())


async def change(options: argparse.Namespace, prefix: Path) -> list[str]:
    """Solve and link into `prefix`; returns the names of the packages."""
    import rattler

    metas = sorted((prefix / "conda-meta").glob("*.json"))
    installed = [rattler.PrefixRecord.from_path(path) for path in metas]
    records = explicit(Path(options.file)) if options.file else await solved(options, list(installed))
    if not options.dry_run:
        prefix.mkdir(parents=True, exist_ok=True)
        try:
            await rattler.install(records, target_prefix=prefix, cache_dir=package_cache(), show_progress=False)
        except Exception as error:
            raise CondaError(f"{type(error).__name__}: {one_line(error)}") from error
        for path in (prefix / "conda-meta").glob("*.json"):
            path.chmod(0o644)  # conda's mode; rattler leaves 0600
        write_history(prefix, records, options.specs)
    return [str(record.url) for record in records]


def write_history(prefix: Path, records: list[Any], specs: list[str]) -> None:
    with (prefix / "conda-meta" / "history").open("a") as history:
        history.write(f"==> {time.strftime('%Y-%m-%d %H:%M:%S')} <==\n")
        history.write(f"# cmd: {shlex.join([str(ROOT / 'bin' / 'conda'), *sys.argv[1:]])}\n")
        history.write(f"# conda version: {VERSION}\n")
        history.writelines(f"+{record.url}\n" for record in records)
        history.write(f"# update specs: {specs}\n")
    try:
        ENVIRONMENTS.parent.mkdir(exist_ok=True)
        known = ENVIRONMENTS.read_text().splitlines() if ENVIRONMENTS.is_file() else []
        if str(prefix) not in known:
            ENVIRONMENTS.write_text("".join(f"{line}\n" for line in [*known, str(prefix)]))
    except OSError:
        pass  # conda, too, only notes where environments are


def create(options: argparse.Namespace) -> None:
    prefix = target(options)
    if is_environment(prefix):
        if not options.yes:
            raise CondaError(f"CondaValueError: prefix already exists: {prefix}")
        if prefix == ROOT:
            raise CondaError("CondaValueError: The target prefix is the base prefix. Aborting.")
        if not options.dry_run:
            shutil.rmtree(prefix)
    elif prefix.exists() and (not prefix.is_dir() or any(prefix.iterdir())):
        raise CondaError(f"DirectoryNotACondaEnvironmentError: The target directory exists: {prefix}")
    report(options, prefix, asyncio.run(change(options, prefix)))


def install(options: argparse.Namespace) -> None:
    prefix = target(options)
    if not is_environment(prefix):
        raise CondaError(f"EnvironmentLocationNotFound: Not a conda environment: {prefix}")
    report(options, prefix, asyncio.run(change(options, prefix)))


def report(options: argparse.Namespace, prefix: Path, urls: list[str]) -> None:
    if options.json:
        answer = {"success": True, "prefix": str(prefix), "dry_run": options.dry_run}
        print(json.dumps(answer | {"actions": {"LINK": urls}}))
    elif not options.quiet:
        print("".join(f"  + {url}\n" for url in urls) + f"environment location: {prefix}")


def show_list(options: argparse.Namespace) -> None:
    rows = listed(target(options))
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print(f"# packages in environment at {target(options)}:\n#")
        print("\n".join(f"{r['name']:<24} {r['version']:<16} {r['build_string']:<20} {r['channel']}" for r in rows))


def show_environments(options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps({"envs": environments()}, indent=2))
    else:
        print("# conda environments:\n#\n" + "\n".join(environments()))


def show_info(options: argparse.Namespace) -> None:
    import rattler

    facts = {
        "standin": STANDIN,
        "conda_version": VERSION,
        "rattler_version": rattler.__version__,
        "root_prefix": str(ROOT),
        "conda_prefix": str(ROOT),
        "envs": environments(),
        "envs_dirs": [str(ROOT / "envs")],
        "pkgs_dirs": [str(package_cache())],
        "platform": "linux-64",
        "python_version": sys.version.split()[0],
    }
    print(json.dumps(facts, indent=2) if options.json else "\n".join(f"{k:>18} : {v}" for k, v in facts.items()))


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CondaError(f"ArgumentError: {message} ({STANDIN})")


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="conda", description=STANDIN)
    top.add_argument("-V", "--version", action="version", version=f"conda {VERSION}")
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name, action in (("create", create), ("install", install)):
        changing = with_place(commands.add_parser(name), action)
        for flag in (("-y", "--yes"), ("-q", "--quiet"), ("-d", "--dry-run"), ("--override-channels",)):
            changing.add_argument(*flag, action="store_true")
        changing.add_argument("-c", "--channel", action="append")
        changing.add_argument("--file")
        changing.add_argument("specs", nargs="*")
    with_place(commands.add_parser("list"), show_list)
    with_place(commands.add_parser("info"), show_info)
    env = commands.add_parser("env").add_subparsers(dest="env_command", required=True, parser_class=Parser)
    with_place(env.add_parser("list"), show_environments)
    return top


def with_place(command: argparse.ArgumentParser, action: Any) -> argparse.ArgumentParser:
    command.add_argument("-p", "--prefix")
    command.add_argument("-n", "--name")
    command.add_argument("--json", action="store_true")
    command.set_defaults(action=action)
    return command


def main(arguments: list[str]) -> int:
    try:
        options = parser().parse_args(arguments)
        options.action(options)
    except CondaError as error:
        if "--json" in arguments:
            print(json.dumps({"success": False, "error": str(error), "message": str(error)}))
        print(str(error), file=sys.stderr)
        return 1
    except OSError as error:
        print(f"CondaOSError: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # rattler 0.28 may crash (signal 11) while Python takes itself down
