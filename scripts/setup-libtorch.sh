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

# One wheel a line: SHA-256 and the pip requirement. `===` leaves out builds with a local version (2.11.0+cpu), which an
# extra index may offer and whose hash would differ. The CUDA versions are those that the torch wheel asks for; two of
# its CUDA libraries are there for the CPU too, because its libtorch_cpu.so is linked to them.
case $arch in
x86_64)
    wheels="\
7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a torch===2.11.0
7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548 nvidia-cuda-runtime===13.0.96
4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8 nvidia-cuda-cupti===13.0.85"
    cuda_wheels="\
d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf nvidia-cudnn-cu13===9.19.0.56
25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd nvidia-cusparselt-cu13===0.8.0
e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42 nvidia-nccl-cu13===2.28.9
290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80 nvidia-nvshmem-cu13===3.4.5
ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171 nvidia-cublas===13.1.0.3
6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3 nvidia-cufft===12.0.0.61
08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44 nvidia-cufile===1.15.1.6
1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc nvidia-curand===10.4.0.35
0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112 nvidia-cusolver===12.0.4.66
2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b nvidia-cusparse===12.6.3.3
13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b nvidia-nvjitlink===13.0.88
ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575 nvidia-cuda-nvrtc===13.0.88
4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4 nvidia-nvtx===13.0.85"
    torch_libs="libc10.so libgomp.so.1 libtorch_cpu.so"
    ;;
aarch64)
    wheels="\
d91aac77f24082809d2c5a93f52a5f085032740a1ebc9252a7b052ef5a4fddc6 torch===2.11.0
ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55 nvidia-cuda-runtime===13.0.96
796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151 nvidia-cuda-cupti===13.0.85"
    cuda_wheels="\
6ed29ffaee1176c612daf442e4dd6cfeb6a0caa43ddcbeb59da94953030b1be4 nvidia-cudnn-cu13===9.19.0.56
400c6ed1cf6780fc6efedd64ec9f1345871767e6a1a0a552a1ea0578117ea77c nvidia-cusparselt-cu13===0.8.0
01c873ba1626b54caa12272ed228dc5b2781545e0ae8ba3f432a8ef1c6d78643 nvidia-nccl-cu13===2.28.9
6dc2a197f38e5d0376ad52cd1a2a3617d3cdc150fd5966f4aee9bcebb1d68fe9 nvidia-nvshmem-cu13===3.4.5
c86fc7f7ae36d7528288c5d88098edcb7b02c633d262e7ddbb86b0ad91be5df2 nvidia-cublas===13.1.0.3
2708c852ef8cd89d1d2068bdbece0aa188813a0c934db3779b9b1faa8442e5f5 nvidia-cufft===12.0.0.61
bdc0deedc61f548bddf7733bdc216456c2fdb101d020e1ab4b88d232d5e2f6d1 nvidia-cufile===1.15.1.6
133df5a7509c3e292aaa2b477afd0194f06ce4ea24d714d616ff36439cee349a nvidia-curand===10.4.0.35
02c2457eaa9e39de20f880f4bd8820e6a1cfb9f9a34f820eb12a155aa5bc92d2 nvidia-cusolver===12.0.4.66
80bcc4662f23f1054ee334a15c72b8940402975e0eab63178fc7e670aa59472c nvidia-cusparse===12.6.3.3
e931536ccc7d467a98ba1d8b89ff7fa7f1fa3b13f2b0069118cd7f47bff07d0c nvidia-nvjitlink===13.0.88
d27f20a0ca67a4bb34268a5e951033496c5b74870b868bacd046b1b8e0c3267b nvidia-cuda-nvrtc===13.0.88
cb7780edb6b14107373c835bf8b72e7a178bac7367e23da7acb108f973f157a6 nvidia-nvtx===13.0.85"
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
have flock && have setsid || die "flock or setsid is missing: install util-linux (apt install util-linux)"
have sha256sum || die "sha256sum is missing: install it (Debian, Ubuntu: apt install coreutils)"

mkdir -p "$downloads" 2>/dev/null || die "cannot write to $cache: make it writable, or set XDG_CACHE_HOME to another folder"

# The lock goes with the last process that has it open, however that ends: this one and pip and unzip, which it starts, so
# that a killed setup is over for the next one only when nothing writes to its folder any more.
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
    if [ -n "$child" ]; then
        kill -- "-$child" 2>/dev/null || :
        wait "$child" 2>/dev/null || :
    fi
    rm -rf "$work" 2>/dev/null || :
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
mkdir "$work"

free_mb=$(df -Pk "$cache" | awk 'NR == 2 { print int($4 / 1024) }')
[ "$free_mb" -ge "$need_mb" ] ||
    die "$cache has $free_mb MB free and libtorch needs $need_mb MB while it is unpacked: free some space, or set XDG_CACHE_HOME to a folder with more"

# Runs a command in the background and waits, so that a signal is acted on at once, and not after the command. It has a
# process group of its own to be stopped with: pip may be a wrapper script that starts the real one.
run() {
    setsid "$@" &
    child=$!
    status=0
    wait "$child" || status=$?
    child=
    return "$status"
}

sum_of() {
    sum=$(sha256sum "$1")
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
if [ "$variant" = cuda ]; then set -- '*.so*'; else set -- libcudart.so.13 libcupti.so.13; fi
for pattern do
    # They find each other: the RPATH of all these libraries has their own folder in it.
    find "$work/wheel/nvidia" -name "$pattern" -exec mv {} "$work/tree/lib/" \;
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
