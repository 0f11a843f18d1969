#!/usr/bin/env bash
# Build the image and run it, without Docker and without a container registry: the base is made of Debian's packages,
# buildah builds, and the server answers completions from outside. Needs root, apt-get, and the registries of pip and apt.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d /var/tmp/claude-openai-container.XXXXXX)
server= upstream=
begun=$SECONDS
# What works in a container and on any file system, unless the caller knows something faster.
export TMPDIR="$work/tmp" BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}" BUILDAH_FORMAT=docker
export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}"
key=a-key-for-this-run
mkdir "$TMPDIR"

say() { echo "== container, $((SECONDS - begun)) s: $*"; }
fail() {
  echo "== container: FAILED: $*" >&2
  exit 1
}
# Nothing is pulled, so nobody's registry logins are looked at.
store() {
  env -u DOCKER_CONFIG -u REGISTRY_AUTH_FILE buildah --storage-driver "$STORAGE_DRIVER" \
    --root "$work/store" --runroot "$work/run" "$@"
}
finish() {
  local code=$?
  trap - EXIT
  [ $code -eq 0 ] || tail -n 30 "$work"/*.log >&2 || true
  [ -z "$server" ] || kill -KILL -- "-$server" 2> /dev/null || true
  [ -z "$upstream" ] || kill "$upstream" 2> /dev/null || true
  store umount --all > /dev/null 2>&1 || true
  store rm --all > /dev/null 2>&1 || true
  umount --recursive "$work/base" 2> /dev/null || true
  # What is still mounted there is not removed, whatever it is.
  rm -rf --one-file-system "$work" || true
  exit $code
}
trap finish EXIT

say "tools"
needed=()
for tool in buildah debootstrap curl; do command -v $tool > /dev/null || needed+=("$tool"); done
/usr/bin/python3 -c 'import yaml' 2> /dev/null || needed+=(python3 python3-yaml)
if [ ${#needed[@]} -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${needed[@]}" > "$work/apt.log" 2>&1
fi
as_compose() { /usr/bin/python3 docker/as_compose.py "$@"; }

say "docker-compose.yml says what the documentation promises"
as_compose check
if docker compose version > /dev/null 2>&1; then
  CLAUDE_OPENAI_API_KEY=$key docker compose -f docker/docker-compose.yml config --quiet
  ! docker compose --env-file /dev/null -f docker/docker-compose.yml config --quiet 2> "$work/refused.log" || fail "no key is asked for"
  grep -F 'set it to a key' "$work/refused.log"
else
  echo "docker compose is not here; the file was read without it"
fi

say "a base of Debian's packages"
mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' | sed -n 's/^Debian Debian //p' | sort -u | head -n 1)
base=$(store from scratch)
# In memory, where the fsync of every package costs nothing.
mkdir "$work/base"
mount -t tmpfs tmpfs "$work/base"
# Without tini: so that it is the Dockerfile that installs it, as on Docker's own Python images.
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/base" \
  "${mirror:-http://deb.debian.org/debian}" > "$work/debootstrap.log"
rm -rf "$work"/base/var/cache/apt/* "$work"/base/var/lib/apt/lists/* "$work"/base/usr/share/{doc,locale,man}/*
store add --quiet "$base" "$work/base" / > /dev/null
store commit --quiet --rm "$base" localhost/base > /dev/null
umount --recursive "$work/base"

say "docker/Dockerfile builds on it"
# pip and apt work in the build as they do here: the same indexes, certificates, proxies.
{
  echo "[global]"
  env -u PIP_QUIET python3 -m pip config list | sed -n "s/^\(global\|install\|:env:\)\.\([a-z-]*\)='\(.*\)'\$/\2 = \3/p" | sort -t= -uk1,1
} > "$work/pip.conf"
volumes=(--volume "$work/pip.conf:/etc/pip.conf:ro")
# A local index, file:///there/simple, refers to the files beside it.
for path in $(sed -n 's/^[a-z-]* = //p' "$work/pip.conf" | tr ' ' '\n' | sed 's,^file://\(/.*\)/[^/]*$,\1,' | grep ^/ | sort -u); do
  [ ! -e "$path" ] || volumes+=(--volume "$path:$path:ro")
done
apt-config dump Acquire > "$work/apt.conf"
volumes+=(--volume "$work/apt.conf:/etc/apt/apt.conf.d/99-as-here:ro")
arguments=()
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  [ -z "${!name:-}" ] || arguments+=(--build-arg "$name=${!name}")
done
store build --build-arg BASE=localhost/base "${arguments[@]}" "${volumes[@]}" \
  --file docker/Dockerfile --tag localhost/claude-openai . > "$work/build.log" 2>&1
store inspect --type image localhost/claude-openai > "$work/image.json"

container=$(store from localhost/claude-openai)
root=$(store mount "$container")
say "the image is $(du -sm "$root" | cut -f 1) MB unpacked; of that the base: $(du -sm "$root/usr" "$root/var" | awk '{n += $1} END {print n}') MB, Claude Code: $(du -m "$root"/opt/claude-openai/lib/python3*/site-packages/claude_agent_sdk/_bundled/claude | cut -f 1) MB"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# The container's processes, by number: all of them have inherited this variable.
mark="CONTAINER_TEST=$work"
processes() { grep -lzxF "$mark" /proc/[0-9]*/environ 2> /dev/null | cut -d / -f 3 || true; }

