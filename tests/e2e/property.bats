# shellcheck shell=bash
# Whatever is done in a sandbox, by git and beside it, has the same outcome as in a plain copy of
# the repository: thousands of random operations, compared after every step. src/property.py has
# them and says how a failing seed is replayed.
#
# JIB_PROPERTY_STEPS (default 1000) is the number of steps of each seed. Each run, as root and as
# an ordinary user, has five seeds of its own, and one in a repository whose index is split.

load helpers

setup() {
	jib_setup
	property=$BATS_TEST_DIRNAME/src/property.py
	steps=${JIB_PROPERTY_STEPS:-1000}
}

# pair [OPTION...]: the repository and a copy of it
pair() {
	python3 "$property" --prepare "$T/repo" "$@"
	cp -a "$T/repo" "$T/copy"
	cd "$T/repo" || return
}

# play SEED STEPS [OPTION...]: in the sandbox; the copy is the host's, on a plain file system
play() {
	local seed=$1 steps=$2
	shift 2
	echo "seed $seed, $steps steps"
	"$JIB" run a -q --bind "$T/copy:$T/copy:rw" -- \
		python3 - --seed "$seed" --steps "$steps" "$@" "$T/repo" "$T/copy" <"$property"
}

# same_as_a_copy N: the Nth seed of this run
same_as_a_copy() {
	local before
	pair
	before=$(host_hash "$T/repo")
	if as_root; then
		play $((2 * $1)) "$steps"
	else
		play $((2 * $1 - 1)) "$steps"
	fi
	jib run a -q -- git fsck --no-dangling
	[[ $(host_hash "$T/repo") == "$before" ]]
}

@test "a difference is found, and said with all that led to it" {
	pair
	run -1 play 1 30 --sabotage 20
	[[ $output == *"seed 1 differs after step 20."* ]]
	[[ $output == *"? sabotage"* ]]
	[[ $output == *"replay: python3 property.py --seed 1 --steps 20 "* ]]
	[[ $(grep -cE '^ +[0-9]+ ' <<<"$output") == 20 ]]
}

@test "random operations have the outcome of a plain copy, seed 1 of 5" {
	same_as_a_copy 1
}

@test "random operations have the outcome of a plain copy, seed 2 of 5" {
	same_as_a_copy 2
}

@test "random operations have the outcome of a plain copy, seed 3 of 5" {
	same_as_a_copy 3
}

@test "random operations have the outcome of a plain copy, seed 4 of 5" {
	same_as_a_copy 4
}

@test "random operations have the outcome of a plain copy, seed 5 of 5" {
	same_as_a_copy 5
}

@test "random operations have the outcome of a plain copy, among 9000 files" {
	pair --files 9000
	as_root && seed=101 || seed=102
	play "$seed" $((steps / 25)) --files 9000
	jib run a -q -- git fsck --no-dangling
}
