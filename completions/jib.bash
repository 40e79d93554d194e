
# shellcheck shell=bash
# The disk is the truth: a sandbox is a directory of the root.
_jib_sandboxes() (
	shopt -u failglob dotglob
	cd -- "${JIB_ROOT:-$HOME/.jib-overlays}" 2>/dev/null && printf '%s\n' */ | sed -n 's|^\([^*]*\)/$|\1|p'
)

# _jib_reply KIND CUR: fills COMPREPLY.
_jib_reply() {
	case $1 in
	=*) mapfile -t COMPREPLY < <(compgen -W "${1#=}" -- "$2") ;;
	sandbox) mapfile -t COMPREPLY < <(compgen -W "$(_jib_sandboxes)" -- "$2") ;;
	variable) mapfile -t COMPREPLY < <(compgen -e -- "$2") ;;
	directory)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$2")
		;;
	file)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$2")
		;;
	esac
}

_jib() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]} options places runs place='' last='' i word
	local -i position=0

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		# shellcheck disable=SC2154 # from the table
		mapfile -t COMPREPLY < <(compgen -W "$_jib_commands help --help --version" -- "$cur")
		return
	fi
	if [[ $command == help ]]; then
		((COMP_CWORD > 2)) ||
			mapfile -t COMPREPLY < <(compgen -W "$_jib_commands" -- "$cur")
		return
	fi
	_jib_table "$command" || return 0

	# "--name=value" is three words to readline.
	if [[ $cur == '=' ]]; then
		cur=''
	elif [[ $prev == '=' ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	for ((i = 2; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $word == -- ]]; then
			((runs)) || return 0
			if declare -F _command_offset >/dev/null; then
				_command_offset $((i + 1))
			elif ((COMP_CWORD == i + 1)); then
				mapfile -t COMPREPLY < <(compgen -c -- "$cur")
			else
				_jib_reply file "$cur"
			fi
			return
		fi
		if [[ $word == -* ]]; then
			[[ ${COMP_WORDS[i + 1]-} == '=' ]] && ((i++))
			_jib_value "$command" "$word" >/dev/null && ((i++))
		else
			position+=1
		fi
	done
	if [[ $prev == -* ]] && place=$(_jib_value "$command" "$prev"); then
		_jib_reply "$place" "$cur"
	elif [[ $cur == -* ]]; then
		((!runs)) || options+=' --'
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
	else
		for word in $places; do
			if [[ $word != ... ]]; then
				((position-- > 0)) || break
				last=$word
			else
				word=$last
				break
			fi
			word=''
		done
		_jib_reply "${word-}" "$cur"
	fi
}
complete -F _jib jib
