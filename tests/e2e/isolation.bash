# shellcheck shell=bash
# What the isolation tests have in common, on top of helpers.bash: `load isolation`.

load helpers

setup() {
	isolation_setup
}

# A repository at $R, which is the current directory; the attacks' sources in $attacks.
isolation_setup() {
	jib_setup || return
	attacks=$BATS_TEST_DIRNAME/src
	R=$T/repo
	make_repo "$R" 3
	cd "$R" || return
}

# sandboxed [OPTION...] -- CMD...: in a new sandbox that is gone afterwards. /attack is there.
sandboxed() {
	"$JIB" run -q --rm --bind "$attacks:/attack" --env PYTHONPATH=/attack "$@"
}

# attack [OPTION...]: the Python program on stdin, in a new sandbox
attack() {
	sandboxed "$@" -- python3 -
}

# in_sandbox NAME [OPTION...] -- CMD...: in the one of this name, which stays
in_sandbox() {
	"$JIB" run "$1" -q --bind "$attacks:/attack" --env PYTHONPATH=/attack "${@:2}"
}

# on_host: the Python program on stdin, outside; it has the same module attack
on_host() {
	PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$attacks python3 - "$@"
}

# compile NAME: the program of src/NAME.c at $T/tools/NAME
compile() {
	mkdir -p "$T/tools"
	cc -O1 -Wall -D_GNU_SOURCE -o "$T/tools/$1" "$attacks/$1.c"
}

# denied_everywhere THREAT: its system calls fail in a sandbox, through each ABI of the machine
denied_everywhere() {
	local abi expected
	compile syscalls
	for abi in native i386 x32; do
		# A machine without an ABI has none inside either: status 3.
		expected=0
		sandboxed --bind "$T/tools:/tools" -- /tools/syscalls "$abi" "$1" >"$T/out" ||
			expected=$?
		echo "$1 through $abi: status $expected"
		cat "$T/out"
		if [[ $expected == 3 ]]; then
			run -3 "$T/tools/syscalls" "$abi" "$1"
		else
			[[ $expected == 0 ]]
			grep -Eq '^[1-9][0-9]* denied$' "$T/out"
		fi
	done
}

# state NAME: as `jib show` says it
state() {
	"$JIB" show "$1" --json | json 'd["state"]'
}

# is_running NAME
is_running() {
	[[ $(state "$1") == running ]]
}

is_stopped() {
	[[ $(state "$1") == stopped ]]
}

# host_pids MARK: the processes of a sandbox that was started with --env MARK, as the host sees them
host_pids() {
	grep -lszxF "$1" /proc/[0-9]*/environ | cut -d/ -f3
}
