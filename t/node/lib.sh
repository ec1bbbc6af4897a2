# lib.sh - for tests that start real nodes: TAP, nodes in a temporary prefix, waiting for events. Sourced by the tests of t/node (bash).
#
#   node_make NAME [SEED...]      a prefix with configuration, secret and modules; its port is in ${port[NAME]}, its id in ${id[NAME]}
#   node_start NAME               in the foreground of a process group of its own; returns when it serves (its control socket answers)
#   ctl NAME ARGS...              noexctl of that node; ctl_out, ctl_err, ctl_status hold what came of it
#   wait_log NAME REGEX [S]       until a line of the node's log matches (from the mark set by log_mark, else from the beginning)
#   wait_until S COMMAND...       until the command succeeds; tried at each line of the node's log and 20 times a second
#   start_on NAME SLOT BEHAVIOR [ARGS...]   a server on that worker; its ref in $REPLY
#   figure NAME COUNTER           one figure of `noexctl stats`;  worker_stat NAME SLOT FIELD one of `noexctl workers`
#   quickly COMMAND...            succeeds if the command ends within a second, whatever it says
#   ok NAME COMMAND...            one test: passed if the command succeeds
#   is NAME GOT WANTED, like NAME GOT REGEX
#   skip NAME WHY                 one test that cannot run here
# Everything a test starts is ended and removed at its end; a test that leaves a process behind fails.
set -u
export LC_ALL=C
: "${NX_STAGE:?the staged installation; run through make check}" "${NX_BUILD:?}" "${NX_SRC:?}"
noexd=$NX_STAGE/sbin/noexd noexctl=$NX_STAGE/bin/noexctl
slow=1; [ "${NX_SANITIZE:-no}" = no ] || slow=5
work=$(mktemp -d "${TMPDIR:-/tmp}/noexd-t.XXXXXX") || exit 99
declare -A pid=() port=() id=() mark=()
spare=()
tap_n=0 tap_failed=0
ctl_out= ctl_err= ctl_status=0

ok() {
    local name=$1; shift
    tap_n=$((tap_n + 1))
    if "$@" >"$work/ok.out" 2>&1; then echo "ok $tap_n - $name"
    else echo "not ok $tap_n - $name"; echo "# failed: $*"; sed 's/^/# /' "$work/ok.out" | head -20; [ -z "$ctl_err$ctl_out" ] || echo "# last noexctl ($ctl_status): $ctl_out $ctl_err"; tap_failed=1; fi
}
is()   { ok "$1" test "$2" = "$3"; [ "$2" = "$3" ] || { echo "# got:    $2"; echo "# wanted: $3"; }; }
like() { if [[ $2 =~ $3 ]]; then ok "$1" true; else ok "$1" false; echo "# got:    $2"; echo "# wanted: $3"; fi; }
skip() { tap_n=$((tap_n + 1)); echo "ok $tap_n - $1 # SKIP $2"; }

