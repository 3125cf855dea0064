#!/bin/sh
# Runs the command line with the Node that npm ci brought along. Finds the package through the links that npm makes.
set -eu

self=$0
while [ -L "$self" ]; do
  target=$(readlink "$self")
  case $target in
    /*) self=$target ;;
    *) self=$(dirname "$self")/$target ;;
  esac
done
root=$(CDPATH= cd -P -- "$(dirname -- "$self")/.." && pwd -P)

if [ ! -d "$root/node_modules/commander" ]; then
  echo "freehold: its packages are not installed; run npm ci first, in $root" >&2
  exit 1
fi

node=$root/node_modules/.bin/node
if [ ! -x "$node" ]; then
  node=node
  version=$(node -p 'process.versions.node' 2>/dev/null || echo none)
  major=${version%%.*}
  if [ "$major" = none ] || [ "$major" -lt 24 ]; then
    echo "freehold: needs Node 24 or newer, found $version; run npm ci in $root, which brings it along, or install it" >&2
    exit 1
  fi
fi

# What Node compiles is kept there for the next time, where it may.
NODE_COMPILE_CACHE=${NODE_COMPILE_CACHE-$root/node_modules/.cache/compile}
export NODE_COMPILE_CACHE

exec "$node" "$root/scripts/freehold.ts" "$@"
