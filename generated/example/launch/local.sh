#!/usr/bin/env bash
# Runs this job on this machine; the same command goes on from where an earlier one stopped.
#
#   NPROC           processes for training; default: the devices planned
#   RECIPEC_ROOT    folders, separated by `:`, in which the recipe's relative paths are looked up; default: $PWD
#   RECIPEC_RUNS    parent of the run's folder; default: $PWD/runs
#   RECIPEC_PYTHON  the Python that recipec is installed in; default: python3
#   RECIPEC_JOB     the job folder; default: the one that holds this script
#
# Arguments are handed to the runtime.
set -euo pipefail

NAME=quickstart-76a57067
JOB="${RECIPEC_JOB:-$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)}"
if [[ ! -f "$JOB/plan.yaml" ]]; then
  echo "error[RC605]: no plan.yaml in '$JOB'" >&2
  echo "  = help: leave launch/ inside its job folder, or name that folder: RECIPEC_JOB=generated/$NAME" >&2
  exit 1
fi

# A folder runtime/ or schemas/ in the current directory must not be taken for ours, here and in child processes.
export PYTHONSAFEPATH=1
PY="${RECIPEC_PYTHON:-python3}"
if ! "$PY" -P -c 'from importlib.util import find_spec as f; raise SystemExit(not f("runtime.torchrun"))' 2> /dev/null; then
  echo "error[RC607]: '$PY' is no Python 3.11 or later with recipec installed" >&2
  echo "  = help: RECIPEC_PYTHON=/path/to/venv/bin/python names the right one" >&2
  exit 3
fi

RUNS="${RECIPEC_RUNS:-$PWD/runs}"
IFS=: read -r -a folders <<< "${RECIPEC_ROOT:-$PWD}"
roots=()
for folder in "${folders[@]}"; do
  roots+=(--root "$folder")
done
runtime=("$JOB/plan.yaml" "${roots[@]}" --runs "$RUNS")

NPROC="${NPROC:-1}"
if [[ ! "$NPROC" =~ ^[1-9][0-9]{0,3}$ ]]; then
  echo "error: NPROC is a number of processes, such as 2; found '$NPROC'" >&2
  exit 2
fi

if [[ "$NPROC" == 1 ]]; then
  exec "$PY" -P -m runtime "${runtime[@]}" --steps all "$@"
fi

# Several processes. Each part gets a process group of its own, so that Ctrl-C and SIGTERM reach it through `stop` alone,
# once: torchrun would pass a signal on too, and kill its ranks 30 s later, whether they have saved or not.
set -m
child=""
ranks=""
stopped=""
stop() {
  stopped=1
  if [[ -z "$ranks" ]] || ! pkill -TERM -P "$child" 2> /dev/null; then
    kill -TERM "$child" 2> /dev/null || true
  fi
}
trap stop INT TERM
run() {
  local status=0
  "$@" &
  child=$!
  wait "$child" || status=$?
  while kill -0 "$child" 2> /dev/null; do # a signal ended `wait`, not the child
    status=0
    wait "$child" || status=$?
  done
  if [[ "$status" != 0 || -n "$stopped" ]]; then
    exit "$status"
  fi
}

run "$PY" -P -m runtime "${runtime[@]}" --steps before-train "$@"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
ranks=1
run "$PY" -P -m runtime.torchrun --standalone --nproc_per_node "$NPROC" -m runtime "${runtime[@]}" --steps train "$@"
ranks=""
run "$PY" -P -m runtime "${runtime[@]}" --steps after-train "$@"
