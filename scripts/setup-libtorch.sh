#!/bin/sh
# Puts libtorch 2.11.0 in the user's cache and links it as .libtorch/ in the repository root, where .cargo/config.toml
# points LIBTORCH. Silent and instant when there is nothing to do; `make` calls it before every other target.
#
#   CUDA=1   keep the CUDA libraries too (several GB); CUDA=0 goes back to the CPU build; unset keeps what is there
#   LIBTORCH when set, that folder is used as it is, and only checked
#
# The libraries come out of the wheels that pip downloads, from wherever pip is configured to look. Nothing is
# installed in Python and Python need not be able to import torch: the wheels are zip files that hold the same
# libraries as a libtorch archive.
set -eu

VERSION=2.11.0

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

say() {
    printf 'setup: %s\n' "$*" >&2
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# ---- What the build needs besides libtorch --------------------------------------------------------------------------

have cargo || die "cargo is missing: install Rust 1.89 or newer (rustup, or your distribution's rust and cargo packages)"
cxx=${CXX:-c++}
have "${cxx%% *}" || die "no C++ compiler (${cxx%% *}): install g++ (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++)"

# ---- Nothing to do? -------------------------------------------------------------------------------------------------

root=$(cd "$(dirname "$0")/.." && pwd)
link=$root/.libtorch

# Sets `found` to the version of the libtorch in folder $1, e.g. 2.11.0+cpu; empty when it does not say.
version_of() {
    found=
    if [ -r "$1/build-version" ]; then
        read -r found <"$1/build-version" || :
    elif [ -r "$1/version.py" ]; then # the torch folder of a Python environment has this one instead
        found=$(sed -n "s/^__version__ = '\(.*\)'.*/\1/p" "$1/version.py")
    fi
}

if [ -n "${LIBTORCH_USE_PYTORCH:-}" ]; then
    exit 0 # torch-sys asks the user's Python, and checks the version itself
fi

if [ -n "${LIBTORCH:-}" ]; then
    [ -e "$LIBTORCH/lib/libtorch_cpu.so" ] ||
        die "LIBTORCH=$LIBTORCH has no lib/libtorch_cpu.so: point it at a libtorch $VERSION, or unset it to have one downloaded"
    version_of "$LIBTORCH"
    case $found in
    $VERSION | $VERSION+*) exit 0 ;;
    esac
    [ -n "${LIBTORCH_BYPASS_VERSION_CHECK:-}" ] && exit 0
    die "LIBTORCH=$LIBTORCH is version ${found:-unknown}, not $VERSION: point it at a libtorch $VERSION, or unset it to have one downloaded"
fi

case ${CUDA:-} in
"" | 0 | 1) ;;
*) die "CUDA=$CUDA: expected 1, 0 or nothing" ;;
esac

# Sets `linked` to the variant that .libtorch leads to: cpu, cuda, or nothing.
linked_variant() {
    linked=
    if [ -e "$link/lib/libtorch_cpu.so" ]; then
        version_of "$link"
        case $found in
        "$VERSION+cpu") linked=cpu ;;
        "$VERSION+cu"*) linked=cuda ;;
        esac
    fi
}

linked_variant
case $linked-${CUDA:-} in
cpu- | cpu-0 | cuda- | cuda-1) exit 0 ;;
esac

if [ -e "$link" ] && [ ! -L "$link" ]; then
    die "$link is in the way: it is not a link to libtorch $VERSION; move it away"
fi

# ---- What to fetch --------------------------------------------------------------------------------------------------

[ "$(uname -s)" = Linux ] ||
    die "no libtorch is fetched for $(uname -s): set LIBTORCH to the folder of a libtorch $VERSION"
arch=$(uname -m)
case $arch in
arm64) arch=aarch64 ;;
esac

# One wheel a line: SHA-256, the pip requirement, and what of it goes where (see unpack). `===` leaves out builds with a
# local version (2.11.0+cpu), which an extra index may offer and whose hash would differ.
case $arch in
x86_64)
    wheels="\
7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a torch===2.11.0
7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548 nvidia-cuda-runtime===13.0.96
4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8 nvidia-cuda-cupti===13.0.85"
    cuda_wheels=""
    torch_libs="libc10.so libgomp.so.1 libtorch_cpu.so"
    ;;
