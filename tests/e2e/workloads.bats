# shellcheck shell=bash
# Real work in a sandbox has the result of the same work on the host.

load helpers

setup() {
	jib_setup
	mkdir "$T/work"
	cd "$T/work" || return
}

# c_project DIR: a program of some files with a makefile that tracks what depends on what
c_project() {
	local i
	git init -q "$1"
	cd "$1" || return
	mkdir src include
	printf '*.o\n*.d\n/program\n' >.gitignore
	for i in {1..12}; do
		printf 'int part_%d(int x);\n' "$i" >"include/part_$i.h"
		printf '#include "part_%d.h"\n#include <string.h>\n\nint part_%d(int x)\n{\n\treturn x + (int)strlen("%d");\n}\n' \
			"$i" "$i" "$i" >"src/part_$i.c"
	done
	{
		printf '#include "part_%d.h"\n' {1..12}
		printf '#include <stdio.h>\n\nint main(void)\n{\n\tint x = 0;\n\n'
		printf '\tx = part_%d(x);\n' {1..12}
		printf '\tprintf("%%d\\n", x);\n\treturn 0;\n}\n'
	} >src/main.c
	cat >Makefile <<'MAKE'
CFLAGS = -O2 -Wall -Iinclude -MMD
objects = $(patsubst %.c,%.o,$(wildcard src/*.c))

program: $(objects)
	$(CC) -o $@ $^

check: program
	test "$$(./program)" = 15

clean:
	rm -f program $(objects) $(objects:.o=.d)

-include $(objects:.o=.d)
MAKE
	git add -A
	git commit -qm 'a program'
}

# built: what make has made, in one word
built() {
	# shellcheck disable=SC2016 # for the inner shell
	"$@" sh -c 'sha256sum program src/*.o src/*.d | sha256sum'
}

@test "make: the same program comes out" {
	c_project "$T/work/c"
	jib new a -q
	run -0 jib run a -q -- sh -euc 'make -j2 check; git status --porcelain'
	inside=$(built "$JIB" run a -q --)
	make -s check
	[[ $inside == "$(built)" ]]
	[[ $(jib run a -q -- ./program) == 15 ]]
	jib run a -q -- make -s clean
	[[ -x program ]]
}

@test "make: what the host has built is up to date inside" {
	c_project "$T/work/c"
	make -s check
	run -0 jib run a -q -- make program
	[[ $output == *"up to date"* ]]
	# Of what changes, and only of that, a new one is made; on the host nothing is.
	before=$(host_hash .)
	run -0 jib run a -q -- sh -euc 'echo "int more;" >>src/part_3.c; make program'
	[[ $(grep -c -- ' -c ' <<<"$output") == 1 ]]
	[[ $output == *src/part_3.c* ]]
	run -0 jib run a -q -- sh -euc 'touch include/part_5.h; make program'
	[[ $(grep -c -- ' -c ' <<<"$output") == 2 ]]
	[[ $(host_hash .) == "$before" ]]
}

@test "make: what the host has not built again is out of date inside too" {
	c_project "$T/work/c"
	make -s check
	echo 'int more;' >>src/part_7.c
	native=$(make -n program)
	[[ $native == *src/part_7.c* ]]
	[[ $(jib run a -q -- make -n program) == "$native" ]]
	# Also with a new commit and a layer of what has changed.
	git commit -qam more
	[[ $(jib run b -q -- make -n program) == "$native" ]]
	make -s program
	[[ $(jib run c -q -- make program) == *"up to date"* ]]
}

@test "make: host file times, to the nanosecond, of tracked and of carried files" {
	c_project "$T/work/c"
	make -s check
	touch -d '2001-02-03 04:05:06.123456789' src/part_1.c program
	find . -path ./.git -prune -o -type f -printf '%p %T@\n' | sort >"$T/host"
	jib run a -q -- find . -path ./.git -prune -o -type f -printf '%p %T@\n' | sort >"$T/inside"
	diff -u "$T/host" "$T/inside"
}

@test "meson and ninja: a build, then nothing to do; one of the host goes on inside" {
	command -v meson ninja
	c_project "$T/work/m"
	printf '/build/\n' >>.gitignore
	cat >meson.build <<'MESON'
project('program', 'c', default_options: ['buildtype=release'])
sources = ['src/main.c']
foreach i : range(1, 13)
  sources += 'src/part_@0@.c'.format(i)
endforeach
program = executable('program', sources, include_directories: 'include')
test('program', program)
MESON
	git add -A
	git commit -qm meson
	jib run a -q -- sh -euc 'meson setup build; ninja -C build; meson test -C build'
	[[ ! -e build ]]
	run -0 jib run a -q -- ninja -C build
	[[ $output == *"no work to do"* ]]
	inside=$(jib run a -q -- sha256sum build/program)
	meson setup build
	ninja -C build
	[[ $(sha256sum build/program) == "$inside" ]]
	run -0 jib run b -q -- ninja -C build
	[[ $output == *"no work to do"* ]]
	run -0 jib run b -q -- sh -euc 'echo "int more;" >>src/part_3.c; ninja -C build -v'
	[[ $(grep -c -- ' -c ' <<<"$output") == 1 ]]
}

@test "npm ci: from packages at hand, with the tree of a native run" {
	local name
	for name in left right; do
		mkdir -p "$T/work/src/$name/package/lib"
		printf '{"name": "%s", "version": "1.2.3", "bin": {"%s": "bin.js"}}\n' "$name" "$name" \
			>"$T/work/src/$name/package/package.json"
		printf 'module.exports = "%s"\n' "$name" >"$T/work/src/$name/package/index.js"
		printf '#!/usr/bin/env node\nconsole.log(require("./index.js"))\n' \
			>"$T/work/src/$name/package/bin.js"
		for i in {1..40}; do
			echo "$i" >"$T/work/src/$name/package/lib/$i.js"
		done
	done
	# Large enough that it is not copied into a sandbox but mounted.
	head -c 17M /dev/zero >"$T/work/src/left/package/lib/large.bin"
	git init -q "$T/work/n"
	cd "$T/work/n"
	mkdir vendor
	for name in left right; do
		tar -C "$T/work/src/$name" -czf "vendor/$name-1.2.3.tgz" package
	done
	echo node_modules/ >.gitignore
	printf '{"name": "n", "version": "1.0.0", "dependencies": {"left": "file:vendor/left-1.2.3.tgz",
		"right": "file:vendor/right-1.2.3.tgz"}}\n' >package.json
	npm install --offline --ignore-scripts --no-audit --no-fund --package-lock-only
	git add -A
	git commit -qm 'with a lock file'
	jib new a -q
	jib run a -q -- npm ci --offline --ignore-scripts --no-audit --no-fund
	[[ ! -e node_modules ]]
	jib run a -q -- sh -c 'test -z "$(git status --porcelain)"'
	# shellcheck disable=SC2016 # for the inner shell
	tree='find node_modules ! -type d -printf "%P %y %m %l\n" | sort
		cd node_modules; find . -type f ! -name .package-lock.json -exec sha256sum {} + | sort'
	inside=$(jib run a -q -- sh -c "$tree")
	[[ $(jib run a -q -- sh -c 'node_modules/.bin/left; node -p "require(\"right\")"') == $'left\nright' ]]
	npm ci --offline --ignore-scripts --no-audit --no-fund
	[[ $inside == "$(sh -c "$tree")" ]]
	# And a second time, where the host's is carried: ci begins with the removal of it.
	host=$(host_hash node_modules)
	jib run b -q -- npm ci --offline --ignore-scripts --no-audit --no-fund
	[[ $inside == "$(jib run b -q -- sh -c "$tree")" ]]
	[[ $(host_hash node_modules) == "$host" ]]
}

@test "git bisect run finds the same commit, by building" {
	local i native
	c_project "$T/work/c"
	for i in {1..14}; do
		echo "int more_$i;" >>src/part_2.c
		((i != 9)) || sed -i 's/strlen("4")/strlen("forty")/' src/part_4.c
		git commit -qam "change $i"
	done
	# shellcheck disable=SC2016 # for the inner shell
	script='git bisect start HEAD HEAD~14 >/dev/null
		git bisect run make -s check 2>/dev/null | grep "is the first bad commit"
		git show -s --format=%s refs/bisect/bad; git bisect reset 2>/dev/null; git branch --show-current'
	inside=$(jib run a -q -- sh -c "$script" 2>/dev/null)
	[[ $inside == *$'\nchange 9\nmain' ]]
	[[ -z $(git for-each-ref refs/bisect) && ! -e program ]]
	native=$(sh -c "$script" 2>/dev/null)
	[[ $inside == "$native" ]]
}

@test "jib itself, built by meson in a sandbox as on the host" {
	local script inside
	mkdir "$T/work/jib"
	# Of a checkout, or of the stage that ./dev check makes.
	tar -C "$BATS_TEST_DIRNAME/../.." -c meson.build meson_options.txt src tests man completions |
		tar -C "$T/work/jib" -x
	cd "$T/work/jib"
	git init -q
	echo /build/ >.gitignore
	git add -A
	git commit -qm 'jib'
	script='meson setup --buildtype=release -Db_ndebug=false build >/dev/null
		ninja -C build jib jib-guest >/dev/null; build/jib --version'
	inside=$(jib run a -q -- sh -euc "$script")
	[[ ! -e build ]]
	[[ $inside == "$(sh -euc "$script")" ]]
	[[ $(jib run a -q -- sha256sum build/jib build/jib-guest) == \
		"$(sha256sum build/jib build/jib-guest)" ]]
}
