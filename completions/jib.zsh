
# The disk is the truth: a sandbox is a directory of the root.
_jib_sandboxes() {
	local -a names=(${JIB_ROOT:-$HOME/.jib-overlays}/*(N/:t))
	_describe sandbox names
}

_jib() {
	local -a table
	local runs at

	if (( CURRENT == 2 )); then
		_jib_commands
		_arguments '--help[tell how jib is used]' '--version[print the version]'
		return
	fi
	shift words
	(( CURRENT -= 1 ))
	if [[ $words[1] == help ]]; then
		(( CURRENT > 2 )) || _jib_commands
		return
	fi
	_jib_table $words[1] || return
	at=${words[(i)--]}
	if (( at < CURRENT )); then
		(( runs )) || return
		shift $at words
		(( CURRENT -= at ))
		_normal
		return
	fi
	_arguments -s -S '(- *)'{-h,--help}'[tell how the command is used]' $table
}

_jib "$@"
