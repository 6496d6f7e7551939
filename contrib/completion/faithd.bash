# Completion of faithd(8) for bash(1).

_faithd() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=
    case $before in
        -f | --config | --pid-file) return ;; # files
        --layout) words='low32 rfc6052' ;;
        --path) words='relay kernel auto' ;;
        --via) words='auto route sk_lookup tproxy redirect' ;;
        --alg) words='auto ftp rsh rlogin none' ;;
        --proxy) words='v1 v2' ;;
        --log) words='text json' ;;
        --user) words=$(compgen -u) ;;
        --limit) words='sessions= sessions_per_client= sessions_per_prefix= rate= rate_per_client=
            rate_per_prefix= burst= prefix_length= local_servers='
            compopt -o nospace ;;
        -P | --prefix | --workers | --*-timeout | --lifetime | --lame-duck | --metrics | --record-sample | --record-refusals)
            words=' ' ;;
        *)
            if [[ $word == -* ]]; then
                words='-d -p -F -f -P -h --alg --config --connect-timeout --drain-timeout
                    --foreground --half-closed-timeout --help --idle-timeout --inetd --lame-duck
                    --layout --lifetime --limit --log --metrics --path --pid-file --prefix --proxy
                    --record-no-destinations --record-refusals --record-sample --record-starts
                    --user --version --via --workers'
            else
                words=$(getent services | while read -r name _; do echo "$name"; done)
            fi ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -o default -F _faithd faithd