aarch64)
    wheels="\
d91aac77f24082809d2c5a93f52a5f085032740a1ebc9252a7b052ef5a4fddc6 torch===2.11.0
ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55 nvidia-cuda-runtime===13.0.96
796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151 nvidia-cuda-cupti===13.0.85"
    cuda_wheels=""
    torch_libs="libarm_compute.so libarm_compute_graph.so libc10.so libgfortran.so.5 libgomp.so.1
        libnvpl_blas_core.so.0 libnvpl_blas_lp64_gomp.so.0 libnvpl_lapack_core.so.0 libnvpl_lapack_lp64_gomp.so.0
        libtorch_cpu.so"
    ;;
*) die "no libtorch is fetched for $arch: set LIBTORCH to the folder of a libtorch $VERSION" ;;
esac

if [ "${CUDA:-0}" = 1 ]; then
    variant=cuda
    label=$VERSION+cu130
    wheels="$wheels
$cuda_wheels"
    torch_libs="$torch_libs libc10_cuda.so libcaffe2_nvrtc.so libtorch_cuda.so libtorch_cuda_linalg.so
        libtorch_nvshmem.so"
    need_mb=12000
else
    variant=cpu
    label=$VERSION+cpu
    need_mb=3000
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/daf
tree=$cache/libtorch-$VERSION-$variant-$arch
downloads=$cache/downloads

# Makes .libtorch lead to the finished tree, in one step. torch-sys decides when it is compiled whether to link CUDA and
# is not compiled again by itself, since LIBTORCH is the same path before and after; so its old build goes.
link_tree() {
    rm -f "$link".tmp.*
    ln -s "$tree" "$link.tmp.$$"
    mv -T "$link.tmp.$$" "$link"
    if [ -n "$linked" ]; then
        say "now uses the $variant build; torch-sys will be compiled again"
        (cd "$root" && cargo clean -q -p torch-sys && cargo clean -q --release -p torch-sys) >/dev/null 2>&1 || :
    fi
}

if [ -e "$tree/build-version" ]; then
    link_tree
    exit 0
fi

# ---- Fetch ----------------------------------------------------------------------------------------------------------

for pip in "python3 -m pip" pip3 pip none; do
    [ "$pip" != none ] || die "pip is missing: install it (Debian, Ubuntu: apt install python3-pip), or set LIBTORCH to the folder of a libtorch $VERSION"
    if $pip --version >/dev/null 2>&1; then break; fi
done
if have unzip; then
    unzip=unzip
elif have python3; then
    unzip="python3 -m zipfile"
else
    die "unzip is missing: install it (Debian, Ubuntu: apt install unzip)"
fi
have flock || die "flock is missing: install it (Debian, Ubuntu: apt install util-linux)"
have sha256sum || die "sha256sum is missing: install it (Debian, Ubuntu: apt install coreutils)"

mkdir -p "$downloads" 2>/dev/null || die "cannot write to $cache: make it writable, or set XDG_CACHE_HOME to another folder"

# The lock goes when this process does, however it ends. Programs started from here do not inherit it (9>&-), so that
# none of them can keep it.
exec 9>"$cache/lock"
if ! flock -n 9; then
    say "waiting for another setup to finish"
    flock 9
fi
if [ -e "$tree/build-version" ]; then
    link_tree 9>&-
    exit 0
fi

