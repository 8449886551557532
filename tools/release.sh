# Builds build/release: the library, the examples and the benchmarks, optimised, without the tests. To be sourced, in the
# tree's root, after tools/setup.sh:
#
#   build_release LOG      false, and the end of the log on the screen, when it cannot be built

build_release() {
    { [ -f build/release/build.ninja ] || meson setup build/release -Dtests=none; } >"$1" 2>&1 &&
        ninja -C build/release >>"$1" 2>&1 && return 0
    tail -n 30 "$1"
    return 1
}
