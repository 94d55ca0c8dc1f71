"""A signed apt repository with the layout and the packages' names of NVIDIA's; run on the host itself.

    make_repository.py make FOLDER STAND_IN XML    FOLDER/fingerprint is that of the key
    make_repository.py publish FOLDER VERSION      another version of the driver, in the same branch
    make_repository.py rotate FOLDER               a new key signs, and lies beside the repository
    make_repository.py sign FOLDER                 the repository as it is now

The packages hold nearly nothing: they stand in for NVIDIA's. What reads them is Debian's own apt.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

KEY_NAMES = {"debian12": "3bf863cc.pub", "debian13": "8793F200.pub"}  # as NVIDIA calls them
OLD_AND_NEW = ("580.159.04", "590.48.01")
STAND_IN = "/usr/local/share/canvas-fleet-stand-in"
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"


def gpg(folder: Path) -> list[str]:
    return ["gpg", "--batch", "--quiet", "--homedir", str(sorted(folder.glob("key-*"))[-1])]


def package(out: Path, name: str, version: str, files: dict[str, str], depends: str = "") -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, text in files.items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o644 if path.endswith((".service", ".xml")) else 0o755)
        (root / "DEBIAN").mkdir()
        fields = {
            "Package": name,
            "Version": version,
            "Architecture": "amd64",
            "Maintainer": "tests <t@example.invalid>",
        }
        fields |= {"Description": "stand-in of canvas-fleet's tests"} | ({"Depends": depends} if depends else {})
        (root / "DEBIAN" / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
        root.chmod(0o755)
        target = out / f"{name}_{version}.deb"
        subprocess.run(
            ["dpkg-deb", "-Znone", "--root-owner-group", "--build", root, target], check=True, stdout=sys.stderr
        )


def driver(out: Path, version: str, tool: str, xml: str) -> None:
    """The packages of one version of the driver, tied to each other as NVIDIA's are."""
    full = f"{version}-1"
    xml = re.sub(r"(?<=<driver_version>)[\d.]+", version, xml)
    smi = {"/usr/bin/nvidia-smi": tool, f"{STAND_IN}/nvidia-smi-q.xml": xml}
    for name in ("libnvidia-ml1", "libnvcuvid1", "firmware-nvidia-gsp"):
        package(out, name, full, {})
    package(out, "nvidia-kernel-open-dkms", full, {}, f"firmware-nvidia-gsp (= {full})")
    package(out, "nvidia-driver-cuda", full, smi, f"libnvidia-ml1 (= {full}), libnvcuvid1 (= {full})")
    package(out, "nvidia-open", full, {}, f"nvidia-driver-cuda (= {full}), nvidia-kernel-open-dkms (= {full})")
    package(out, "nvidia-persistenced", full, {"/usr/lib/systemd/system/nvidia-persistenced.service": UNIT})
    fabric(out, full)


def fabric(out: Path, full: str) -> None:
    package(out, "nvidia-fabricmanager", full, {"/usr/lib/systemd/system/nvidia-fabricmanager.service": UNIT})


def index(out: Path) -> None:
    """Packages and Release as NVIDIA's flat repository has them."""
    entries = []
    for deb in sorted(out.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True).stdout
        data = deb.read_bytes()
        entries.append(
            f"{control}Filename: ./{deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
    text = "\n".join(entries).encode()
    (out / "Packages").write_bytes(text)
    digest = hashlib.sha256(text).hexdigest()
    release = "Origin: NVIDIA\nLabel: NVIDIA CUDA\nDate: Tue, 24 Nov 2026 00:00:00 UTC\nArchitectures: amd64\n"
    (out / "Release").write_text(f"{release}SHA256:\n {digest} {len(text)} Packages\n")


def sign(folder: Path) -> None:
    for out in outs(folder):
        index(out)
        (out / "InRelease").unlink(missing_ok=True)
        subprocess.run([*gpg(folder), "--clearsign", "--output", out / "InRelease", out / "Release"], check=True)
        exported = subprocess.run([*gpg(folder), "--armor", "--export"], check=True, capture_output=True).stdout
        (out / KEY_NAMES[out.parent.name]).write_bytes(exported)


def outs(folder: Path) -> list[Path]:
    return [folder / system / "x86_64" for system in KEY_NAMES if (folder / system).exists()]


def rotate(folder: Path) -> None:
    # A folder of its own: the agent of the key before still sits in its one.
    (folder / f"key-{len(list(folder.glob('key-*')))}").mkdir(mode=0o700)
    words = ["--passphrase", "", "--quick-gen-key", "tests <t@example.invalid>", "ed25519"]
    subprocess.run([*gpg(folder), *words], check=True)
    shown = [*gpg(folder), "--with-colons", "--fingerprint"]
    listing = subprocess.run(shown, check=True, capture_output=True, text=True).stdout
    fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
    (folder / "fingerprint").write_text(fingerprint)
    sign(folder)


def make(folder: Path, stand_in: str, xml: str) -> None:
    version = next(line for line in Path("/etc/os-release").read_text().splitlines() if line.startswith("VERSION_ID"))
    out = folder / f"debian{re.sub('[^0-9]', '', version)}" / "x86_64"
    out.mkdir(parents=True)
    package(out, f"linux-headers-{os.uname().release}", "1", {})
    for each in OLD_AND_NEW:
        driver(out, each, Path(stand_in).read_text(), Path(xml).read_text())
    fabric(out, "580.173.02-1")  # newer than the driver: the one that must not be taken
    for each in ("12.6", "12.8", "12.9"):
        package(
            out,
            f"cuda-toolkit-{each.replace('.', '-')}",
            f"{each}.1-1",
            {f"/usr/local/cuda-{each}/bin/nvcc": "#!/bin/sh\n"},
        )
    rotate(folder)


def main(verb: str, folder: str, *words: str) -> None:
    if verb == "make":
        make(Path(folder), *words)
    elif verb == "rotate":
        rotate(Path(folder))
    else:
        for out in outs(Path(folder)) if verb == "publish" else []:
            driver(
                out, words[0], Path("/usr/bin/nvidia-smi").read_text(), Path(STAND_IN, "nvidia-smi-q.xml").read_text()
            )
        sign(Path(folder))


if __name__ == "__main__":
    os.umask(0o022)
    main(*sys.argv[1:])
