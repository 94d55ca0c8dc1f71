#!/usr/bin/env bash
# Gives this machine what the demo and the tests need: Debian packages and .venv. Changes nothing that is there already.
#
# bootstrap.sh machine|demo|dev     the packages alone; with an environment for the demo; with one for the tests, too
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive

NEEDED_GB=12
PACKAGES=(podman runc mmdebstrap netavark aardvark-dns containernetworking-plugins uidmap iproute2 iptables nftables git
  openssh-client python3-venv debian-archive-keyring ca-certificates bsdextrautils)

refuse() { echo "canvas-fleet: $*" >&2; exit 1; }

check_machine() {
  [ "$(id -u)" = 0 ] || refuse "the demo makes hosts with systemd, which needs root: run 'sudo make …'"
  local id="" version=""
  [ -r /etc/os-release ] && id=$(. /etc/os-release && echo "${ID:-}") && version=$(. /etc/os-release && echo "${VERSION_ID:-}")
  case "$id/$version" in
    debian/12 | debian/13) ;;
    *) refuse "this is '${id:-unknown} ${version:-}', the demo runs on Debian 12 or 13: use such a machine" ;;
  esac
  case "$PWD" in
    *[:,%\"\'\\]*) refuse "the folder's name has one of : , % \" ' \\ in it, which ssh and podman read otherwise: clone it elsewhere" ;;
  esac
  local free
  free=$(($(df --output=avail -k . | tail -n 1) / 1048576))
  [ -e .demo/ready ] || [ "$free" -ge "$NEEDED_GB" ] ||
    refuse "$free GB are free in $PWD, $NEEDED_GB are needed: make room, or clone onto a larger disk"
  { [ -e /sys/fs/cgroup/cgroup.controllers ] && [ -w /sys/fs/cgroup ]; } || [ -w /sys/fs/cgroup/systemd ] ||
    refuse "no usable cgroups below /sys/fs/cgroup, so no host could have systemd: use a (virtual) machine of its own"
}

# life TITLE COMMAND…: the output goes into a log; every 10 s a line says that it goes on
life() {
  local title=$1 started=$SECONDS job code=0 next=10 log
  shift
  mkdir -p reports
  log="reports/${title// /-}.log"
  echo "==> $title"
  set -m # a process group of its own, so that an interrupt ends all of it
  "$@" >"$log" 2>&1 &
  job=$!
  set +m
  trap 'kill -- -$job 2>/dev/null || true' EXIT
  while kill -0 $job 2>/dev/null; do
    sleep 0.5
    if ((SECONDS - started >= next)); then
      echo "    … $next s  $(tail -n 1 "$log" | cut -c1-90)"
      next=$((next + 10))
    fi
  done
  wait $job || code=$?
  trap - EXIT
  if ((code)); then
    tail -n 20 "$log" | sed 's/^/    | /' >&2
    refuse "'$title' failed, see $log; run it again once that is mended"
  fi
  echo "    done after $((SECONDS - started)) s"
}

missing_packages() {
  local name
  for name in "${PACKAGES[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
  done
}

install_packages() {
  apt-get -o DPkg::Lock::Timeout=300 update -q &&
    apt-get -o DPkg::Lock::Timeout=300 install -q -y --no-install-recommends "$@"
}

# A venv cannot be moved, so it is made under its digest, and .venv is a link that is switched in one step. What the tests
# need beyond the demo is added by the first call that needs it: it takes three times as long. pip compiles nothing, as
# Python compiles what is imported.
make_venv() {
  local folder=".cache/venv-$digest"
  if [ ! -e "$folder/.made-from" ]; then
    rm -rf "$folder"
    /usr/bin/python3 -m venv "$folder"
  fi
  "$folder/bin/pip" install --disable-pip-version-check --progress-bar off --no-compile -r "requirements-$1.txt"
  echo "$digest $1" >"$folder/.made-from"
  if [ -d .venv ] && [ ! -L .venv ]; then mv .venv ".cache/venv-old-$$"; fi
  ln -sfn "$PWD/$folder" .venv.new
  mv -T .venv.new .venv
}

check_machine
# One at a time; whatever outlives a killed one still holds the lock.
mkdir -p .cache
exec 9>.cache/bootstrap.lock
flock -n 9 || life "wait for another bootstrap of this checkout" flock 9
mapfile -t missing < <(missing_packages)
[ ${#missing[@]} = 0 ] || life "install Debian packages" install_packages "${missing[@]}"
[ -x /usr/bin/python3 ] || refuse "there is no /usr/bin/python3: run 'apt-get install python3'"

digest=$({ /usr/bin/python3 -V; pwd -P; cat requirements.txt requirements-demo.txt requirements-dev.txt; } | sha256sum | cut -c1-12)
made=$(cat .venv/.made-from 2>/dev/null || true)
case "$1 $made" in
  machine* | *" $digest dev" | "demo $digest demo") ;;
  *) life "make the virtual environment" make_venv "$1" ;;
esac
