#!/bin/sh
# The rustdoc of the stable toolchain, which may also write JSON. The variable is set for rustdoc alone: the build
# scripts of some dependencies read it, so that all of them would be built once more.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
