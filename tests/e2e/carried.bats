#!/usr/bin/env bats
# Directories of the host that are mounted copy-on-write, local layers, and volatile sandboxes.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 3
	cd "$T/repo" || return
	mkdir -p deps/lib
	echo secret >deps/.env
	echo host >deps/lib/f
	echo /deps >>.git/info/exclude
}

# carry NAME: a sandbox with a local layer of its own, over which deps is mounted and deps/.env masked
carry() {
	"$JIB" new "$1" -q
	python3 - "$JIB_ROOT" "$1" <<-'EOF'
		import json, os, stat, sys
		root, name = sys.argv[1:]
		layer = f"{root}/.layers/local-test"
		os.makedirs(f"{layer}/tree/deps")
		os.makedirs(f"{layer}/carried/0")
		os.mknod(f"{layer}/carried/0/.env", stat.S_IFCHR, 0)
		open(f"{layer}/tree/local.txt", "w").write("local\n")
		open(f"{layer}/reported", "w").write("local.txt\0")
		json.dump({"version": 1, "kind": "local"}, open(f"{layer}/layer.json", "w"))
		record = json.load(open(f"{root}/{name}/sandbox.json"))
		record["repos"][0].update(local="local-test", carried=["deps"])
		json.dump(record, open(f"{root}/{name}/sandbox.json", "w"))
		for part in "upper", "work":
		    os.makedirs(f"{root}/{name}/{part}/carried/repo/0")
	EOF
}

@test "a carried directory is the host's, and what is written in it stays in the sandbox" {
	carry a
	before=$(host_hash "$T/repo")
	run -0 "$JIB" run a -q -- sh -c 'cat local.txt deps/lib/f; ls -A deps
		echo sandbox >deps/lib/f; echo new >deps/new; mkdir deps/d; mv deps/lib/f deps/d/; rm -r deps/lib'
	[[ $output == $'local\nhost\nlib' ]]
	[[ $(host_hash "$T/repo") == "$before" ]]
	run -0 "$JIB" run a -q -- sh -c 'ls -A deps; cat deps/d/f deps/new; test ! -e deps/.env'
	[[ $output == $'d\nnew\nsandbox\nnew' ]]
	# It counts as a change, and is gone with the sandbox.
	run -0 "$JIB" run a -- true
	[[ $output == *'of the work tree'* ]]
	"$JIB" rm --force a
	[[ $(host_hash "$T/repo") == "$before" ]]
}

@test "a carried directory is emptied, but neither it nor one above it is removed or renamed" {
	mkdir -p up/in
	mv deps up/in/
	echo deps >>.git/info/exclude
	git config jib.ignoredLimit 1
	echo new >up/new
	run -1 --separate-stderr "$JIB" run a -q -- rm -rf up
	[[ $("$JIB" run a -q -- find up) == $'up\nup/in\nup/in/deps' ]]
	[[ $("$JIB" run b -q -- sh -c 'rm -rf up/in/deps; echo $?; ls -A up/in up/in/deps') == \
		$'0\nup/in:\ndeps\n\nup/in/deps:' ]]
	[[ $("$JIB" run c -q --ignored none -- sh -c 'ls up; rm -rf up; echo $?; find up 2>&1') == \
		$'new\n0\n'*'No such file'* ]]
}

@test "what the sandbox wrote in a carried directory outlasts the host's" {
	carry a
	"$JIB" run a -q -- sh -c 'echo kept >deps/new'
	rm -r deps
	run -0 --separate-stderr "$JIB" run a -q -- sh -c 'ls -A deps; cat deps/new; echo more >>deps/new'
	[[ $output == $'new\nkept' && -z $stderr ]]
	# A link in its place leads nowhere.
	mkdir "$T/elsewhere"
	echo other >"$T/elsewhere/other"
	ln -s "$T/elsewhere" deps
	run -0 "$JIB" run a -q -- sh -c 'ls -A deps; cat deps/new'
	[[ $output == $'new\nkept\nmore' ]]
	rm deps
	mkdir deps
	echo back >deps/back
	run -0 "$JIB" run a -q -- ls -A deps
	[[ $output == $'back\nnew' ]]
}

