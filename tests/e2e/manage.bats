# shellcheck shell=bash
# new, ls, show, rm, doctor, mount and umount.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 1
	cd "$T/repo" || return
}

# holds EXPRESSION: a Python expression over d, the JSON in $output
holds() {
	[[ $(json "$1" <<<"$output") == true ]] || {
		echo "not so: $1"
		echo "$output"
		return 1
	}
}

# is_error CODE WORDS: $output is the JSON of an error
is_error() {
	holds 'list(d) == ["error"] and {"code", "message"} <= set(d["error"]) <= {"code", "message", "hint"}'
	[[ $(json 'd["error"]["code"]' <<<"$output") == "$1" ]]
	[[ $(json 'd["error"]["message"]' <<<"$output") == *"$2"* ]]
}

# A record as house.md 8 has it.
fields='set(d) >= {"name", "state", "view", "engine", "created", "repos", "disk_bytes", "unpersisted"}'

# ---- new ----

@test "new prints the name; it can be run; a second one of the name is refused" {
	run -0 --separate-stderr jib new one
	[[ $output == one ]]
	run -1 --separate-stderr jib new one
	[[ -z $output && $stderr == *"there is a sandbox one already"* ]]
	[[ $("$JIB" run one -q -- cat README.md) == $'one\ntwo' ]]
}

@test "new --json is the object of show --json" {
	run -0 --separate-stderr jib new one --json
	holds "$fields"
	[[ $output == "$("$JIB" show one --json)" ]]
	run -1 --separate-stderr jib new one --json
	is_error exists "there is a sandbox one already"
}

# ---- show and ls ----

@test "show --json, field by field" {
	make_repo "$T/other" 1
	git -C "$T/other" checkout -q --detach
	local before after
	before=$(date -u +%s)
	jib new one --repo . --repo "$T/other"
	after=$(date -u +%s)
	run -0 --separate-stderr jib show one --json
	holds "$fields"
	holds 'd["name"] == "one"'
	holds 'd["state"] == "created"'
	holds 'd["view"] == "overlay"'
	holds 'd["engine"] == "native"'
	holds 'd["unpersisted"] is False'
	holds 'type(d["disk_bytes"]) is int and 0 < d["disk_bytes"] <= 131072'
	holds "$before <= __import__('datetime').datetime.strptime(d['created'], '%Y-%m-%dT%H:%M:%S%z').timestamp() <= $after"
	holds 'len(d["repos"]) == 2 and all(set(r) >= {"name", "host", "path", "base", "branch"} for r in d["repos"])'
	holds "d['repos'][0] == {'name': 'repo', 'host': '$T/repo', 'path': '$T/repo', 'base': '$(git rev-parse HEAD)', 'branch': 'main'}"
	holds "d['repos'][1] == {'name': 'other', 'host': '$T/other', 'path': '$T/other', 'base': '$(git -C "$T/other" rev-parse HEAD)', 'branch': None}"
}

@test "show: disk and changes grow with what is written" {
	jib new one
	local before
	before=$("$JIB" show one --json | json 'd["disk_bytes"]')
	jib run one -q -- sh -c 'head -c 1048576 /dev/urandom >big; git branch other; echo a >~/a'
	run -0 --separate-stderr jib show one --json
	holds "d['disk_bytes'] >= $before + 1048576"
	holds 'd["unpersisted"] is True'
	holds 'd["changes"]["tree"] == 1 and d["changes"]["git"] >= 1 and d["changes"]["home"] == 1'
	run -0 jib show one
	[[ $output == *"1 in work trees, "*" in git dirs, 1 in the home"* ]]
}

@test "show: the states created, running, stopped" {
	jib new one
	[[ $("$JIB" show one --json | json 'd["state"]') == created ]]
	jib run one -q -d -- sleep 1000 3>&-
	[[ $("$JIB" show one --json | json 'd["state"]') == running ]]
	jib stop one
	[[ $("$JIB" show one --json | json 'd["state"]') == stopped ]]
}

@test "show without --json says the same in words" {
	jib new one
	run -0 --separate-stderr jib show one
	[[ $output =~ name\ +one$'\n' && $output =~ state\ +created$'\n' ]]
	[[ $output == *"$(git rev-parse HEAD)"* && $output == *"$T/repo"* && $output == *main* ]]
	[[ $output == *"$JIB_ROOT/one"* ]]
}

