# Debian packages that are used without being installed. To be sourced:
#
#   unpack_packages FOLDER PACKAGE...            downloads what is not there yet, and unpacks all of it into FOLDER
#   unpack_foreign ARCH FOLDER PACKAGE...        the same of another architecture, which apt need not know: it gets lists
#                                                of its own in FOLDER/.unpacked. Needs no root.
#   unpack_depends PACKAGE [APT_OPTION...]       the first package that this one stands for
unpack_depends() {
    local package=$1
    shift
    apt-cache "$@" depends --important "$package" | sed -n 's/^ *Depends: //p' | head -n 1
}

# unpack_one FOLDER PACKAGE [APT_OPTION...]
unpack_one() {
    local folder=$1 package=$2 download=$1/.unpacked/download
    shift 2
    [ ! -f "$folder/.unpacked/$package" ] || return 0
    rm -rf "$download"
    mkdir -p "$download" || return 1
    (cd "$download" && apt-get -qq -o APT::Sandbox::User= "$@" download "$package") &&
        dpkg-deb -x "$download"/*.deb "$folder" && touch "$folder/.unpacked/$package"
}

unpack_packages() {
    local folder=$1 package
    shift
    for package in "$@"; do
        unpack_one "$folder" "$package" || return 1
    done
}

unpack_foreign() {
    local arch=$1 folder=$2 package state options
    shift 2
    state=$(mkdir -p "$folder/.unpacked/cache/archives/partial" "$folder/.unpacked/lists/partial" &&
        cd "$folder/.unpacked" && pwd) || return 1
    options=(-o "APT::Architectures::=$arch" -o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state/cache"
        -o APT::Sandbox::User= -o Debug::NoLocking=1)
    for package in "$@"; do
        [ -f "$folder/.unpacked/$package:$arch" ] && continue
        [ -f "$state/updated" ] || apt-get -qq "${options[@]}" update || return 1
        touch "$state/updated"
        unpack_one "$folder" "$package:$arch" "${options[@]}" || return 1
    done
}
