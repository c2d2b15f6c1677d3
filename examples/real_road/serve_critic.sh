#!/usr/bin/env bash
# Serve a local model folder on loopback with `transformers serve`, as an OpenAI-compatible critic.
#
#   ./serve_critic.sh start FOLDER [PORT]   start in the background, wait until it answers (default port 8311)
#   ./serve_critic.sh stop  [PORT]          stop the server started on that port
#
# Requests name the model exactly as FOLDER was given here (any other name is refused with 400).
# Log and process id: ${TMPDIR:-/tmp}/serve_critic-PORT.{log,pid}. Nothing outside this machine is contacted.
set -euo pipefail

usage() { sed -n '4,5s/^# *//p' "$0" >&2; exit 2; }

command=${1:-}
case "$command" in
  start) [[ $# -ge 2 ]] || usage; folder=$2; port=${3:-8311} ;;
  stop) port=${2:-8311} ;;
  *) usage ;;
esac
[[ "$port" =~ ^[0-9]+$ ]] || { echo "PORT must be a number, not '$port'" >&2; exit 2; }
state=${TMPDIR:-/tmp}/serve_critic-$port
url=http://127.0.0.1:$port

if [[ "$command" == stop ]]; then
  [[ -f "$state.pid" ]] || { echo "no server of this script on port $port" >&2; exit 1; }
  pid=$(cat "$state.pid")
  kill "$pid" 2>/dev/null || echo "it had already ended" >&2
  # The server first answers what it is working on.
  for ((second = 0; second < 30; second++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 1
  done
  rm -f "$state.pid"
  echo "stopped the server on port $port"
  exit 0
fi

[[ -f "$folder/config.json" ]] || { echo "$folder: no model folder (make_critic.py writes one)" >&2; exit 1; }
command -v transformers >/dev/null || { echo "no 'transformers' command: pip install 'tutelage[serve]'" >&2; exit 1; }
if curl -s -o /dev/null --max-time 2 "$url/health"; then
  echo "something already answers on port $port" >&2; exit 1
fi

HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} \
  nohup transformers serve "$folder" --device cpu --host 127.0.0.1 --port "$port" >"$state.log" 2>&1 &
echo $! >"$state.pid"

for ((second = 0; second < 120; second++)); do
  if curl -sf -o /dev/null --max-time 2 "$url/health"; then
    echo "serving $folder at $url/v1 after ${second} s (log: $state.log); stop with: $0 stop $port"
    exit 0
  fi
  if ! kill -0 "$(cat "$state.pid")" 2>/dev/null; then
    echo "the server ended before it answered; the end of $state.log:" >&2
    tail -5 "$state.log" >&2
    rm -f "$state.pid"
    exit 1
  fi
  sleep 1
done
echo "no answer within 120 s; see $state.log" >&2
kill "$(cat "$state.pid")" 2>/dev/null || true
rm -f "$state.pid"
exit 1