@test "ls: empty, then sorted, as text and as an array of the objects of show" {
	[[ $("$JIB" ls --json) == "[]" ]]
	jib new two
	jib new one
	run -0 --separate-stderr jib ls --json
	holds '[each["name"] for each in d] == ["one", "two"]'
	[[ $(json 'd[0]' <<<"$output") == "$("$JIB" show one --json | json d)" ]]
	run -0 jib ls
	[[ ${lines[0]} == NAME*STATE*AGE*DISK*WORK*BASE ]]
	[[ ${lines[1]} =~ ^one\ +created\ .*\ none\ +main@$(git rev-parse --short=12 HEAD)$ ]]
	[[ ${lines[2]} == two* && ${#lines[@]} == 3 ]]
}

@test "a repository without commits: base is null" {
	git init -q "$T/empty"
	run -0 --separate-stderr jib new one --repo "$T/empty" --json
	holds 'd["repos"][0]["base"] is None and d["repos"][0]["branch"] == "main"'
}

@test "what is not there: an error as text and as JSON" {
	run -1 --separate-stderr jib show nobody
	[[ -z $output && $stderr == *"there is no sandbox nobody"*"jib ls"* ]]
	run -1 --separate-stderr jib show nobody --json
	is_error not-found "there is no sandbox nobody"
	holds '"jib ls" in d["error"]["hint"]'
	[[ -z $stderr ]]
	run -2 --separate-stderr jib show --json
	is_error usage "needs more"
	run -2 --separate-stderr jib ls --json --frob
	is_error usage "--frob"
}

# ---- broken ----

@test "a broken sandbox.json: ls goes on, show says what, run refuses, rm --force removes" {
	local text
	jib new one
	jib new two
	for text in '' '{' '[]' '{"schema": 1}' '{"schema": 99, "view": "overlay", "xattr": "user"}'; do
		printf '%s' "$text" >"$JIB_ROOT/one/sandbox.json"
		run -0 --separate-stderr jib ls --json
		holds '[(each["name"], each["state"]) for each in d] == [("one", "broken"), ("two", "created")]'
		run -0 --separate-stderr jib show one --json
		holds "$fields"
		holds 'd["state"] == "broken" and "the sandbox one is broken" in d["problem"]'
		run -125 --separate-stderr jib run one -- true
		[[ $stderr == *"the sandbox one is broken"*"$JIB_ROOT/one/upper"*"jib rm --force one"* ]]
		run -1 --separate-stderr jib rm one
		[[ $stderr == *"the sandbox one is broken"* ]]
	done
	jib rm --force one
	[[ $("$JIB" ls --json | json 'len(d)') == 1 ]]
	rm "$JIB_ROOT/two/sandbox.json"
	[[ $("$JIB" ls --json | json 'd[0]["state"]') == broken ]]
	jib rm --force two
	[[ $("$JIB" ls --json) == "[]" ]]
}

@test "a record cannot lead out: names and layers with slashes are not understood" {
	jib run one -q -- sh -c 'echo change >new'
	python3 - "$JIB_ROOT/one/sandbox.json" <<'PY'
import json, sys
record = json.load(open(sys.argv[1]))
record["repos"][0]["name"] = "../../../repo"
json.dump(record, open(sys.argv[1], "w"))
PY
	run -125 --separate-stderr jib run one -- true
	[[ $stderr == *"cannot be understood"* ]]
}

@test "rm -rf of a sandbox's directory is a way to delete it" {
	jib run one -q -- sh -c 'echo change >new'
	jib run two -q -- sh -c 'echo change >new'
	as_root || chmod -R u+rwX "$JIB_ROOT/one"
	rm -rf "$JIB_ROOT/one"
	[[ $("$JIB" ls --json | json '[each["name"] for each in d]') == '["two"]' ]]
	[[ $("$JIB" run two -q -- cat new) == change ]]
	[[ $("$JIB" run one -q --rm -- cat README.md) == $'one\ntwo' ]]
	git fsck --strict
}

# ---- rm ----

@test "rm removes one that is unchanged, and leaves nothing of it" {
	jib new one
	run -0 --separate-stderr jib rm one
	[[ -z $output && -z $stderr ]]
	[[ ! -e $JIB_ROOT/one && -z $(ls "$JIB_ROOT/.tmp") ]]
}

@test "rm refuses one with changes, --force removes it" {
	jib run one -q -- sh -c 'echo change >new'
	run -1 --separate-stderr jib rm one
	[[ $stderr == *"the sandbox one holds changes that exist nowhere else"*"jib rm --force one"* ]]
	run -1 --separate-stderr jib rm one --json
	is_error unpersisted "the sandbox one holds changes"
	[[ $("$JIB" run one -q -- cat new) == change ]]
	run -0 --separate-stderr jib rm -f one --json
	[[ $(json d <<<"$output") == '["one"]' ]]
	[[ ! -e $JIB_ROOT/one ]]
}

@test "rm refuses one that is running, --force stops and removes it" {
	jib run one -q -d -- sleep 1000 3>&-
	run -1 --separate-stderr jib rm one
	[[ $stderr == *"the sandbox one is running"*"jib stop one"* ]]
	run -1 --separate-stderr jib rm one --json
	is_error running "the sandbox one is running"
	[[ $("$JIB" exec one -- echo still) == still ]]
	jib rm --force one
	[[ ! -e $JIB_ROOT/one && -z $(ls "$JIB_ROOT/.tmp") ]]
}

@test "rm of several removes what it can, and fails for the rest" {
	jib new one
	jib new three
	run -1 --separate-stderr jib rm one two three
	[[ $stderr == *"there is no sandbox two"* ]]
	[[ $("$JIB" ls --json) == "[]" ]]
}

@test "rm takes no name that leads out of the store" {
	mkdir "$T/outside"
	jib new one
	local each
	for each in ../outside .layers .tmp . .. /; do
		run -1 --separate-stderr jib rm --force "$each"
		[[ $stderr == *"is no sandbox name"* ]]
	done
	[[ -d $T/outside && -d $JIB_ROOT/.layers && -d $JIB_ROOT/.tmp ]]
}

# ---- doctor ----

@test "doctor: what works here, as text and as JSON" {
	run -0 --separate-stderr jib doctor --json
	holds 'd["ok"] is True'
	holds 'all(set(c) >= {"name", "state", "found", "needed_for", "remedy"} for c in d["checks"])'
	holds 'len({c["name"] for c in d["checks"]}) == len(d["checks"])'
	holds '{"kernel", "user-namespaces", "overlayfs", "overlay-upper", "seccomp", "git", "root"} <= {c["name"] for c in d["checks"]}'
	holds 'all(c["found"] and c["needed_for"] for c in d["checks"])'
	# What does not work comes with its remedy.
	holds 'all(c["remedy"] for c in d["checks"] if c["state"] != "ok")'
	run -0 --separate-stderr jib doctor
	[[ ${lines[0]} == STATE*CHECK*NEEDED*FOUND ]]
	[[ $output == *"jib works here."* ]]
}

@test "doctor: a root that cannot hold sandboxes fails, with the remedy" {
	JIB_ROOT=/proc/self/store run -1 --separate-stderr jib doctor --json
	holds 'd["ok"] is False'
	holds 'any(c["state"] == "failed" or c["state"] == "missing" for c in d["checks"])'
	holds 'all(c["remedy"] for c in d["checks"] if c["state"] != "ok")'
	JIB_ROOT=/proc/self/store run -1 --separate-stderr jib doctor
	[[ $output == *"jib does not work here"* && $output == *"remedy: "* ]]
}

@test "doctor: --repo of what is no repository" {
	mkdir "$T/plain"
	run -1 --separate-stderr jib doctor --repo "$T/plain" --json
	is_error not-a-repository "$T/plain is not a repository"
}

# ---- mount and umount: for root; without, the refusal ----

# mounting_is_refused: what there is to test without root
mounting_is_refused() {
	mkdir "$T/at"
	run -1 --separate-stderr jib mount one "$T/at"
	[[ $stderr == *"mounting on the host's file system needs root"*sudo* ]]
	run -1 --separate-stderr jib umount "$T/at"
	[[ $stderr == *"unmounting from the host's file system needs root"*sudo* ]]
	[[ -z $(ls -A "$T/at") ]]
}

@test "mount: the files of a resting sandbox, with its changes; run and rm refuse meanwhile" {
	jib run one -q -- sh -c 'echo change >new; rm tool.sh; echo three >>README.md'
	if ! as_root; then
		mounting_is_refused
		return
	fi
	mkdir "$T/at"
	run -0 --separate-stderr jib mount one "$T/at"
	[[ $stderr == *"the git directory of one is not shown"* ]]
	[[ $(<"$T/at/new") == change && ! -e $T/at/tool.sh ]]
	[[ $(<"$T/at/README.md") == $'one\ntwo\nthree' ]]
	[[ ! -e $T/at/.git/HEAD ]]
	run -125 --separate-stderr jib run one -- true
	[[ $stderr == *"the sandbox one is mounted at $T/at"*"umount $T/at"* ]]
	run -125 --separate-stderr jib exec one -- true
	[[ $stderr == *"the sandbox one is mounted at $T/at"* ]]
	run -1 --separate-stderr jib rm --force one
	[[ $stderr == *"the sandbox one is mounted at $T/at"* ]]
	mkdir "$T/again"
	run -1 --separate-stderr jib mount one "$T/again"
	[[ $stderr == *"the sandbox one is mounted at $T/at"* ]]
	run -0 --separate-stderr jib umount "$T/at"
	[[ -z $(ls -A "$T/at") ]]
	[[ $("$JIB" run one -q -- cat new) == change ]]
}

@test "mount: what is written there on the host is the sandbox's" {
	jib new one
	if ! as_root; then
		mounting_is_refused
		return
	fi
	mkdir "$T/at"
	jib mount one "$T/at"
	echo host >"$T/at/from-host"
	jib umount "$T/at"
	[[ $("$JIB" run one -q -- cat from-host) == host ]]
	[[ ! -e from-host ]]
}

@test "mount: of a running sandbox its live view" {
	mkfifo "$T/go"
	jib run one -q -d --bind "$T/go:/go" -- \
		sh -c 'echo change >new; echo ready; read word </go; echo "$word" >later; exec sleep 1000' 3>&-
	wait_for jib exec one -- test -e new
	if ! as_root; then
		mounting_is_refused
		return
	fi
	mkdir "$T/at"
	jib mount one "$T/at"
	[[ $(<"$T/at/new") == change && ! -e $T/at/later ]]
	echo word >"$T/go"
	wait_for test -s "$T/at/later"
	[[ $(<"$T/at/later") == word ]]
	jib umount "$T/at"
	[[ $("$JIB" exec one -- cat later) == word ]]
	jib stop one
	[[ $("$JIB" run one -q -- cat later) == word ]]
}

@test "mount: several repositories are directories of their names" {
	make_repo "$T/other" 1
	jib run one -q --repo . --repo "$T/other" -- sh -c "echo a >new; echo b >'$T/other/new'"
	if ! as_root; then
		mounting_is_refused
		return
	fi
	mkdir "$T/at"
	jib mount one "$T/at"
	[[ $(<"$T/at/repo/new") == a && $(<"$T/at/other/new") == b ]]
	[[ $(ls "$T/at") == $'other\nrepo' ]]
	jib umount "$T/at"
	run ! grep -F "$T/at" /proc/self/mountinfo
	jib run one -q -- true
}

@test "mount and umount: what cannot be meant" {
	jib new one
	if ! as_root; then
		mounting_is_refused
		return
	fi
	mkdir "$T/at" "$T/full"
	touch "$T/full/file"
	run -1 --separate-stderr jib mount nobody "$T/at"
	[[ $stderr == *"there is no sandbox nobody"* ]]
	run -2 --separate-stderr jib mount one "$T/full"
	[[ $stderr == *"$T/full is not empty"* ]]
	run -1 --separate-stderr jib mount one "$T/none"
	[[ $stderr == *"$T/none: No such file"* ]]
	run -1 --separate-stderr jib umount "$T/at"
	[[ $stderr == *"no sandbox is mounted at $T/at"* ]]
	run -2 --separate-stderr jib mount one
	run ! grep -F "$T/at" /proc/self/mountinfo
}

# ---- the rest of the table ----

@test "help: of jib, of each command, and the version" {
	run -0 --separate-stderr jib --help
	[[ $output == *"jib run [NAME] [options] [-- CMD...]"* ]]
	run -0 --separate-stderr jib --version
	[[ $output =~ ^jib\ [0-9] ]]
	local each
	for each in $("$JIB" --table | awk -F'\t' '$1 == "command" { print $2 }'); do
		run -0 --separate-stderr jib "$each" --help
		[[ ${lines[0]} == "jib $each "* && -z $stderr ]]
		run -0 --separate-stderr jib help "$each"
		[[ ${lines[0]} == "jib $each "* ]]
	done
	run -2 --separate-stderr jib
	[[ $output == *"jib run"* ]]
}

@test "an output that cannot be written is an error" {
	run -1 bash -c '"$JIB" ls >/dev/full'
	[[ $output == *"cannot write to standard output: No space left on device"* ]]
	run -1 bash -c '"$JIB" --version >/dev/full'
	[[ $output == *"cannot write to standard output"* ]]
}
