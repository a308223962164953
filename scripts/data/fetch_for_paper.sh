#!/bin/sh
# What `make reproduce-paper` needs and does not find, where there is a network. Without one this says nothing:
# `din-train reproduce` then says what to fetch and where to put it.
set -eu
here=$(dirname "$0")
. "$here/download.sh"

answers() {  # URL: something does, whatever it says
  if has curl; then
    curl --silent --head --output /dev/null --connect-timeout 10 --max-time 30 "$1"
  elif has wget; then
    wget --quiet --spider --tries=1 --timeout=10 "$1" || [ $? -eq 8 ]  # 8: the server answered with an error
  else
    return 1
  fi
}

is_there() {  # FILE, packed or not
  [ -e "$1" ] || [ -e "${1%.gz}" ]
}

case ,${1-}, in *,electronics,*)
  folder=data/electronics
  if ! is_there $folder/reviews_Electronics_5.json.gz || ! is_there $folder/meta_Electronics.json.gz; then
    if answers "${DIN_TRAIN_MIRROR:-https://snap.stanford.edu}"; then
      "$here/download_amazon.sh" Electronics $folder || true
    fi
  fi ;;
esac
case ,${1-}, in *,movielens,*)
  if ! is_there data/ml-20m/ratings.csv || ! is_there data/ml-20m/movies.csv; then
    if answers "${DIN_TRAIN_MIRROR:-https://files.grouplens.org}"; then
      "$here/download_movielens.sh" ml-20m data || true
    fi
  fi ;;
esac
