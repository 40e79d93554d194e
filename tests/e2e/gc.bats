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
	[[ $output == *"no layer is removed"*"sandbox two is broken"*"jib rm --force two"* ]]
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
			swept
		fi
	done
	reads kept $'one\ntwo'
}