first_process() {
  local pid
  for pid in $(processes); do
    [ "$(cat "/proc/$pid/comm")" != tini ] || echo "$pid"
  done
}

until_healthy() {
  for _ in $(seq 300); do
    ! curl -fsS "http://127.0.0.1:$port/health" 2> /dev/null || return 0
    kill -0 "$server" 2> /dev/null || fail "the server ended"
    sleep 0.1
  done
  fail "the server does not answer"
}

ask() { # a request body, more options of curl
  curl -sS -m 60 "http://127.0.0.1:$port/v1/chat/completions" -H 'Content-Type: application/json' -d "$@"
}

with_key="Authorization: Bearer $key"
hello='"model": "claude-sonnet", "messages": [{"role": "user", "content": "Say hello."}]'

exercise() {
  until_healthy
  echo
  ask "{$hello}" -H "$with_key" | grep -F '[demo]'
  ask "{$hello, \"stream\": true}" -H "$with_key" > "$work/stream.txt"
  [ "$(grep -cE '"content": ?"[^"]' "$work/stream.txt")" -gt 10 ] || fail "nothing was streamed"
  grep -qxF 'data: [DONE]' "$work/stream.txt" || fail "the stream has no end"
  echo "streamed in $(grep -c '^data:' "$work/stream.txt") events"
  [ "$(ask "{$hello}" -o /dev/null -w '%{http_code}')" = 401 ] || fail "a request without the key is not refused"
  [ "$(ask "{$hello}" -o /dev/null -w '%{http_code}' -H "$with_key" -H 'Host: example.com')" = 403 ] || fail "a foreign Host is not refused"
  echo "401 without the key, 403 for a foreign Host"
}

as_its_user() {
  local pid
  [ -n "$(processes)" ] || fail "no process is found"
  for pid in $(processes); do
    [ "$(stat -c %u "/proc/$pid" 2> /dev/null || echo 1000)" = 1000 ] || fail "process $pid is not the user's"
  done
  echo "$(processes | wc -l) processes, all of user 1000"
}

stops() { # the server's log
  local code=0 from=$SECONDS
  kill -TERM "$(first_process)"
  wait "$server" || code=$?
  server=
  [ $code -eq 0 ] || fail "exit code $code after SIGTERM"
  grep -F 'stopping' "$1"
  [ -z "$(processes)" ] || fail "processes are left: $(processes)"
  echo "stopped in $((SECONDS - from)) s, no process is left"
}

say "without a key it does not start"
code=0
store run "$container" -- claude-openai --demo 2> "$work/refused.log" || code=$?
[ $code -eq 2 ] || fail "exit code $code"
grep -F -- '--api-key' "$work/refused.log"

say "buildah runs it"
port=$(free_port)
set -m # a group of its own for each server, to be ended as one
store run --env "$mark" --env CLAUDE_OPENAI_PORT="$port" --env CLAUDE_OPENAI_API_KEY=$key "$container" -- \
  tini -s -- claude-openai --demo > "$work/server.log" 2>&1 &
server=$!
exercise
as_its_user
stops "$work/server.log"

say "it runs as docker-compose.yml says: tini first, root only read, no capabilities; the key in a file"
mkdir -p "$work"/home/.claude "$work"/home/.config/claude "$work"/workspace
echo '{"claudeAiOauth": {"accessToken": "sk-ant-oat01-of-the-host", "refreshToken": "sk-ant-ort01-of-the-host",
  "expiresAt": 4102444800000, "scopes": ["user:inference", "user:profile"], "subscriptionType": "max"}}' \
  > "$work/home/.claude/.credentials.json"