# Whatever is in a temporary folder now was left by a setup that was killed.
rm -rf "$cache"/tmp.*
work=$cache/tmp.$$
child=
clean_up() {
    if [ -n "$child" ]; then kill "$child" 2>/dev/null || :; fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
mkdir "$work"

free_mb=$(df -Pk "$cache" | awk 'NR == 2 { print int($4 / 1024) }')
[ "$free_mb" -ge "$need_mb" ] ||
    die "$cache has $free_mb MB free and libtorch needs $need_mb MB while it is unpacked: free some space, or set XDG_CACHE_HOME to a folder with more"

# Runs a command in the background and waits, so that a signal is acted on at once, and not after the command.
run() {
    "$@" 9>&- &
    child=$!
    status=0
    wait "$child" || status=$?
    child=
    return "$status"
}

sum_of() {
    sum=$(sha256sum "$1" 9>&-)
    sum=${sum%% *}
}

# Leaves the wheel with hash $1 of requirement $2 at $downloads/$1.whl. The wheel's tags are all spelled out, so that
# neither the user's Python nor its platform chooses another file.
fetch() {
    wheel=$downloads/$1.whl
    if [ -e "$wheel" ]; then
        return # only ever put there whole and checked
    fi
    mkdir -p "$work/dl" "$work/tmp"
    quiet=
    [ -t 2 ] || quiet=-q
    # shellcheck disable=SC2086 # $pip and $quiet hold words
    run env "TMPDIR=$work/tmp" PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 $pip download \
        $quiet --no-deps --no-cache-dir --dest "$work/dl" --only-binary=:all: \
        --python-version 3.11 --implementation cp --abi cp311 --abi none \
        --platform "manylinux_2_28_$arch" --platform "manylinux_2_27_$arch" --platform "manylinux_2_25_$arch" \
        --platform "manylinux_2_24_$arch" --platform "manylinux_2_18_$arch" --platform "manylinux_2_17_$arch" \
        --platform "manylinux2014_$arch" "$2" >&2 ||
        die "pip could not download $2 (its message is above); once that is solved, run this again, or set LIBTORCH to the folder of a libtorch $VERSION"
    got=$(ls "$work/dl")
    sum_of "$work/dl/$got"
    if [ "$sum" != "$1" ]; then
        rm -rf "$work/dl"
        die "$got arrived with SHA-256 $sum, not $1: the download is damaged or not the published file and was removed; run this again"
    fi
    mv "$work/dl/$got" "$wheel"
}

# Unpacks the members $2... (patterns) of wheel $1 into $work/wheel.
unpack() {
    archive=$1
    shift
    if [ "$unzip" = unzip ]; then
        run unzip -q -o "$archive" "$@" -d "$work/wheel"
    else
        run python3 -m zipfile -e "$archive" "$work/wheel"
    fi || die "cannot unpack $archive: remove it and run this again"
}

if [ "$variant" = cuda ]; then size="several GB"; else size="about 540 MB"; fi
say "fetching libtorch $label for $arch ($size, once) into $cache"

mkdir -p "$work/wheel" "$work/tree/lib"
while read -r hash requirement; do
    [ -n "$hash" ] || continue
    fetch "$hash" "$requirement"
done <<LIST
$wheels
LIST

say "unpacking"
while read -r hash requirement; do
    [ -n "$hash" ] || continue
    case $requirement-$variant in
    torch=*)
        set -- 'torch/include/*'
        for lib in $torch_libs; do
            set -- "$@" "torch/lib/$lib"
        done
        ;;
    nvidia-cuda-runtime=*-cpu) set -- 'nvidia/cu13/lib/libcudart.so.13' ;;
    nvidia-cuda-cupti=*-cpu) set -- 'nvidia/cu13/lib/libcupti.so.13' ;;
    *) set -- 'nvidia/*.so*' ;;
    esac
    unpack "$downloads/$hash.whl" "$@"
done <<LIST
$wheels
LIST

mv "$work/wheel/torch/include" "$work/tree/include"
for lib in $torch_libs; do
    mv "$work/wheel/torch/lib/$lib" "$work/tree/lib/"
done
for lib in "$work"/wheel/nvidia/*/lib/*.so*; do
    mv "$lib" "$work/tree/lib/" # the RPATH of the libraries has their own folder
done

# torch-sys links -ltorch, which holds no code of its own: a linker script does. It also links -ltorch_cuda if that is
# in the folder, and asks for nothing of CUDA if it is not.
echo 'INPUT(-ltorch_cpu)' >"$work/tree/lib/libtorch.so"
echo "$label" >"$work/tree/build-version"

rm -rf "$tree"
mv "$work/tree" "$tree"
rm -f "$downloads"/*.whl
link_tree 9>&-
say "libtorch $label is in $tree"
