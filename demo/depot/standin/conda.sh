#!/bin/sh
# canvas-fleet's stand-in for conda, see conda_standin.py
exec "$(dirname "$(readlink -f "$0")")/python3.11" -I -m conda_standin "$@"
