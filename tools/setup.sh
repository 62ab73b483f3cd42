# SPDX-License-Identifier: MIT
# Sourced by ./demo and ./check: installs what is missing (Debian, Ubuntu) and configures the build.

build_packages="gcc libc6-dev meson ninja-build pkg-config libopenblas-serial-dev libcsv-dev \
libcjson-dev libpcre2-dev libutf8proc-dev zlib1g-dev libxxhash-dev"
test_packages="libcmocka-dev"

say() {
    printf '%s\n' "$*" >&2
}

stop() {
    say "error: $*"
    exit 1
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# install_missing PACKAGE...: asks nothing; says what it is about to do.
install_missing() {
    missing=""
    if ! command -v dpkg-query >/dev/null 2>&1; then
        for tool in cc meson ninja pkg-config; do
            command -v "$tool" >/dev/null 2>&1 ||
                stop "$tool is missing and this system has no apt; install a C compiler, meson (1.0 or \
newer), ninja, pkg-config, and the headers of OpenBLAS, libcsv, cJSON, PCRE2, utf8proc, zlib, xxHash and cmocka"
        done
        return 0
    fi
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" -eq 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        as_root="sudo"
    else
        stop "these packages are missing and neither root nor sudo is available; have an \
administrator run:
  apt-get update && apt-get install$missing"
    fi
    say "installing with apt:$missing"
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get update -qq >/dev/null ||
        stop "apt-get update failed; look at the network and /etc/apt/sources.list"
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        $missing >/dev/null || stop "apt-get install$missing failed"
}

# configure FOLDER OPTION...: sets up a build folder, or gives these options to one that is there.
configure() {
    folder=$1
    shift
    if [ ! -f "$folder/build.ninja" ]; then
        say "configuring $folder"
        log=$(meson setup "$folder" "$@" 2>&1) || {
            say "$log"
            stop "meson setup failed"
        }
    elif [ $# -gt 0 ]; then
        meson configure "$folder" "$@" >/dev/null
    fi
}

# build FOLDER: quiet unless something is wrong.
build() {
    say "building in $1"
    log=$(ninja -C "$1" 2>&1) || {
        say "$log"
        stop "the build failed"
    }
    warnings=$(printf '%s\n' "$log" | grep -c 'warning:' || true)
    [ "$warnings" -eq 0 ] || say "$log"
}
