"""A signed apt repository of empty packages, in the layout and with the names of NVIDIA's; run on the host itself.

make_repository.py FOLDER STAND_IN XML      FOLDER/fingerprint is that of the key
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

KEY_NAMES = {"debian12": "3bf863cc.pub", "debian13": "8793F200.pub"}  # as NVIDIA calls them
GPG = ["gpg", "--batch", "--quiet", "--homedir", "/root/canvas-fleet-test-key"]


def package(out: Path, name: str, files: dict[str, str], depends: str = "") -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, text in files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o755)
        (root / "DEBIAN").mkdir()
        fields = {
            "Package": name,
            "Version": "580.1-1",
            "Architecture": "amd64",
            "Maintainer": "tests <t@example.invalid>",
        }
        fields |= {"Description": "stand-in of canvas-fleet's tests"} | ({"Depends": depends} if depends else {})
        (root / "DEBIAN" / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
        root.chmod(0o755)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", root, out / f"{name}.deb"], check=True, stdout=sys.stderr
        )


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


def sign(out: Path) -> None:
    (out / "InRelease").unlink(missing_ok=True)
    subprocess.run([*GPG, "--clearsign", "--output", out / "InRelease", out / "Release"], check=True)
    (out / KEY_NAMES[out.parent.name]).write_bytes(
        subprocess.run([*GPG, "--armor", "--export"], check=True, capture_output=True).stdout
    )


def main(folder: str, stand_in: str, xml: str) -> None:
    home = Path(GPG[-1])
    if not home.exists():
        home.mkdir(mode=0o700)
        subprocess.run(
            [*GPG, "--passphrase", "", "--quick-gen-key", "tests <t@example.invalid>", "rsa3072"], check=True
        )
    tool = {"usr/bin/nvidia-smi": Path(stand_in).read_text()}
    tool["usr/local/share/canvas-fleet-stand-in/nvidia-smi-q.xml"] = Path(xml).read_text()
    for system in KEY_NAMES:
        out = Path(folder) / system / "x86_64"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        package(out, f"linux-headers-{os.uname().release}", {})
        package(out, "nvidia-kernel-open-dkms", {})
        package(out, "nvidia-open-580", tool, depends="nvidia-kernel-open-dkms")
        for version in ("12.8", "12.9"):
            nvcc = {f"usr/local/cuda-{version}/bin/nvcc": "#!/bin/sh\n"}
            package(out, f"cuda-toolkit-{version.replace('.', '-')}", nvcc)
        index(out)
        sign(out)
    listing = subprocess.run(
        [*GPG, "--with-colons", "--fingerprint"], check=True, capture_output=True, text=True
    ).stdout
    fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
    (Path(folder) / "fingerprint").write_text(fingerprint)


if __name__ == "__main__":
    os.umask(0o022)
    main(*sys.argv[1:])