@test "a carried directory that the sandbox has put something else in the place of is left out" {
	carry a
	"$JIB" run a -q -- sh -c 'echo kept >deps/new'
	# As when what it lies in was moved away: the mount point itself cannot be.
	python3 -c 'import os, sys; open(sys.argv[1] + "/upper/repos/repo/deps", "w").write("file\n")' \
		"$JIB_ROOT/a"
	run -0 "$JIB" run a -q -- cat deps
	[[ $output == file ]]
	rm "$JIB_ROOT/a/upper/repos/repo/deps"
	run -0 "$JIB" run a -q -- cat deps/new
	[[ $output == kept ]]
}

@test "a carried directory that the store lies in is refused" {
	JIB_ROOT=$T/repo/deps/store
	carry a
	run -125 "$JIB" run a -q -- true
	[[ $output == *"$T/repo/deps cannot be mounted: the store $JIB_ROOT lies in it"* ]]
	[[ $output == *JIB_ROOT* ]]
}

@test "the fsmonitor names what the local layer reports, and changes in carried directories" {
	carry a
	run -0 "$JIB" run a -q -- sh -c '/run/jib/fsmonitor 2 jib:0 | tr "\0" " "; echo x >deps/lib/f
		echo; /run/jib/fsmonitor 2 jib:0 | tr "\0" " "; echo; /run/jib/fsmonitor 2 jib:0 | tr "\0" " "'
	[[ ${lines[0]} == *' local.txt deps deps/ deps/.jib ' ]]
	[[ ${lines[1]} == *' local.txt deps deps/ deps/.jib deps/lib/f ' ]]
	[[ ${lines[2]} == *' local.txt deps deps/ deps/.jib deps/lib/f ' ]]
}

@test "a volatile sandbox is mounted without syncs, and opened again after a kill" {
	run -0 "$JIB" run a -q --volatile -- sh -c 'echo x >f; grep -c volatile /proc/self/mountinfo'
	[[ $output == 3 ]]
	"$JIB" run a -q -d -- sh -c 'echo killed >>f; exec sleep 1000'
	wait_for "$JIB" exec a -- grep -q killed f
	mapfile -t monitors < <(
		root=$JIB_ROOT
		unset JIB_ROOT
		grep -lszxF "JIB_ROOT=$root" /proc/[0-9]*/environ | cut -d/ -f3
	)
	kill -KILL "${monitors[@]}"
	run -0 --separate-stderr "$JIB" run a -- cat f
	[[ $output == $'x\nkilled' && $stderr != *restarted* ]]
	[[ $(json 'd["volatile"]' <"$JIB_ROOT/a/sandbox.json") == true ]]
}

@test "a volatile sandbox says when the machine was restarted" {
	"$JIB" new a -q --volatile
	run -0 --separate-stderr "$JIB" run a -- true
	[[ $stderr != *restarted* ]]
	echo another-boot >"$JIB_ROOT/a/boot"
	run -0 --separate-stderr "$JIB" run a -- true
	[[ $(grep -c 'the machine was restarted since a ran' <<<"$stderr") == 1 ]]
	run -0 --separate-stderr "$JIB" run a -- true
	[[ $stderr != *restarted* ]]
	run -125 "$JIB" run a --volatile -- true
	[[ $output == *'--volatile decides how a sandbox is made'* ]]
}

@test "jib.volatile makes new sandboxes volatile, and others are not" {
	"$JIB" new a -q
	[[ $(json 'd["volatile"]' <"$JIB_ROOT/a/sandbox.json") == false ]]
	run -1 "$JIB" run a -q -- grep -c volatile /proc/self/mountinfo
	git config jib.volatile true
	run -0 "$JIB" run b -q -- grep -c volatile /proc/self/mountinfo
	[[ $output == 3 ]]
}
