# shellcheck shell=bash
# Layers that nobody uses: gone with their last user, or with `jib gc`; never one in use.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 5
	cd "$T/repo" || return
}

layers() {
	find "$JIB_ROOT/.layers" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort
}

# count_layers: how many there are, but for what is not committed: files as young as the host's index
# may be carried, for their times
count_layers() {
	layers | grep -vc '^local-'
}

# next_base: what is created next stands on layers of its own
next_base() {
	echo "${1:-more}" >>README.md
	git commit -qam "${1:-more}"
}

# reads NAME TEXT: its files are there, and its git works
reads() {
	[[ $(jib run "$1" -q -- sh -euc 'cat README.md; git status --porcelain; git fsck --strict' \
		</dev/null 2>&1) == "$2" ]]
}

swept() {
	[[ -z $(ls -A "$JIB_ROOT/.tmp") ]]
}

# swept_by_next: what a killed command has started takes a moment to die; until then it holds a lock
swept_by_next() {
	jib ls >/dev/null
	swept
}

@test "rm of the last user removes the layers, rm of another one does not" {
	jib new one -q
	jib new two -q
	[[ $(count_layers) == 2 ]]
	jib rm one
	[[ $(count_layers) == 2 ]]
	reads two $'one\ntwo'
	jib rm two
	[[ $(count_layers) == 0 ]]
	swept
}

@test "rm removes the layers of what it removed and no others" {
	jib run -q --rm -- true
	unused=$(layers)
	next_base
	jib new one -q
	jib new two -q
	[[ $(count_layers) == 4 ]]
	run -0 jib rm --json one two
	[[ $output == $'[\n  "one",\n  "two"\n]' ]]
	# The files of the first commit were below those of the second; nobody has used its git dir.
	[[ $(layers) == "$(grep '^git-' <<<"$unused")" ]]
}

@test "a run leaves its tree and git layers for the next one, and gc removes them" {
	jib run -q --rm -- true
	jib run -q -- true
	[[ $(jib ls --json) == "[]" ]]
	[[ $(count_layers) == 2 ]]
	run -0 jib gc
	[[ $output == *"2 layers removed, "* ]]
	[[ $(count_layers) == 0 ]]
	run -0 jib gc
	[[ $output == "0 layers removed, 0 KiB" ]]
}

@test "gc keeps what sandboxes stand on, also a live one" {
	jib new one -q
	jib new live -q --live
	kept=$(layers)
	next_base
	jib run -q --rm -- true
	[[ $(count_layers) == 5 ]]
	jib gc
	[[ $(layers) == "$kept" ]]
	reads one $'one\ntwo'
	reads live $'one\ntwo\nmore'
}

@test "a running sandbox keeps its layers, even when its directory is removed" {
	jib run one -q -d -- sh -c 'while [ ! -e /tmp/end ]; do sleep 0.02; done; cat README.md'
	jib gc
	reads_running() { jib exec one -- cat README.md </dev/null; }
	[[ $(reads_running) == $'one\ntwo' ]]
	mv "$JIB_ROOT/one" "$T/away"
	run -0 jib gc
	[[ $output == *"kept: in use"*"0 layers removed"* ]]
	[[ $(count_layers) == 2 ]]
	mv "$T/away" "$JIB_ROOT/one"
	[[ $(reads_running) == $'one\ntwo' ]]
	jib rm --force one
	[[ $(count_layers) == 0 ]]
}

@test "a broken record: nothing is removed, and it says which" {
	jib run -q --rm -- true
	next_base
	jib new one -q
	jib new two -q
	echo nonsense >"$JIB_ROOT/two/sandbox.json"
	run -1 jib gc
	[[ $output == *"nothing is removed"*"sandbox two is broken"*"jib rm --force two"* ]]
	run -1 jib gc --json
	[[ $(json 'd["error"]["code"]' <<<"$output") == corrupt ]]
	# A sandbox is removed all the same.
	run -0 jib rm one
	[[ $output == *"no layer is removed"*"sandbox two is broken"* ]]
	[[ $(count_layers) == 4 ]]
	jib rm --force two
	jib gc
	[[ $(count_layers) == 0 ]]
}

