#!/bin/sh
# Fetch one category of Amazon reviews and its metadata. din-train itself never uses the network: only the
# download_*.sh scripts do, when they are called.
set -eu
. "$(dirname "$0")/download.sh"

show_help() {
  cat <<END
Usage: $0 [--release 2014|2018|2023] [CATEGORY] [FOLDER]

Fetch the reviews and the metadata of one category of Amazon reviews into FOLDER.

  CATEGORY   as the release spells it; Electronics if left out
  FOLDER     if left out, data/<category in lower case>, such as data/electronics; for the releases 2018 and 2023 with
             -2018 or -2023 after it, since their files can have the same names as those of 2014
  --release  2014 if left out. 2014 and 2018: the 5-core, users and items with five reviews or more; 2023: all reviews

A file that is there and whole is left alone. A download that was cut off goes on where it stopped. No checksums are
published for these files: reading one to its end as gzip proves it whole.

Environment: DIN_TRAIN_MIRROR, another base URL to fetch from, in place of
  2014  $base_2014
  2018  $base_2018
  2023  $base_2023

Categories of 2014: $(echo $categories_2014)

Categories of 2018: $(echo $categories_2018)

Categories of 2023: $(echo $categories_2023)

Exit codes: 0 done, 1 not fetched, 2 wrong usage, 130 on Ctrl-C.
END
}

base_2014=https://snap.stanford.edu/data/amazon/productGraph/categoryFiles
base_2018=https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2
base_2023=https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw

categories_2014="Amazon_Instant_Video Apps_for_Android Automotive Baby Beauty Books CDs_and_Vinyl
  Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Grocery_and_Gourmet_Food
  Health_and_Personal_Care Home_and_Kitchen Kindle_Store Movies_and_TV Musical_Instruments Office_Products
  Patio_Lawn_and_Garden Pet_Supplies Sports_and_Outdoors Tools_and_Home_Improvement Toys_and_Games Video_Games"
categories_2018="AMAZON_FASHION All_Beauty Appliances Arts_Crafts_and_Sewing Automotive Books CDs_and_Vinyl
  Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards Grocery_and_Gourmet_Food
  Home_and_Kitchen Industrial_and_Scientific Kindle_Store Luxury_Beauty Magazine_Subscriptions Movies_and_TV
  Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies Prime_Pantry Software Sports_and_Outdoors
  Tools_and_Home_Improvement Toys_and_Games Video_Games"
categories_2023="All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products
  Beauty_and_Personal_Care Books CDs_and_Vinyl Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music
  Electronics Gift_Cards Grocery_and_Gourmet_Food Handmade_Products Health_and_Household Health_and_Personal_Care
  Home_and_Kitchen Industrial_and_Scientific Kindle_Store Magazine_Subscriptions Movies_and_TV Musical_Instruments
  Office_Products Patio_Lawn_and_Garden Pet_Supplies Software Sports_and_Outdoors Subscription_Boxes
  Tools_and_Home_Improvement Toys_and_Games Unknown Video_Games"

is_whole_gzip() {  # FILE
  why="is no whole gzip file"
  if has gzip; then
    gzip -t <"$1" 2>/dev/null
  else
    python3 -c 'import gzip, sys
with gzip.open(sys.argv[1]) as file:
    while file.read(1 << 20): pass' "$1" 2>/dev/null
  fi
}

release=2014 category= folder=
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) show_help; exit 0 ;;
    --release=*) release=${1#*=} ;;
    --release)
      [ $# -gt 1 ] || wrong_usage "--release: expected 2014, 2018 or 2023 after it"
      release=$2
      shift ;;
    -*) wrong_usage "unknown option '$1'" ;;
    "") wrong_usage "received an empty argument" ;;
    *)
      if [ -z "$category" ]; then category=$1
      elif [ -z "$folder" ]; then folder=$1
      else wrong_usage "received '$1' after CATEGORY and FOLDER, expected nothing more"; fi ;;
  esac
  shift
done
: "${category:=Electronics}"

case $release in
  2014)
    base=$base_2014 categories=$categories_2014
    reviews=reviews_${category}_5.json.gz items=meta_$category.json.gz ;;
  2018)
    base=$base_2018 categories=$categories_2018
    reviews=categoryFilesSmall/${category}_5.json.gz items=metaFiles2/meta_$category.json.gz ;;
  2023)
    base=$base_2023 categories=$categories_2023
    reviews=review_categories/$category.jsonl.gz items=meta_categories/meta_$category.jsonl.gz ;;
  *) wrong_usage "--release: received '$release', expected 2014, 2018 or 2023" ;;
esac
known=
for each in $categories; do
  [ "$each" != "$category" ] || known=yes
done
[ -n "$known" ] || wrong_usage "unknown category '$category' of the release $release"
base=${DIN_TRAIN_MIRROR:-$base}
base=${base%/}
if [ -z "$folder" ]; then
  folder=data/$(echo "$category" | tr '[:upper:]' '[:lower:]')
  [ "$release" = 2014 ] || folder=$folder-$release
fi
case $release in  # the metadata of these two have one name
  2014) other=$folder/${category}_5.json.gz ;;
  2018) other=$folder/reviews_${category}_5.json.gz ;;
  2023) other= ;;
esac
if [ -n "$other" ] && [ -e "$other" ]; then
  wrong_usage "$folder: holds another release ($other), whose metadata has the same name; name another FOLDER"
fi

has gzip || has python3 || fail "neither gzip nor python3 is on the PATH to check the files with; install one of them"
make_folder "$folder"
fetch "$base/$reviews" "$folder/${reviews##*/}" is_whole_gzip
fetch "$base/$items" "$folder/${items##*/}" is_whole_gzip

cat <<END
Next, with a config of your own as CONFIG:
  din-train fit --config CONFIG --set data.source=amazon-$release \\
    --set data.reviews=$(quote "$folder/${reviews##*/}") \\
    --set data.items=$(quote "$folder/${items##*/}")
END
