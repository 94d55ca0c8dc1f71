#!/bin/sh
# THIS IS NOT MINIFORGE. It is a stand-in of canvas-fleet's demo for machines that cannot reach the real one:
# Miniforge's command line (bash Miniforge3-….sh -b -p PREFIX [-u]) that lays down Debian's Python 3.11, made
# relocatable, and a `conda` which is py-rattler behind conda's command line. `conda info` says the same.
set -eu
PREFIX="${HOME:-/root}/miniforge3"
BATCH=0
UPDATE=0
while getopts bfhmp:sut option; do
    case $option in
        b) BATCH=1 ;;
        f | u) UPDATE=1 ;;
        p) PREFIX=$OPTARG ;;
        m | s | t) ;;
        *) echo "usage: $0 -b [-u] [-p PREFIX]   (stand-in for Miniforge)" >&2; exit 2 ;;
    esac
done
if [ "$BATCH" = 0 ]; then
    echo "ERROR: the stand-in for Miniforge asks nothing: run it with -b" >&2
    exit 1
fi
if [ -e "$PREFIX" ] && [ "$UPDATE" = 0 ]; then
    echo "ERROR: File or directory already exists: '$PREFIX'" >&2
    echo "If you want to update an existing installation, use the -u option." >&2
    exit 1
fi
if [ "$(tail -c @SIZE@ "$0" | sha256sum | cut -d ' ' -f 1)" != @SHA256@ ]; then
    echo "ERROR: $0 is cut off or damaged: download it again" >&2
    exit 1
fi
mkdir -p "$PREFIX"
tail -c @SIZE@ "$0" | tar -xz --no-same-owner -C "$PREFIX"
mkdir -p "$PREFIX/envs" "$PREFIX/pkgs" "$PREFIX/conda-meta"
[ -e "$PREFIX/conda-meta/history" ] || printf '# laid down by the stand-in for Miniforge\n' > "$PREFIX/conda-meta/history"
"$PREFIX/bin/conda" --version
echo "installation finished."
exit 0