@test "--dry-run removes nothing, --json says what and how much" {
	jib run -q --rm -- true
	before=$(layers)
	run -0 jib gc --dry-run
	[[ $output == *"would be removed"* ]]
	run -0 jib gc -n --json
	[[ $(layers) == "$before" ]]
	[[ $(json 'sorted(d)' <<<"$output") == '["bytes", "dry_run", "kept", "removed"]' ]]
	[[ $(json 'd["dry_run"]' <<<"$output") == true ]]
	[[ $(json '"\n".join(sorted(l["layer"] for l in d["removed"]))' <<<"$output") == "$before" ]]
	[[ $(json 'd["bytes"] == sum(l["bytes"] for l in d["removed"]) > 0' <<<"$output") == true ]]
	run -0 jib gc --json
	[[ $(json 'd["dry_run"]' <<<"$output") == false ]]
	[[ $(json 'len(d["removed"])' <<<"$output") == 2 ]]
	[[ $(count_layers) == 0 ]]
	run -0 jib gc --json
	[[ $(json '[d["removed"], d["kept"], d["bytes"]]' <<<"$output") == '[[], [], 0]' ]]
}

@test "a store that does not exist is not made" {
	run -0 jib gc
	[[ $output == "0 layers removed, 0 KiB" ]]
	[[ ! -e $JIB_ROOT ]]
	run -0 jib gc --json
	[[ ! -e $JIB_ROOT ]]
}

@test "the layer of uncommitted work goes with its last sandbox, at the end of a run too" {
	local local=$JIB_ROOT/.layers/local-1
	for name in one two; do
		jib new "$name" -q
		sed -i 's/"local": null/"local": "local-1"/' "$JIB_ROOT/$name/sandbox.json"
	done
	mkdir -p "$local/tree"
	echo '{"kind": "local"}' >"$local/layer.json"
	jib run one -q --rm -- true
	[[ -d $local ]]
	jib run two -q --rm -- true
	[[ ! -e $local ]]
	[[ $(count_layers) == 2 ]]
}

@test "directories without permissions are removed, names that begin with a dot are not" {
	jib run -q --rm -- true
	mkdir -p "$JIB_ROOT"/.layers/{.seen,tree-1/tree/closed/inner}
	chmod 000 "$JIB_ROOT/.layers/tree-1/tree/closed"
	jib gc
	[[ $(layers) == .seen ]]
	swept
}

@test "a full disk, where no directory can be made, can be freed" {
	jib run -q --rm -- true
	# The first two are .layers and .tmp, which are there.
	run -0 strace -qq -o /dev/null -e trace=mkdirat -e inject=mkdirat:error=ENOSPC:when=3+ \
		"$JIB" gc --json
	[[ $(json '[len(d["removed"]), d["bytes"] > 0, d["kept"]]' <<<"$output") == '[2, true, []]' ]]
	[[ $(count_layers) == 0 ]]
	swept
}

@test "what is mounted below a layer is left alone" {
	jib run -q --rm -- true
	mkdir "$JIB_ROOT/.layers/tree-1" "$JIB_ROOT/.layers/tree-1/mounted"
	before=$(host_hash "$T/repo")
	options=(-m)
	as_root || options=(-rm)
	run -0 unshare "${options[@]}" sh -euc '
		mount --bind "$T/repo" "$JIB_ROOT/.layers/tree-1/mounted"
		"$JIB" gc --json'
	[[ $(json '[[l["layer"], "mounted" in l["reason"]] for l in d["kept"]]' <<<"$output") == \
		'[["tree-1", true]]' ]]
	[[ $(host_hash "$T/repo") == "$before" ]]
	# Now nothing is, and what was left goes.
	jib gc
	[[ $(count_layers) == 0 ]]
	swept
}

# collecting: gc, over and over, until $T/end is there
collecting() {
	until [[ -e $T/end ]]; do
		"$JIB" gc >/dev/null || return
	done
}

# creating NAME: a sandbox, used and removed, as often as it takes
creating() {
	local i
	for ((i = 0; i < 50; i++)); do
		"$JIB" new "$1" -q >/dev/null || return
		reads "$1" "$2" || return
		"$JIB" rm "$1" || return
		# Made, used and removed in one
		[[ $("$JIB" run -q --rm -- cat README.md </dev/null) == "$2" ]] || return
	done
}

@test "creations that race gc and rm: each ends in a sandbox that can be used" {
	jib new kept -q
	next_base
	local pids=() pid
	collecting &
	collector=$!
	creating one $'one\ntwo\nmore' &
	pids+=($!)
	creating two $'one\ntwo\nmore' &
	pids+=($!)
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
	touch "$T/end"
	wait "$collector"
	reads kept $'one\ntwo'
	[[ $(count_layers) == 2 ]]
	swept
}

