# Sourced by the download_*.sh scripts: fetch a file whole, or go on with it at the next start.
# What is under way stands in PATH.part; only what has passed its check gets the name PATH.

fail() {  # WHAT ...: the one line of a failure
  echo "error: $*" >&2
  exit 1
}

wrong_usage() {  # WHAT ...
  echo "error: $*; see $0 --help" >&2
  exit 2
}

has() {  # TOOL
  command -v "$1" >/dev/null 2>&1
}

trap 'echo "interrupted; what has arrived is kept, and the same command goes on with it" >&2; exit 130' INT

quote() {  # TEXT: as a shell reads it back
  case $1 in
    *[!A-Za-z0-9_./-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s' "$1" ;;
  esac
}

make_folder() {  # FOLDER
  reason=$(mkdir -p "$1" 2>&1) || fail "$1: the folder cannot be made (${reason##*: }); name another one"
  [ -w "$1" ] || fail "$1: the folder cannot be written to; name another one"
}

set_aside() {  # FILE NEW_NAME
  reason=$(mv -f "$1" "$2" 2>&1) || fail "$1: cannot be renamed to $2 (${reason##*: }); see to that, then start again"
}

# Ask for URL and append to PART what is missing of it. On a terminal the tool shows its progress and its own errors;
# elsewhere it is quiet. Either way `tool` is its name, `status` its exit code and `reason` why it stopped.
transfer() {  # URL PART
  status=0
  if has curl; then
    tool=curl
    set -- --fail --location --retry 3 --connect-timeout 30 --speed-limit 1 --speed-time 60 --continue-at - \
      --output "$2" "$1"
    if [ -t 2 ]; then
      reason=$(curl --progress-bar --write-out 'HTTP status %{http_code}' "$@") || status=$?
    else
      reason=$(curl --silent --show-error "$@" 2>&1) || status=$?
    fi
  else
    tool=wget
    set -- --tries=3 --timeout=60 --continue --output-document="$2" "$1"
    if [ -t 2 ]; then
      reason=
      wget --quiet --show-progress "$@" || status=$?
    else
      reason=$(LC_ALL=C wget --no-verbose "$@" 2>&1) || status=$?
    fi
  fi
  reason=$(printf '%s\n' "$reason" |
    sed -n '$ { s/^curl: ([0-9]*) //; s/^wget: //; s/^[-0-9]* [:0-9]* //; s/^HTTP status 000$//; s/\.$//; p; }')
  [ -n "$reason" ] || reason="$tool ended with exit code $status"
}

# Leave PATH alone if it is there and passes CHECK; else bring it here from URL. CHECK is a function that is given a
# file and, where it refuses it, says in `why` what is wrong with it.
fetch() {  # URL PATH CHECK
  by_hand="fetch it by hand and put it at $2"
  if [ -d "$2" ]; then fail "$2: is a folder, where the file from $1 should be; move it away, then start again"; fi
  if [ -e "$2" ]; then
    if "$3" "$2"; then
      echo "$2: already there"
      return
    fi
    set_aside "$2" "$2.damaged"
    echo "$2: $why; it is now $2.damaged, and is fetched anew" >&2
  fi
  has curl || has wget || fail "$1: neither curl nor wget is on the PATH; install one of them, or $by_hand"
  if [ -s "$2.part" ]; then
    echo "$2: going on after $(($(wc -c <"$2.part"))) bytes with $1"
  else
    echo "$2: fetching $1"
  fi
  transfer "$1" "$2.part"
  case $tool:$status:$reason in
    curl:33:* | curl:22:*416)  # the server has no more than PART, or does not know how to go on in the middle
      if "$3" "$2.part"; then
        status=0
      else
        echo "$2: the server cannot go on from there; starting from the beginning"
        rm -f "$2.part"
        transfer "$1" "$2.part"
      fi ;;
  esac
  [ -s "$2.part" ] || rm -f "$2.part"
  case $tool:$status in
    curl:0 | wget:0) ;;
    curl:22 | wget:8)
      fail "$1: the server does not give it ($reason); $by_hand, or name another server's folder in DIN_TRAIN_MIRROR" ;;
    *) fail "$1: not fetched ($reason); start again, which keeps what has arrived, or $by_hand" ;;
  esac
  [ -e "$2.part" ] || fail "$1: arrived empty; start again, or $by_hand"
  if ! "$3" "$2.part"; then
    set_aside "$2.part" "$2.damaged"
    fail "$1: what arrived $why, and is set aside as $2.damaged; start again to fetch it anew, or $by_hand"
  fi
  set_aside "$2.part" "$2"
}
