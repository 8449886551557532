# Installs what is missing to build and test greenring. To be sourced:
#
#   . tools/setup.sh
#   setup_packages $SETUP_BUILD               build the library and the examples
#   setup_packages $SETUP_BUILD $SETUP_TEST   ./check too
#
# Says what it installs, says nothing when nothing is missing. Asks for nothing: with no terminal, sudo must not need a
# password. On a system without apt-get it only names the packages, and the build then tells what is really missing.

SETUP_BUILD="gcc libc6-dev meson ninja-build pkg-config liburing-dev libboost-context-dev"
SETUP_TEST="python3 binutils g++ clang libclang-rt-dev libcriterion-dev valgrind gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
SETUP_VM="qemu-system-x86 busybox-static cpio"

setup_missing() {
    for package in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | sort -u)
        [ "$state" = installed ] || echo "$package"
    done
}

setup_as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

setup_apt() {
    setup_as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

setup_packages() {
    if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
        echo "setup: no apt-get here; on Debian these packages would be needed: $*"
        return 0
    fi
    setup_list=$(setup_missing "$@" | paste -s -d ' ')
    [ -n "$setup_list" ] || return 0
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; then
        echo "setup: missing, and neither root nor sudo to install them: $setup_list" >&2
        return 1
    fi
    echo "setup: installing $setup_list"
    # An update may fail for one source of several; the installation tells whether it mattered.
    setup_log=$(mktemp)
    { setup_apt update && echo "setup: lists are fresh"; } >"$setup_log" 2>&1
    if setup_apt install -y --no-install-recommends $setup_list >>"$setup_log" 2>&1; then
        rm -f "$setup_log"
        return 0
    fi
    tail -n 20 "$setup_log" >&2
    rm -f "$setup_log"
    echo "setup: could not install $setup_list" >&2
    return 1
}
