# shellcheck shell=bash
# What a sandbox has written is shown to a person: paged and coloured as git does it, and steering
# nothing.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 5
	cd "$T/repo" || return
	export TERM=xterm
	printf '#!/bin/sh\nexec >%s/got\necho "$LESS"\nexec cat\n' "$T" >"$T/pager"
	chmod 755 "$T/pager"
	"$JIB" run a -q -- sh -euc '
		printf "\033]0;owned\007\033[31mred\r\n" >>README.md
		git commit -qam "$(printf "title \033[2J\342\200\256")"
		: >"$(printf "name\033[H\nforged")"' </dev/null
}

@test "T51: neither content nor names nor messages steer a terminal" {
	local command words
	for command in diff log status "diff --stat" "log -p" "diff --name-status"; do
		read -ra words <<<"$command"
		rm -f "$T/got"
		GIT_PAGER=$T/pager NO_COLOR=1 in_tty "$JIB" "${words[@]}" a >"$T/shown" 2>&1
		cat "$T/got" >>"$T/shown" || :
		[[ -s $T/shown ]]
		run -1 grep -P '[\x00-\x08\x0b-\x1f\x7f]|\x{202e}' "$T/shown"
	done
	GIT_PAGER=$T/pager in_tty "$JIB" diff a
	# Only colours that git has by itself
	run -1 grep -aP '\x1b(?!\[(1|31|32|33|36)?m)' "$T/got"
	grep -aqF $'\033[32m\\x1b]0;owned\\x07' "$T/got"
}

@test "the pager is the one that git would start" {
	git config --global core.pager "$T/pager"
	in_tty "$JIB" diff a
	[[ $(head -1 "$T/got") == FRX ]]
	rm "$T/got"
	in_tty "$JIB" diff a --no-pager >"$T/out"
	[[ ! -e $T/got && -s $T/out ]]
	"$JIB" diff a >"$T/out"
	[[ ! -e $T/got && -s $T/out ]]
	git config --global pager.diff false
	in_tty "$JIB" diff a
	[[ ! -e $T/got ]]
}

@test "a pager that ends early is no error" {
	# More than a pipe holds
	"$JIB" run a -q -- sh -c "seq 100000 >many" </dev/null
	GIT_PAGER=true in_tty "$JIB" diff a
	"$JIB" diff a | head -1 >"$T/out"
	[[ ${PIPESTATUS[0]} == 0 ]]
}

@test "a patch in a file is one that git applies" {
	"$JIB" diff a --patch >"$T/patch"
	git apply --check "$T/patch"
	grep -aqF $'\033]0;owned' "$T/patch"
}
