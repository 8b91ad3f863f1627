# Sourced by tools/*: each step is named as it starts, timed as it ends, and a failing one says which, why, what to do.

# step NAME COMMAND REMEDY: runs the shell function or command COMMAND.
step() {
  local name=$1 command=$2 remedy=$3 began=$SECONDS code
  printf '==> %s\n' "$name"
  set +e  # Not `( ... ) || code=$?`: before a || bash ignores the -e inside, and a failing line would go unnoticed.
  ( set -euo pipefail; $command )
  code=$?
  set -e
  if [ $code != 0 ]; then
    printf '!!! %s failed (exit status %d) after %d s. What to do: %s\n' "$name" $code $((SECONDS - began)) "$remedy" >&2
    exit 1
  fi
  printf '    done in %d s\n' $((SECONDS - began))
}

# How many compile jobs this machine takes: its cores, but one for each 2 GB of memory at most. (The few files that
# include LibTorch are one at a time anyway: a job pool in CMakeLists.txt.)
compile_jobs() {
  local cores memory_gb
  cores=$(nproc)
  memory_gb=$(awk '/MemAvailable/ {print int($2 / 1048576 / 2)}' /proc/meminfo)
  [ "$memory_gb" -ge 1 ] || memory_gb=1
  echo $((cores < memory_gb ? cores : memory_gb))
}
