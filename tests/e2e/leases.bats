# shellcheck shell=bash
# Who holds what, and what becomes of a sandbox when somebody is in the way.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 1
	cd "$T/repo" || return
}

# torn: makes every layer one of an earlier boot that was never synced
torn() {
	python3 - "$JIB_ROOT"/.layers/*/layer.json <<'PY'
import json, sys
for path in sys.argv[1:]:
    with open(path) as file:
        record = json.load(file)
    record["boot"] = "00000000-another-boot"
    with open(path, "w") as file:
        json.dump(record, file)
PY
}

@test "a directory closed from inside changes neither the exit status nor what ls and rm say" {
	run -7 jib run one -q -- sh -c 'mkdir closed && chmod 000 closed; exit 7'
	[[ $(jib ls --json | json 'd[0]["state"]') == stopped ]]
	run -1 jib rm one
	[[ $output == *"holds changes"* ]]
	jib rm --force one
}

@test "a sandbox on a torn layer is refused, and keeps its changes; a new one makes the layer anew" {
	run -0 jib run one -q -- sh -c 'echo mine >mine.txt'
	torn
	run -125 jib run one -q -- true
	[[ $output == *"power failure"*"$JIB_ROOT/one/upper"* ]]
	[[ $(<"$JIB_ROOT/one/upper/repos/repo/mine.txt") == mine ]]
	run -0 jib run two -q --rm -- cat README.md
	[[ $output == $'one\ntwo' ]]
	run -0 jib run one -q -- cat mine.txt
	[[ $output == mine ]]
}

@test "a layer that a running sandbox uses is not made anew" {
	jib run one -q -d -- sleep 600
	torn
	run -125 jib run two -q -- true
	[[ $output == *"in use"*"jib ls"* ]]
	run -0 jib exec one -- cat README.md
	[[ $output == $'one\ntwo' ]]
	jib stop -t 1 one
	run -0 jib run two -q --rm -- true
}

@test "asking makes no store and changes no directory" {
	run -0 jib ls --json
	[[ $output == "[]" ]]
	run -1 jib show one
	[[ $output == *"there is no sandbox one"* ]]
	run -1 jib rm one
	[[ $output == *"there is no sandbox one"* ]]
	[[ ! -e $JIB_ROOT ]]
	mkdir -m 755 "$JIB_ROOT"
	run -0 jib ls
	run -1 jib rm one
	[[ $(stat -c %a "$JIB_ROOT") == 755 ]]
	[[ -z $(ls -A "$JIB_ROOT") ]]
}

@test "an ignored SIGCHLD and blocked signals of the parent do no harm" {
	run -3 python3 -c '
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
os.execv(os.environ["JIB"], ["jib", "run", "one", "-q", "--", "sh", "-c", "exit 3"])'
}

@test "TERM at any moment of a run without a name leaves nothing behind, or something that was said" {
	jib run -q --rm -- true
	local i
	for i in 0 2 4 6 8 10 12 14 16 20 25; do
		run timeout -s TERM "0.0$(printf %02d "$i")1" "$JIB" run -- true
		local left
		left=$(jib ls --json | json '" ".join(each["name"] for each in d)')
		[[ -z $left || $output == *"kept $left"* ]] || {
			echo "after $i ms: $left; $output"
			return 1
		}
		[[ -z $left ]] || jib rm --force "$left"
	done
}

@test "rm --force of a mounted and running sandbox stops nothing; joining it works" {
	if ! as_root; then
		jib new one -q
		run -1 jib mount one "$T"
		[[ $output == *"needs root"* ]]
		return
	fi
	jib run one -q -d -- sleep 600
	mkdir "$T/at"
	jib mount one "$T/at"
	run -1 jib rm --force one
	[[ $output == *"is mounted at $T/at"* ]]
	[[ $(jib ls --json | json 'd[0]["state"]') == running ]]
	run -0 jib run one -q -- cat README.md
	[[ $output == $'one\ntwo' ]]
	grep -F "$T/at " /proc/self/mountinfo | grep nosuid | grep -q nodev
	jib umount "$T/at"
	jib stop -t 1 one
}

@test "mount by root refuses a live sandbox of another user's store" {
	if ! as_root; then
		jib new one -q
		run -1 jib mount one "$T"
		[[ $output == *"needs root"* ]]
		return
	fi
	# Where the other user gets to, too.
	local outside
	outside=$(mktemp -d /var/tmp/store.XXXX)
	chmod 755 "$outside"
	JIB_ROOT=$outside/store
	jib new one --live -q
	chown -R 65534:65534 "$JIB_ROOT"
	mkdir "$T/at"
	run -1 jib mount one "$T/at"
	[[ $output == *"belongs to another user"* ]]
	run ! grep -F "$T/at" /proc/self/mountinfo
	rm -rf "$outside"
}

@test "a hint that is not UTF-8 is shown escaped in JSON" {
	export JIB_ROOT=$T/$'st\xffre'
	jib new one
	echo "{" >"$JIB_ROOT/one/sandbox.json"
	run -1 --separate-stderr jib rm one --json
	[[ $(json 'd["error"]["hint"]' <<<"$output") == *"st\\xffre/one/upper"* ]]
	jib rm --force one
}
