#!/bin/sh
# Fetch a MovieLens release of GroupLens. din-train itself never uses the network: only the download_*.sh scripts do,
# when they are called.
set -eu
. "$(dirname "$0")/download.sh"

base=https://files.grouplens.org/datasets/movielens

show_help() {
  cat <<END
Usage: $0 [ml-20m|ml-25m|ml-32m|ml-1m|ml-100k] [FOLDER]

Fetch a MovieLens release, verify its published MD5 and unpack it into FOLDER/<release>.

  release  ml-20m if left out
  FOLDER   data if left out

What is there already is left alone. A download that was cut off goes on where it stopped. The terms of use are in the
README of each release.

Environment: DIN_TRAIN_MIRROR, another base URL to fetch from, in place of $base

Exit codes: 0 done, 1 not fetched, 2 wrong usage, 130 on Ctrl-C.
END
}

compute_md5() {  # FILE
  if has md5sum; then
    md5sum <"$1"
  else
    md5 -q "$1"
  fi
}

read_md5() {  # of lines such as "MD5 (ml-20m.zip) = <hex>" or "<hex>  ml-20m.zip"
  tr A-F a-f | sed -n 's/^\(.*[^0-9a-f]\)\{0,1\}\([0-9a-f]\{32\}\)\([^0-9a-f].*\)\{0,1\}$/\2/p' | sed -n 1p
}

is_checksum() {  # FILE
  why="holds no MD5"
  [ -n "$(read_md5 <"$1")" ]
}

matches_checksum() {  # FILE
  actual=$(compute_md5 "$1" | read_md5)
  why="has the MD5 '$actual', not the published '$expected'"
  [ "$actual" = "$expected" ]
}

unpack() {  # ARCHIVE FOLDER
  if has unzip; then
    unzip -q -o "$1" -d "$2"
  elif has python3; then
    python3 -m zipfile -e "$1" "$2"
  else
    echo "neither unzip nor python3 is on the PATH"
    return 1
  fi
}

case ${1-} in -h | --help) show_help; exit 0 ;; esac
for argument; do
  case $argument in
    -*) wrong_usage "unknown option '$argument'" ;;
    "") wrong_usage "received an empty argument" ;;
  esac
done
[ $# -le 2 ] || wrong_usage "received '$3' after the release and FOLDER, expected nothing more"
name=${1:-ml-20m} folder=${2:-data}
users=
case $name in
  ml-20m | ml-25m | ml-32m) events=ratings.csv items=movies.csv ;;
  ml-1m) events=ratings.dat items=movies.dat users=users.dat ;;
  ml-100k) events=u.data items=u.item users=u.user ;;
  *) wrong_usage "unknown release '$name', expected ml-20m, ml-25m, ml-32m, ml-1m or ml-100k" ;;
esac
[ "$folder" = / ] || folder=${folder%/}
base=${DIN_TRAIN_MIRROR:-$base}
base=${base%/}
archive=$folder/$name.zip
target=$folder/$name

if [ -f "$target/$events" ] && [ -f "$target/$items" ]; then
  echo "$target: already there"
else
  [ ! -e "$target" ] || fail "$target: is there, but without $events and $items; move it away, then start again"
  has md5sum || has md5 || fail "neither md5sum nor md5 is on the PATH to check the archive with; install one of them"
  make_folder "$folder"
  [ -f "$archive" ] || rm -f "$archive.md5"  # a checksum left by an attempt that failed
  fetch "$base/$name.zip.md5" "$archive.md5" is_checksum
  expected=$(read_md5 <"$archive.md5")
  fetch "$base/$name.zip" "$archive" matches_checksum
  rm -rf "$target.part"
  echo "$target: unpacking"
  reason=$(unpack "$archive" "$target.part" 2>&1) || {
    rm -rf "$target.part"
    fail "$archive: cannot be unpacked ($(echo "$reason" | sed -n '$p')); see to that, then start again"
  }
  if [ ! -f "$target.part/$name/$events" ] || [ ! -f "$target.part/$name/$items" ]; then
    rm -rf "$target.part"
    fail "$archive: has no $name/$events and $name/$items in it; remove it and start again, or unpack one to $target"
  fi
  set_aside "$target.part/$name" "$target"
  rm -rf "$target.part"
fi

cat <<END
Next, with a config of your own as CONFIG (the terms of use are in the README in $target):
  din-train fit --config CONFIG --set data.source=movielens \\
    --set data.events=$(quote "$target/$events") \\
    --set data.items=$(quote "$target/$items")
END
if [ -n "$users" ]; then
  echo "For data.user_fields add --set data.users=$(quote "$target/$users")."
fi
