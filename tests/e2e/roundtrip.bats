# shellcheck shell=bash
# What comes home is what git would have taken: random work in a sandbox, then persist, diff, and
# persist --apply on an unchanged and on a changed host. src/roundtrip.py has it.
#
# JIB_ROUNDTRIP_CASES (default 24) is the number of cases; each account has seeds of its own.

load helpers

@test "a difference is found" {
	run -1 python3 "$BATS_TEST_DIRNAME/src/roundtrip.py" --seed 1 --cases 1 --sabotage "$T"
	[[ $output == *"seed 1 "*"another tree"*sabotage* ]]
}

@test "random work comes home as it is" {
	as_root && seed=20001 || seed=10001
	python3 "$BATS_TEST_DIRNAME/src/roundtrip.py" --seed "$seed" --cases "${JIB_ROUNDTRIP_CASES:-24}" "$T"
}