finish() {
    local status=$? n
    for n in "${!pid[@]}"; do kill -KILL "-${pid[$n]}" 2>/dev/null; wait "${pid[$n]}" 2>/dev/null; done
    if [ $tap_failed != 0 ] || [ $status != 0 ]; then
        for n in "${!port[@]}"; do echo "# log of $n:"; tail -n 40 "$(log_of "$n")" 2>/dev/null | sed 's/^/#   /'; done
    fi
    # A sanitizer's report is a failure of its own, wherever it was written.
    if grep -qE 'ERROR: (Address|Leak|Thread|Undefined)|runtime error:|WARNING: ThreadSanitizer' "$work"/*/stderr "$work"/*/var/log/noexd/* 2>/dev/null; then
        tap_n=$((tap_n + 1)); echo "not ok $tap_n - no_sanitizer_report"; tap_failed=1
        grep -hE -A 25 'ERROR: (Address|Leak|Thread|Undefined)|runtime error:|WARNING: ThreadSanitizer' "$work"/*/stderr "$work"/*/var/log/noexd/* 2>/dev/null | head -60 | sed 's/^/# /'
    fi
    rm -rf "$work"
    echo "1..$tap_n"
    [ $status = 0 ] || exit $status
    exit $tap_failed
}
trap finish EXIT
trap 'exit 1' INT TERM

# A port that nobody listens on. Each test program has a range of its own.
next_port=$((10000 + ($$ % 1000) * 20))      # below the ports that the kernel hands out itself
free_port() { while (exec 3<>"/dev/tcp/127.0.0.1/$next_port") 2>/dev/null; do next_port=$((next_port + 1)); done; REPLY=$next_port; next_port=$((next_port + 1)); }

log_of() { echo "$work/$1/var/log/noexd/error.log"; }
sock_of() { echo "$work/$1/var/run/noexd/noexd.sock"; }

# node_make NAME [SEED NAME...]; extra text for the node section in $node_extra, for the file in $conf_extra, workers in $workers
node_make() {
    local name=$1 p=$work/$1 s seeds=; shift
    free_port; port[$name]=$REPLY; id[$name]=$name@127.0.0.1:$REPLY
    for s in "$@"; do seeds="$seeds${seeds:+, }\"${id[$s]}\""; done
    mkdir -p "$p/etc/noexd" "$p/lib/noexd/modules"
    cp "$NX_STAGE"/lib/noexd/modules/*.so "$p/lib/noexd/modules/" && cp "$NX_BUILD"/t/node/modules/*.so "$p/lib/noexd/modules/" || exit 99
    [ -e "$work/cluster.secret" ] || "$noexd" keygen "$work/cluster.secret" || exit 99
    cp -p "$work/cluster.secret" "$p/etc/noexd/"
    # Files younger than a second would be waited for; these have settled.
    touch -d '10 seconds ago' "$p"/lib/noexd/modules/*
    cat >"$p/etc/noexd/noexd.conf" <<CONF
daemon = off
worker_processes = ${workers:-2}
worker_cpu_affinity = ${affinity:-off}
link_cpu_affinity = ${affinity:-off}
log "error.log" { level = ${level:-info} }
node "$name" {
    listen = "127.0.0.1:${port[$name]}"
    ${seeds:+seeds = { $seeds \}}
    secret "main" { id = 1  file = "cluster.secret"  send = true }
    heartbeat_interval = ${heartbeat:-$((500 * slow))ms}
    reconnect_min = 100ms
    reconnect_max = 1s
    ${node_extra:-}
}
module "counter" { file = "counter.so" }
module "probe" { file = "probe.so" }
${conf_extra:-}
control { listen = "unix:noexd.sock" }
CONF
}

node_spawn() { setsid "$noexd" -p "$work/$1" </dev/null >"$work/$1/stdout" 2>"$work/$1/stderr" & pid[$1]=$!; }
node_serves() { "$noexctl" -s "$(sock_of "$1")" status >/dev/null 2>&1; }
node_start() {
    node_spawn "$1"
    wait_until 15 node_serves "$1" || { echo "# node $1 did not start"; cat "$work/$1/stderr" "$(log_of "$1")" | sed 's/^/# /'; exit 1; }
}
node_gone() { ! kill -0 "$1" 2>/dev/null; }
# node_stop NAME [SIGNAL]: returns the master's exit status
node_stop() {
    local p=${pid[$1]} status
    kill "-${2:-TERM}" "$p" 2>/dev/null
    wait_until 35 node_ended "$p" || { echo "# node $1 did not end"; return 99; }
    wait "$p"; status=$?
    unset "pid[$1]"
    return $status
}
node_ended() { [ ! -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }
# No process of that session is left.
session_empty() { [ -z "$(ps -o pid= -s "$1" 2>/dev/null | tr -d ' ')" ]; }

ctl() {
    local name=$1; shift
    ctl_out=$("$noexctl" -s "$(sock_of "$name")" "$@" 2>"$work/ctl.err"); ctl_status=$?
    ctl_err=$(cat "$work/ctl.err")
    return $ctl_status
}
# field JSON NAME: the first value of that name in compact JSON
field() { sed -n "s/.*\"$2\":\"\{0,1\}\([^,\"}]*\).*/\1/p" <<<"$1" | head -1; }

slot_of() { sed 's|.*/\([0-9]*\)\.[0-9]*\.[0-9]*$|\1|' <<<"$1"; }
start_on() {
    local name=$1 slot=$2 i; shift 2
    for i in {1..64}; do
        ctl "$name" start "$@" || return 1
        [ "$(slot_of "$ctl_out")" != "$slot" ] || { REPLY=$ctl_out; return 0; }
        spare+=("$ctl_out")           # where the next one goes depends on how many there are
    done
    return 1
}
figure() { "$noexctl" -s "$(sock_of "$1")" stats --json | sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p"; }
figure_is() { [ "$(figure "$1" "$2")" = "$3" ]; }
worker_stat() { "$noexctl" -s "$(sock_of "$1")" workers --json | sed 's/},{/}\n{/g' | sed -n "/\"slot\":$2,/s/.*\"$3\":\([0-9]*\).*/\1/p"; }
worker_stat_is() { [ "$(worker_stat "$1" "$2" "$3")" = "$4" ]; }
# Bounds for what must not wait for its timeout, all of which are many times longer.
quickly() { local t=${EPOCHREALTIME/./}; "$@"; t=$((${EPOCHREALTIME/./} - t)); [ $t -lt $((1000000 * slow)) ] || { echo "took $t us"; return 1; }; }

log_mark() { mark[$1]=$(wc -l <"$(log_of "$1")" 2>/dev/null || echo 0); }
log_has() { tail -n "+$((${mark[$1]:-0} + 1))" "$(log_of "$1")" 2>/dev/null | grep -qE -- "$2"; }
wait_log() { wait_until "${3:-10}" log_has "$1" "$2"; }

wait_until() {
    local limit=$(($1 * slow)) end; shift
    end=$((SECONDS + limit + 1))
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        read -r -t 0.05 <> <(:) || :
    done
}

# The process that runs a worker, the link worker or the gate of a node: child NAME "worker 0"
child() { ps -o pid=,args= --ppid "${pid[$1]}" | sed -n "s/^ *\([0-9]*\) noexd: $2\$/\1/p"; }
is_connected() { ctl "$1" nodes --json && grep -qE "\"id\":\"${id[$2]}\"[^}]*\"status\":\"up\"|\"status\":\"up\"[^}]*\"id\":\"${id[$2]}\"" <<<"$ctl_out"; }
wait_connected() { wait_until 10 is_connected "$1" "$2" && wait_until 10 is_connected "$2" "$1"; }