echo $key > "$work/workspace/key"
chmod 600 "$work/workspace/key" "$work/home/.claude/.credentials.json"
chown -R 1000:1000 "$work/home" "$work/workspace"
chmod 755 "$work"

contained() { # a service, variables of the container
  local service=$1
  shift
  local variable more=()
  for variable in "$mark" "CLAUDE_OPENAI_PORT=$port" CLAUDE_OPENAI_API_KEY= CLAUDE_OPENAI_API_KEY_FILE=/workspace/key "$@"; do
    more+=(--env "$variable")
  done
  HOME="$work/home" CLAUDE_WORKSPACE="$work/workspace" CLAUDE_OPENAI_API_KEY=$key \
    as_compose run --service "$service" --root "$root" --image "$work/image.json" "${more[@]}" > "$work/server.log" 2>&1 &
  server=$!
}
inside() { as_compose exec --pid "$(first_process)" --image "$work/image.json" --env "CLAUDE_OPENAI_PORT=$port" --command "$@"; }

port=$(free_port)
contained claude-openai CLAUDE_OPENAI_DEMO=1
exercise
as_its_user
inside
echo "the HEALTHCHECK passes"
! inside env CLAUDE_OPENAI_PORT=1 /opt/claude-openai/bin/python -I /opt/claude-openai/healthcheck.py 2> /dev/null || fail "the HEALTHCHECK passes without a server"
inside sh -c 'set -e; [ "$(cat /proc/1/comm)" = tini ]; touch /workspace/x /tmp/x ~/x ~/.claude/x ~/.claude-openai/x; claude --version
  for place in /opt/claude-openai /usr ~/.config/claude; do
    if touch $place/x 2> /dev/null; then echo "$place can be written"; exit 1; fi
  done
  grep -E "^(CapEff|CapBnd|NoNewPrivs)" /proc/1/status'
stops "$work/server.log"

say "the login of the host's ~/.claude is the one Claude Code uses"
# In the place of Anthropic: a server that refuses everything, and notes who asks.
cat > "$work/upstream.py" << 'EOF'
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Refusing(BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.headers["Authorization"], flush=True)
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"type": "error", "error": {"type": "invalid_request_error", "message": "not today"}}'
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = HTTPServer(("127.0.0.1", 0), Refusing)
print(server.server_port, flush=True)
server.serve_forever()
EOF
/usr/bin/python3 "$work/upstream.py" > "$work/upstream.txt" 2> /dev/null &
upstream=$!
for _ in $(seq 100); do [ -s "$work/upstream.txt" ] || sleep 0.1; done
port=$(free_port)
contained claude-openai ANTHROPIC_BASE_URL="http://127.0.0.1:$(head -n 1 "$work/upstream.txt")"
until_healthy
echo
ask "{$hello}" -H "$with_key" | grep -F 'not today'
grep -m 1 -x 'Bearer sk-ant-oat01-of-the-host' "$work/upstream.txt"
stops "$work/server.log"

say "the service without-login needs no ~/.claude, for the demo and for an API key"
rm -rf "$work"/home/.claude "$work"/home/.config
port=$(free_port)
contained without-login CLAUDE_OPENAI_DEMO=1
until_healthy
ask "{$hello}" -H "$with_key" | grep -F '[demo]'
stops "$work/server.log"
port=$(free_port)
contained without-login ANTHROPIC_API_KEY=sk-ant-of-the-test ANTHROPIC_BASE_URL="http://127.0.0.1:$(head -n 1 "$work/upstream.txt")"
until_healthy
ask "{$hello}" -H "$with_key" | grep -F 'not today'
stops "$work/server.log"
[ ! -e "$work/home/.claude" ] || fail "~/.claude was made"

say "a replica of docker/replicas: all it can write to is memory; it ends as a lame duck"
port=$(free_port)
contained replica CLAUDE_OPENAI_DEMO=1 CLAUDE_OPENAI_API_KEY_FILE= CLAUDE_OPENAI_API_KEY=$key
until_healthy
echo
ask "{$hello}" -H "$with_key" | grep -F '[demo]'
as_its_user
stops "$work/server.log"
grep -F lame_duck "$work/server.log"

say "all checks passed; cleaning up"
