# shellcheck shell=bash
# What the store takes: each sandbox's own, each layer once, what the host has as well.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 5
	cd "$T/repo" || return
}

# du EXPRESSION: of what `jib du --json` says
du_says() {
	jib du --json | json "$1"
}

# allocated DIR: bytes, as du(1) counts them
allocated() {
	du -s --block-size=1 "$1" | cut -f1
}

@test "an empty store, and one that does not exist" {
	[[ $(du_says '[d["bytes"], d["sandboxes"], d["repositories"]]') == '[0, [], []]' ]]
	[[ ! -e $JIB_ROOT ]]
	run -0 jib du
	[[ ${lines[0]} == *DISK*INODES*WHAT && $output == *"in all"* ]]
}

@test "sandboxes: their own bytes and inodes, as du(1) counts them" {
	jib run one -q -- sh -c 'head -c 200000 /dev/urandom >big; mkdir -p a/b'
	jib new two -q
	[[ $(du_says '[s["name"] for s in d["sandboxes"]]') == '["one", "two"]' ]]
	[[ $(du_says 'd["sandboxes"][0]["bytes"]') == "$(allocated "$JIB_ROOT/one")" ]]
	[[ $(du_says 'd["sandboxes"][1]["inodes"]') == "$(find "$JIB_ROOT/two" | wc -l)" ]]
	[[ $(du_says 'd["sandboxes"][0]["bytes"]') == "$(jib show one --json | json 'd["disk_bytes"]')" ]]
	run -0 jib du
	[[ $output == *"sandbox one"*"sandbox two"*"2 layers of $T/repo"*"in all"* ]]
}

@test "a sparse file takes what is allocated" {
	jib run one -q -- truncate -s 1T sparse
	[[ $(du_says 'd["sandboxes"][0]["bytes"] < 1 << 20') == true ]]
}

@test "layers count once however many stand on them, for their repository" {
	make_repo "$T/other" 3
	jib new one -q
	before=$(du_says '[d["repositories"]]')
	jib new two -q
	[[ $(du_says '[d["repositories"]]') == "$before" ]]
	jib new three -q --repo "$T/other"
	[[ $(du_says '[r["host"] for r in d["repositories"]]') == "[\"$T/other\", \"$T/repo\"]" ]]
	[[ $(du_says 'd["bytes"] == sum(x["bytes"] for x in d["sandboxes"] + d["repositories"] + [d["other"]])') == true ]]
	jib run -q --repo "$T/other" --rm -- true
	rm -rf "$JIB_ROOT/three"
	# Nobody's now.
	[[ $(du_says '[r["host"] for r in d["repositories"]]') == "[\"$T/repo\", null]" ]]
	run -0 jib du
	[[ $output == *"layers that no sandbox uses"* ]]
}

@test "what the host has as well is shared, and counts for us when the host has lost it" {
	jib new one -q
	shared=$(du_says 'd["shared_bytes"]')
	((shared > 0))
	bytes=$(du_says 'd["bytes"]')
	rm -rf "$T/repo/.git/objects"
	[[ $(du_says 'd["shared_bytes"]') == 0 ]]
	[[ $(du_says 'd["bytes"]') == $((bytes + shared)) ]]
}

@test "a broken sandbox is counted, and stops nothing" {
	jib new one -q
	echo nonsense >"$JIB_ROOT/one/sandbox.json"
	[[ $(du_says 'd["sandboxes"][0]["bytes"] > 0') == true ]]
	[[ $(du_says 'd["repositories"][0]["host"]') == null ]]
}

@test "names in a layer that lead elsewhere are not followed" {
	jib new one -q
	bytes=$(du_says 'd["bytes"]')
	ln -s "$T/repo" "$JIB_ROOT/.layers/link-1"
	[[ $(du_says 'd["bytes"]') == "$bytes" ]]
}
