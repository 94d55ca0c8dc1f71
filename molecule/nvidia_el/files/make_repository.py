"""A signed rpm repository with the layout, module streams and names of NVIDIA's for EL 9; run on the host itself.

    make_repository.py FOLDER STAND_IN XML    FOLDER/fingerprint is that of the key

The packages hold nearly nothing: they stand in for NVIDIA's and EL's. What reads them is a real dnf.
"""

import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

STAND_IN = "/usr/local/share/canvas-fleet-stand-in"
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
VERSIONS = {"580": "580.159.04", "590": "590.48.01"}


def run(*argv, **more):
    return subprocess.run([str(word) for word in argv], check=True, stdout=subprocess.PIPE, text=True, **more).stdout


def package(out, name, version, files=None, requires=(), release="1"):
    """An rpm of these files; nothing is required but what is named."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        root = top / "files"
        for path, text in (files or {}).items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o644 if path.endswith((".service", ".xml")) else 0o755)
        listed = "\n".join(sorted(files or {}))
        needs = "".join(f"Requires: {one}\n" for one in requires)
        spec = top / "one.spec"
        spec.write_text(
            f"Name: {name}\nVersion: {version}\nRelease: {release}\nSummary: stand-in of canvas-fleet's tests\n"
            f"License: none\nAutoReqProv: no\n{needs}%description\nNone.\n"
            f"%install\nmkdir -p %{{buildroot}}; [ ! -d {root} ] || cp -a {root}/. %{{buildroot}}/\n"
            f"%files\n{listed}\n"
        )
        run(
            "rpmbuild",
            "-bb",
            "--target",
            "x86_64",
            "--define",
            f"_topdir {top}/build",
            "--define",
            f"_rpmdir {out}",
            spec,
        )
    return f"{name}-0:{version}-{release}.x86_64"


def driver(out, version, tool, xml):
    """The packages of one stream, tied to each other as NVIDIA's are."""
    xml = re.sub(r"(?<=<driver_version>)[\d.]+", version, xml)
    smi = {"/usr/bin/nvidia-smi": tool, f"{STAND_IN}/nvidia-smi-q.xml": xml}
    unit = {"/usr/lib/systemd/system/nvidia-persistenced.service": UNIT}
    return [
        package(out, "nvidia-driver-libs", version),
        package(out, "nvidia-driver-cuda", version, smi, [f"nvidia-driver-libs = {version}"]),
        package(out, "kmod-nvidia-open-dkms", version),
        package(out, "nvidia-persistenced", version, unit),
    ]


def stream(branch, names):
    """One stream of the module, as modulemd version 2 says it."""
    rpms = "".join(f"      - {name.split('-0:')[0]}\n" for name in names)
    artifacts = "".join(f"    - {name}\n" for name in names)
    return (
        "---\ndocument: modulemd\nversion: 2\ndata:\n  name: nvidia-driver\n"
        f"  stream: {branch}-open\n  version: 20250101000000\n  context: '{branch}'\n  arch: x86_64\n"
        "  summary: driver\n  description: driver\n  license:\n    module: [none]\n"
        f"  profiles:\n    default:\n      rpms:\n{rpms}  artifacts:\n    rpms:\n{artifacts}...\n"
    )


def sign(folder, out):
    """A key of its own signs every package; it lies beside them as NVIDIA's does."""
    home = ("--batch", "--quiet", "--homedir", folder / "key")
    (folder / "key").mkdir(mode=0o700)
    run(
        "gpg",
        *home,
        "--passphrase",
        "",
        "--quick-generate-key",
        "tests <t@example.invalid>",
        "rsa2048",
        "sign",
        "never",
    )
    shown = run("gpg", *home, "--with-colons", "--list-keys")
    fingerprint = re.search(r"^fpr:+([0-9A-F]+):", shown, re.MULTILINE)[1]
    (folder / "fingerprint").write_text(fingerprint)
    (out / "D42D0685.pub").write_text(run("gpg", *home, "--armor", "--export", fingerprint))
    defines = (
        "--define",
        "__gpg /usr/bin/gpg",
        "--define",
        f"_gpg_name {fingerprint}",
        "--define",
        f"_gpg_path {folder / 'key'}",
    )
    run("rpmsign", *defines, "--addsign", *out.rglob("*.rpm"))


def main(folder, tool, xml):
    out = folder / "rhel9" / "x86_64"
    out.mkdir(parents=True)
    streams = [stream(branch, driver(out, version, tool, xml)) for branch, version in VERSIONS.items()]
    for version in VERSIONS.values():
        unit = {"/usr/lib/systemd/system/nvidia-fabricmanager.service": UNIT}
        package(out, "nvidia-fabricmanager", version, unit)
    for cuda in ("12.6", "12.8"):
        files = {f"/usr/local/cuda-{cuda}/bin/nvcc": "#!/bin/sh\n"}
        package(out, f"cuda-toolkit-{cuda.replace('.', '-')}", f"{cuda}.1", files)
    name, version, release = f"kernel-devel-{platform.release().removesuffix('.x86_64')}".rsplit("-", 2)
    package(out, name, version, release=release)  # whatever kernel it is: dnf finds it by the whole name
    package(out, "python3-dnf-plugin-versionlock", "4.3.0")
    sign(folder, out)
    run("createrepo_c", "--quiet", out)
    profiles = "".join(f"    {branch}-open: [default]\n" for branch in VERSIONS)
    usual = (
        f"---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: nvidia-driver\n  profiles:\n{profiles}...\n"
    )
    (folder / "modules.yaml").write_text("".join([*streams, usual]))
    run("modifyrepo_c", "--mdtype=modules", folder / "modules.yaml", out / "repodata")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]).read_text(), Path(sys.argv[3]).read_text())