@test "SIGKILL of gc after increasing times: the next one finishes what it has begun" {
	jib new kept -q
	kept=$(layers)
	for ((i = 0; i < 40; i++)); do
		next_base "$i"
		jib run -q --rm -- true
		timeout -s KILL "0.$(printf %03d $((i % 20 + 1)))" "$JIB" gc >/dev/null || true
		if ((i % 8 == 7)); then
			jib gc
			[[ $(layers) == "$kept" ]]
			wait_for swept_by_next
		fi
	done
	reads kept $'one\ntwo'
}

# ---- sandboxes ----

# gone NAME...: are they not there any more, and nothing of them?
gone() {
	local name
	for name; do
		[[ ! -e $JIB_ROOT/$name ]] || return
	done
	swept
}

# removed [OPTION...]: the sandboxes that gc says it removes, and why
removed() {
	jib gc --json "$@" | json '" ".join(i["sandbox"] + ":" + i["reason"].split()[0] for i in d["removed"] if i["what"] == "sandbox")'
}

# kept [OPTION...]: those that it says it keeps
kept() {
	jib gc --json "$@" | json '" ".join(i["sandbox"] for i in d["kept"] if i["what"] == "sandbox")'
}

# note_persisted NAME BRANCH: what `jib persist` notes when the host's branch has all of its work
note_persisted() {
	python3 - "$JIB_ROOT/$1" "$2" "$T/repo" "$(git rev-parse "$2")" <<'PY'
import hashlib, json, os, struct, sys

top, branch, host, oid = sys.argv[1:]
record = json.load(open(f"{top}/sandbox.json"))
repo = record["repos"][0]

def part(data):
    return struct.pack("<Q", len(data)) + data

def opaque(path):
    try:
        return os.getxattr(path, "user.overlay.opaque", follow_symlinks=False) == b"y"
    except OSError:
        return False

digests = []
for kind in ("repos", "git"):
    start = f"upper/{kind}/repo"
    for at, dirs, files in os.walk(f"{top}/{start}"):
        for name in dirs + files:
            path = os.path.relpath(os.path.join(at, name), top)
            st = os.lstat(f"{top}/{path}")
            is_dir = name in dirs
            if kind == "git" and path == f"{start}/index":
                continue
            times = [0] * 4 if is_dir else [st.st_ctime_ns // 10**9, st.st_ctime_ns % 10**9,
                                            st.st_mtime_ns // 10**9, st.st_mtime_ns % 10**9]
            facts = struct.pack("<QQQqqqq", st.st_ino, st.st_mode, 0 if is_dir else st.st_size, *times)
            mark = bytes([is_dir and opaque(f"{top}/{path}")])
            digests.append(hashlib.sha256(part(path.encode()) + part(facts) + part(mark)).digest())
whole = hashlib.sha256(part(b"work 1"))
for layer in [repo["local"], repo["modules"], *repo["tree"], *repo["git"]]:
    if layer:
        whole.update(part(layer.encode()))
whole.update(part(b"".join(sorted(digests))))
memo = {"schema": 1, "fingerprint": "work-" + whole.hexdigest()[:40], "repos": [
    {"name": "repo", "host": host, "applied": False,
     "refs": [{"ref": f"refs/heads/{branch}", "oid": oid}]}]}
with open(f"{top}/persisted.json", "w") as file:
    json.dump(memo, file)
PY
}

# work NAME: none, persisted or unpersisted, as ls and show say it
work() {
	local said
	said=$(jib show "$1" --json | json 'd["work"]')
	[[ $said == "$(jib ls --json | json "[s['work'] for s in d if s['name'] == '$1'][0]")" ]] &&
		echo "$said"
}

@test "gc removes sandboxes without changes, never one that is about to be used" {
	jib new unused -q
	jib new looked -q
	jib run looked -q -- git status
	jib run worked -q -- sh -c 'echo more >>README.md'
	[[ $(removed) == "" ]]
	[[ $(removed --dry-run --older-than 0s) == "looked:no unused:no" ]]
	[[ -d $JIB_ROOT/looked && -d $JIB_ROOT/unused ]]
	[[ $(kept --older-than 0s -n) == worked ]]
	run -0 jib gc --older-than 0s
	[[ $output == *"sandbox  looked "*"removed: no changes"*"sandbox  worked "*"kept: it holds unpersisted work"* ]]
	[[ $output == *"2 sandboxes, "*"removed, "* ]]
	gone looked unused
	reads worked $'one\ntwo\nmore\n M README.md'
}

@test "gc: a home that was written to is no work" {
	jib new one -q
	jib run one -q -- sh -c 'echo x >~/.profile'
	[[ $(work one) == none ]]
	[[ $(removed --older-than 0s) == one:no ]]
}

@test "gc leaves alone what was used a moment ago" {
	jib run one -q -- sh -c 'echo more >>README.md'
	[[ $(removed --older-than 1h --force) == "" ]]
	[[ $(kept --older-than 1h --force) == "" ]]
	reads one $'one\ntwo\nmore\n M README.md'
	# With an age that it has not reached before a second is over.
	older() { [[ $(removed --older-than 1s --force -n) == one:unpersisted ]]; }
	wait_for older
}

@test "gc --force with an age discards unpersisted work, naming each" {
	for name in one two; do
		jib run "$name" -q -- sh -c 'echo more >>README.md'
	done
	run -2 jib gc --force
	[[ $output == *"only with an age"* ]]
	[[ $(removed --older-than 0s) == "" ]]
	run -0 jib gc --older-than 0s --force
	[[ $output == *"sandbox  one "*"removed: unpersisted work is discarded"*"sandbox  two "* ]]
	gone one two
	[[ $(count_layers) == 0 ]]
}

@test "an age or a size that cannot be understood" {
	local each
	for each in "" 5 d -1d 1.5h "1 h" 1y 99999999999999999999s 1hh +1h; do
		run -2 jib gc --older-than "$each"
		[[ $output == *"--older-than"*"is no age"*"30m, 12h, 7d, 2w"* ]]
	done
	for each in "" x -1 0 1Q; do
		run -2 jib gc --max-disk "$each"
		[[ $output == *"--max-disk"*"is no size"*"512M, 20G"* ]]
	done
}

@test "work that is on the host is persisted; unpersisted again when the host's ref goes or moves" {
	jib run one -q -- sh -c 'echo more >>README.md; git commit -qam more; rm tool.sh; mkdir d; echo d >d/f'
	[[ $(work one) == unpersisted ]]
	git branch jib/one/main
	note_persisted one jib/one/main
	[[ $(work one) == persisted ]]
	[[ $(jib show one --json | json 'd["unpersisted"]') == false ]]
	git pack-refs --all
	[[ $(work one) == persisted ]]
	# What git does when it only looks, and the home, change nothing in that.
	jib run one -q -- sh -c 'git status >/dev/null; echo x >~/x'
	[[ $(work one) == persisted ]]
	git branch -f jib/one/main HEAD~1
	[[ $(work one) == unpersisted ]]
	git branch -f jib/one/main HEAD
	[[ $(work one) == persisted ]]
	git branch -D jib/one/main
	[[ $(work one) == unpersisted ]]
	run -1 jib rm one
	git branch jib/one/main HEAD
	[[ $(work one) == persisted ]]
	jib run one -q -- sh -c 'echo again >>d/f'
	[[ $(work one) == unpersisted ]]
	note_persisted one jib/one/main
	[[ $(work one) == persisted ]]
	[[ $(removed) == "" ]]
	[[ $(removed --older-than 0s) == one:its ]]
	jib run two -q -- sh -c 'echo more >>README.md'
	note_persisted two jib/one/main
	jib rm two
	gone one two
}

@test "a damaged note of what was persisted counts as none" {
	local each
	jib run one -q -- sh -c 'echo more >>README.md'
	git branch jib/one/main
	note_persisted one jib/one/main
	[[ $(work one) == persisted ]]
	for each in '' '{' '[]' '{"schema": 2}' '{"schema": 1, "fingerprint": 1, "repos": []}' \
		'{"schema": 1, "fingerprint": "work-", "repos": [{}]}'; do
		echo "$each" >"$JIB_ROOT/one/persisted.json"
		[[ $(work one) == unpersisted ]]
	done
	ln -sf /dev/zero "$JIB_ROOT/one/persisted.json"
	[[ $(work one) == unpersisted ]]
}

@test "--max-disk removes the longest unused first, and says when it cannot reach its goal" {
	local size
	for name in b c a; do
		jib run "$name" -q -- sh -c 'echo more >>README.md; head -c 300000 /dev/urandom >big'
	done
	size=$(jib du --json | json 'd["bytes"]')
	run -0 jib gc --max-disk 1K
	[[ $output == *"sandbox  a "*"kept: it holds unpersisted work"*"more than 1 KiB"* ]]
	[[ -d $JIB_ROOT/a && -d $JIB_ROOT/b && -d $JIB_ROOT/c ]]
	run -0 jib gc --json --max-disk 1K
	[[ $(json '[d["reached"], d["max_disk"], len(d["removed"]), len(d["kept"])]' <<<"$output") == '[false, 1024, 0, 3]' ]]
	[[ $(removed --max-disk "$size") == "" ]]
	# Without an age that all of them have reached nothing is discarded.
	[[ $(removed --max-disk "$((size - 1))") == "" ]]
	git branch jib/a
	for name in b c a; do
		note_persisted "$name" jib/a
	done
	[[ $(removed -n --older-than 0s --max-disk 1T) == "a:its b:its c:its" ]]
	# They are younger than a minute.
	[[ $(removed -n --max-disk "$((size - 1))") == "" ]]
	run -0 jib gc --json --max-disk 1T
	[[ $(json 'd["reached"]' <<<"$output") == true ]]
}

@test "T54: gc never removes a sandbox that lives: it runs, is being made, or starts meanwhile" {
	jib run lives -q -d -- sleep 1000 3>&-
	jib new joined -q
	[[ $(removed --older-than 0s) == joined:no ]]
	[[ $(kept --older-than 0s --force --max-disk 1K) == lives ]]
	[[ $(jib exec lives -- echo still </dev/null) == still ]]
	jib stop lives
	removing() {
		while [[ -d $T && ! -e $T/end ]]; do
			"$JIB" gc --older-than 0s --force >/dev/null || return
		done
	}
	removing &
	collector=$!
	# Whatever has begun goes on to its end.
	for ((i = 0; i < 40; i++)); do
		[[ $("$JIB" run -q --rm -- sh -c 'echo x >x; cat x README.md' </dev/null) == $'x\none\ntwo' ]]
		# One that nothing runs in may go at any moment, be it before its creation has returned.
		"$JIB" new n -q || true
		"$JIB" run n -q -- sh -c 'echo x >x; cat x README.md' </dev/null >"$T/said" || true
		[[ $(<"$T/said") == $'x\none\ntwo' || $(<"$T/said") == "" ]]
	done
	touch "$T/end"
	wait "$collector"
	gone lives
}

@test "T52: what is mounted in a sandbox's directory is left alone, with the sandbox" {
	local before options=(-m)
	before=$(host_hash "$T/repo")
	jib new one -q
	jib new two -q
	mkdir "$JIB_ROOT/one/upper/repos/repo/at"
	as_root || options=(-rm)
	run -0 unshare "${options[@]}" sh -euc '
		mount --bind "$T/repo" "$JIB_ROOT/one/upper/repos/repo/at"
		"$JIB" gc --older-than 0s --force --json
		! "$JIB" rm --force one'
	[[ $output == *'"sandbox": "two"'* && $output == *"something is mounted: "*"/at"* ]]
	[[ -d $JIB_ROOT/one/upper/repos/repo/at && $(host_hash "$T/repo") == "$before" ]]
	jib gc --older-than 0s --force
	gone one two
	[[ $(host_hash "$T/repo") == "$before" ]]
}

@test "T53: overlayfs' own directories without permissions are no obstacle" {
	jib run one -q -- sh -c 'mkdir closed; echo x >closed/x; chmod 000 closed'
	mkdir -p "$JIB_ROOT/one/work/repos/repo/work"
	chmod 000 "$JIB_ROOT/one/work/repos/repo/work"
	run -0 jib gc --older-than 0s --force
	gone one
}

@test "T48: a file that root has made immutable, setuid, and of mode 000 is removed" {
	jib run one -q -- sh -c 'mkdir -p d/e; for f in a b d/e/c; do echo x >$f; done; chmod 4755 a; chmod 000 b'
	jib new two -q
	# Only root can, and not on every file system; all else is the same.
	as_root && chattr +i "$JIB_ROOT"/one/upper/repos/repo/d/e{/c,} || true
	run -0 jib gc --older-than 0s --force
	[[ $output == *"sandbox  one "*"removed"*"sandbox  two "*"removed"* ]]
	gone one two
}

@test "the work tree's own directory closed from inside is a change that gc keeps" {
	jib run one -q -- sh -c 'echo x >x; chmod 000 .' || true
	[[ $(work one) == unpersisted ]]
	[[ $(removed --older-than 0s) == "" ]]
	chmod 755 "$JIB_ROOT/one/upper/repos/repo"
}
