"""Tiny files of every public log, generated in the form in which it is published: names, separators, quotes, times."""

import csv
import gzip
import io
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Rows = Iterable[Sequence[object]]
_START = 1_494_028_800  # 2017-05-06
_CATEGORIES = ("Action", "Comedy", "Drama", "Horror", "Sci-Fi")
_ITEMS = 60


@dataclass(frozen=True)
class Event:
    """A user meets an item; the rating is high (4 or 5) for the user's own category, mostly."""

    user: int
    item: int
    time: int
    rating: int

    @property
    def category(self) -> int:
        return self.item % len(_CATEGORIES)

    @property
    def clicked(self) -> bool:
        return self.rating >= 4


@dataclass(frozen=True)
class Layout:
    """A public log.

    log: the file that one inspects, below the folder of the log. edits: keys of the config which `data inspect` prints
    that a user must change, paths apart.
    """

    name: str
    write: Callable[[Path], None]
    log: str
    edits: Mapping[str, object] = field(default_factory=dict)


def draw_events(users: int = 24, per_user: int = 14, *, by_user: bool = False) -> list[Event]:
    """In order of time, or of user and time."""
    generator = random.Random(13)  # noqa: S311
    events = []
    for user in range(1, users + 1):
        time = _START + 3_601 * user
        for _ in range(per_user):
            liked = generator.random() < 0.5
            category = user if liked else user + generator.randrange(1, len(_CATEGORIES))
            item = generator.randrange(_ITEMS // len(_CATEGORIES)) * len(_CATEGORIES) + category % len(_CATEGORIES)
            rating = generator.choice((4, 5)) if liked != (generator.random() < 0.1) else generator.choice((1, 2, 3))
            events.append(Event(user, item, time, rating))
            time += generator.randrange(2_000, 90_000)
    return events if by_user else sorted(events, key=lambda event: event.time)


def _write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _write_joined(path: Path, rows: Rows, between: str, newline: str = "\n", encoding: str = "utf-8") -> None:
    """Without quotes, whatever the fields hold."""
    _write(path, "".join(between.join(map(str, row)) + newline for row in rows), encoding)


def _write_csv(path: Path, header: str, rows: Rows, delimiter: str = ",") -> None:
    """With a header, and with quotes where they are needed."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerows([header.split(delimiter), *rows])
    _write(path, text.getvalue())


def _write_json(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    _write(path, "".join(json.dumps(row) + "\n" for row in rows))


def _format_time(form: str, time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime(form)


def _list_requests(users: int = 24, per_user: int = 14) -> list[tuple[Event, list[Event]]]:
    """Every event, and the clicks of its user before it."""
    clicks: dict[int, list[Event]] = defaultdict(list)
    rows = []
    for event in draw_events(users, per_user):
        rows.append((event, list(clicks[event.user])))
        if event.clicked:
            clicks[event.user].append(event)
    return rows


def _write_movielens_100k(folder: Path) -> None:
    rows = [(e.user, e.item + 1, e.rating, e.time) for e in draw_events()]
    _write_joined(folder / "u.data", rows, "\t")
    films = []
    for item in range(_ITEMS):
        flags = [int(place == 1 + item % len(_CATEGORIES) or place == 9) for place in range(19)]
        films.append((item + 1, f"Été No. {item} (1995)", "01-Jan-1995", "", "http://us.imdb.com/M/title?x", *flags))
    _write_joined(folder / "u.item", films, "|", encoding="latin-1")
    people = [(user, 20 + user, "MF"[user % 2], "technician", f"{85_000 + user}") for user in range(1, 25)]
    _write_joined(folder / "u.user", people, "|")


def _write_movielens_1m(folder: Path) -> None:
    events = draw_events(by_user=True)
    _write_joined(folder / "ratings.dat", [(e.user, e.item + 1, e.rating, e.time) for e in events], "::")
    films = [(item + 1, f"Misérables, Les {item} (1995)", _name_genres(item)) for item in range(_ITEMS)]
    _write_joined(folder / "movies.dat", films, "::", encoding="latin-1")
    _write_joined(folder / "users.dat", [(user, "FM"[user % 2], 25, 12, "48067") for user in range(1, 25)], "::")


def _write_movielens_csv(folder: Path) -> None:
    rows = [(e.user, e.item + 1, e.rating - 0.5 * (e.user % 2), e.time) for e in draw_events(by_user=True)]
    _write_csv(folder / "ratings.csv", "userId,movieId,rating,timestamp", rows)
    films = [(item + 1, f'"Film", The {item} (1995)', _name_genres(item)) for item in range(_ITEMS)]
    _write_csv(folder / "movies.csv", "movieId,title,genres", films)


def _name_genres(item: int) -> str:
    return f"{_CATEGORIES[item % len(_CATEGORIES)]}|Thriller"


def _amazon_user(event: Event) -> str:
    return f"A{event.user:012}X"


def _amazon_item(item: int) -> str:
    return f"B00{item:06}Z"


def _write_amazon_2014(folder: Path) -> None:
    reviews: list[dict[str, Any]] = [
        {
            "reviewerID": _amazon_user(e),
            "asin": _amazon_item(e.item),
            "reviewerName": "A. Name",
            "helpful": [0, 0],
            "reviewText": 'It\'s "fine", \\ so.',
            "overall": float(e.rating),
            "summary": "Good",
            "unixReviewTime": e.time,
            "reviewTime": _format_time("%m %d, %Y", e.time),
        }
        for e in draw_events(by_user=True)
    ]
    _write_json(folder / "reviews_Toys_and_Games_5.json.gz", reviews)
    items = [
        {"asin": _amazon_item(item), "title": "it's", "price": 9.5, "categories": [["Toys", _CATEGORIES[item % 5]]]}
        for item in range(_ITEMS)
    ]
    _write(folder / "meta_Toys_and_Games.json.gz", "".join(f"{item!r}\n" for item in items))


def _write_amazon_2018(folder: Path) -> None:
    reviews: list[dict[str, Any]] = [
        {
            "overall": float(e.rating),
            "verified": True,
            "reviewTime": _format_time("%m %d, %Y", e.time),
            "reviewerID": _amazon_user(e),
            "asin": _amazon_item(e.item),
            "style": {"Color:": " Black"},
            "reviewerName": "A. Name",
            "reviewText": "Fine.",
            "summary": "Good",
            "unixReviewTime": e.time,
        }
        for e in draw_events(by_user=True)
    ]
    _write_json(folder / "AMAZON_FASHION_5.json.gz", reviews)
    items = [
        {"category": ["Clothing", _CATEGORIES[item % 5]], "asin": _amazon_item(item), "brand": "B", "price": "$9.50"}
        for item in range(_ITEMS)
    ]
    _write_json(folder / "meta_AMAZON_FASHION.json.gz", items)


def _write_amazon_2023(folder: Path) -> None:
    reviews: list[dict[str, Any]] = [
        {
            "rating": float(e.rating),
            "title": "Good",
            "text": "Fine.<br />So.",
            "images": [],
            "asin": _amazon_item(e.item),
            "parent_asin": _amazon_item(e.item),
            "user_id": _amazon_user(e),
            "timestamp": e.time * 1000 + 7,
            "helpful_vote": 0,
            "verified_purchase": True,
        }
        for e in draw_events(by_user=True)
    ]
    _write_json(folder / "All_Beauty.jsonl.gz", reviews)
    items = [
        {
            "main_category": "All Beauty",
            "title": "A",
            "price": 9.5,
            "store": "S",
            "categories": ["Beauty", _CATEGORIES[item % 5]],
            "details": {},
            "parent_asin": _amazon_item(item),
        }
        for item in range(_ITEMS)
    ]
    _write_json(folder / "meta_All_Beauty.jsonl.gz", items)


def _write_amazon_ratings_2014(folder: Path) -> None:
    rows = [(_amazon_user(e), _amazon_item(e.item), float(e.rating), e.time) for e in draw_events()]
    _write_joined(folder / "ratings_Toys_and_Games.csv", rows, ",")


def _write_amazon_ratings_2018(folder: Path) -> None:
    rows = [(_amazon_item(e.item), _amazon_user(e), float(e.rating), e.time) for e in draw_events()]
    _write_joined(folder / "AMAZON_FASHION.csv", rows, ",")


def _write_amazon_ratings_2023(folder: Path) -> None:
    rows = [(_amazon_user(e), _amazon_item(e.item), float(e.rating), e.time * 1000 + 7) for e in draw_events()]
    _write_csv(folder / "All_Beauty.csv", "user_id,parent_asin,rating,timestamp", rows)


def _write_amazon_histories_2023(folder: Path) -> None:
    rows = [
        (
            *(_amazon_user(event), _amazon_item(event.item), float(event.rating), event.time * 1000 + 7),
            " ".join(_amazon_item(each.item) for each in history),
        )
        for event, history in _list_requests(24, 20)
    ]
    for split, begin, end in (("train", 0, 320), ("valid", 320, 400), ("test", 400, 480)):
        header = "user_id,parent_asin,rating,timestamp,history"
        _write_csv(folder / f"All_Beauty.{split}.csv", header, rows[begin:end])


def _write_taobao(folder: Path) -> None:
    kind = {1: "pv", 2: "pv", 3: "fav", 4: "cart", 5: "buy"}
    rows = []
    for e in draw_events(per_user=20):
        rows.append((e.user, e.item, e.category, "pv", e.time))
        if e.rating > 2:
            rows.append((e.user, e.item, e.category, kind[e.rating], e.time + 60))
    _write_joined(folder / "UserBehavior.csv", rows, ",")


def _write_alimama(folder: Path) -> None:
    rows = [(e.user, e.time, e.item, "430548_1007", int(not e.clicked), int(e.clicked)) for e in draw_events()]
    _write_csv(folder / "raw_sample.csv", "user,time_stamp,adgroup_id,pid,nonclk,clk", rows)
    ads = [(item, 6_000 + item % 5, item % 7, item % 3, "NULL" if item % 4 else 12, 9.5) for item in range(_ITEMS)]
    _write_csv(folder / "ad_feature.csv", "adgroup_id,cate_id,campaign_id,customer,brand,price", ads)
    people = [(user, 0, user % 5, 1 + user % 2, 3, "", 3, 0, 2 if user % 3 else "") for user in range(1, 25)]
    header = "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,occupation,"
    _write_csv(folder / "user_profile.csv", header + "new_user_class_level ", people)


def _write_mind(folder: Path) -> None:
    generator = random.Random(7)  # noqa: S311
    rows = []
    for number, (event, history) in enumerate(_list_requests(), 1):
        others = [generator.randrange(_ITEMS) for _ in range(2)]
        shown = [f"N{event.item}-{int(event.clicked)}", *(f"N{each}-0" for each in others if each != event.item)]
        time = datetime.fromtimestamp(event.time, UTC)
        hour = f"{time.month}/{time.day}/{time.year} {time.hour % 12 or 12}:{time:%M:%S %p}"
        rows.append((number, f"U{event.user}", hour, " ".join(f"N{each.item}" for each in history), " ".join(shown)))
    _write_joined(folder / "MINDsmall_train/behaviors.tsv", rows[:250], "\t")
    _write_joined(folder / "MINDsmall_dev/behaviors.tsv", rows[250:], "\t")
    entities = '[{"Label": "A \\"B\\"", "Type": "P"}]'
    news = [
        (f"N{item}", _CATEGORIES[item % 5].lower(), "sub", f'"Title" {item}', "", "https://x/y.html", entities, "[]")
        for item in range(_ITEMS)
    ]
    for place in (folder, folder / "MINDsmall_train"):  # all news, and those of a part
        _write_joined(place / "news.tsv", news, "\t")


_KUAIRAND = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)


def _write_kuairand(folder: Path) -> None:
    rows = [
        (
            *(e.user, e.item, _format_time("%Y%m%d", e.time), int(_format_time("%H00", e.time)), e.time * 1000 + 7),
            *(int(e.clicked), int(e.rating == 5 and e.item % 7 == 0), 0, 0, 0, 0, int(e.rating == 5)),
            *(1_000 * e.rating, 5_000 + e.item, 0, 0, 0, 0, e.item % 3),
        )
        for e in draw_events()
    ]
    _write_csv(folder / "log_standard_4_08_to_4_21_pure.csv", _KUAIRAND, rows)
    videos = [(item, item % 9, "NORMAL", "2022-04-01", 5_000.0, item % 4, str(item % 5)) for item in range(_ITEMS)]
    header = "video_id,author_id,video_type,upload_dt,video_duration,music_id,tag"
    _write_csv(folder / "video_features_basic_pure.csv", header, videos)


def _write_kuairec(folder: Path) -> None:
    rows = [
        (
            *(e.user, e.item, 1_000 * e.rating + e.user, 2_500, _format_time("%Y-%m-%d %H:%M:%S.007", e.time)),
            *(_format_time("%Y%m%d", e.time), f"{e.time}.007", (1_000 * e.rating + e.user) / 2_500),
        )
        for e in draw_events()
    ]
    header = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"
    _write_csv(folder / "big_matrix.csv", header, rows)
    _write_csv(folder / "item_categories.csv", "video_id,feat", [(i, f"[{i % 5}, 27]") for i in range(_ITEMS)])


def _write_retailrocket(folder: Path) -> None:
    rows: list[Sequence[object]] = []
    for number, e in enumerate(draw_events()):
        rows.append((e.time * 1000 + 7, e.user, "view", e.item, ""))
        if e.clicked:
            rows.append((e.time * 1000 + 60_000, e.user, "addtocart", e.item, ""))
        if e.rating == 5:
            rows.append((e.time * 1000 + 90_000, e.user, "transaction", e.item, number))
    _write_csv(folder / "events.csv", "timestamp,visitorid,event,itemid,transactionid", rows)


def _write_yoochoose(folder: Path) -> None:
    rows = [
        (e.user, _format_time("%Y-%m-%dT%H:%M:%S.277Z", e.time), 214_500_000 + e.item, e.category)
        for e in draw_events(80, 6, by_user=True)
    ]
    _write_joined(folder / "yoochoose-clicks.dat", rows, ",")


def _write_diginetica(folder: Path) -> None:
    rows = [
        (e.user, e.user if e.user % 10 == 0 else "NA", e.item, 1_000 * place, _format_time("%Y-%m-%d", _START + e.user))
        for place, e in enumerate(draw_events(80, 6, by_user=True))
    ]
    header = "session_id;user_id;item_id;timeframe;eventdate"
    _write_csv(folder / "train-item-views.csv", header, rows, ";")
    categories = [(item, item % 5) for item in range(_ITEMS)]
    _write_csv(folder / "product-categories.csv", "itemId;categoryId", categories, ";")


def _write_tenrec(folder: Path) -> None:
    rows = []
    for event, history in _list_requests():
        newest = [each.item + 1 for each in history[-10:]]
        label = (int(event.clicked), 0, int(event.rating == 5), 0)
        of_user = (event.category, event.rating, event.user % 2, event.user % 7)
        rows.append((event.user, event.item + 1, *label, *of_user, *([0] * (10 - len(newest)) + newest)))
    header = "user_id,item_id,click,follow,like,share,video_category,watching_times,gender,age,"
    _write_csv(folder / "ctr_data_1M.csv", header + ",".join(f"hist_{place}" for place in range(1, 11)), rows)


def _write_recbole(folder: Path) -> None:
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    rows = [(e.user, e.item, float(e.rating), float(e.time)) for e in draw_events()]
    _write_csv(folder / "ml-100k.inter", header, rows, "\t")
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    films = [(item, "Toy Story", 1995, f"{_CATEGORIES[item % 5]} Thriller") for item in range(_ITEMS)]
    _write_csv(folder / "ml-100k.item", header, films, "\t")
    header = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token"
    people = [(user, 20 + user, "MF"[user % 2], "writer", "85711") for user in range(1, 25)]
    _write_csv(folder / "ml-100k.user", header, people, "\t")


_FUXICTR = "clk,time_stamp,userid,adgroup_id,pid,cate_id,customer,brand,price,age_level,occupation,click_sequence"


def _write_fuxictr_csv(folder: Path) -> None:
    rows = [
        (
            *(int(e.clicked), _format_time("%Y-%m-%d %H:%M:%S", e.time), e.user, e.item, "430548_1007", e.category),
            *(e.item % 7, 12 if e.item % 4 else "", 9.5, 3, 0, "^".join(str(each.item) for each in history)),
        )
        for e, history in _list_requests(24, 20)
    ]
    for split, begin, end in (("train", 0, 320), ("valid", 320, 400), ("test", 400, 480)):
        _write_csv(folder / f"{split}.csv", _FUXICTR, rows[begin:end])


def _write_fuxictr_parquet(folder: Path) -> None:
    rows = [
        {
            "label": float(e.clicked),
            "user_id": e.user,
            "item_id": e.item,
            "cate_id": e.category,
            "click_history": [each.item for each in history],
            "cate_history": [each.category for each in history],
        }
        for e, history in _list_requests(24, 20)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for split, begin, end in (("train", 0, 320), ("valid", 320, 400), ("test", 400, 480)):
        pq.write_table(pa.Table.from_pylist(rows[begin:end]), folder / f"{split}.parquet")


def _write_yelp(folder: Path) -> None:
    reviews: list[dict[str, Any]] = [
        {
            "review_id": f"r{e.time:020}",
            "user_id": f"u{e.user:021}",
            "business_id": f"b{e.item:021}",
            "stars": float(e.rating),
            "useful": 0,
            "funny": 0,
            "cool": 0,
            "text": 'Nice,\n"so".',
            "date": _format_time("%Y-%m-%d %H:%M:%S", e.time),
        }
        for e in draw_events()
    ]
    _write_json(folder / "yelp_academic_dataset_review.json", reviews)
    places = [
        {"business_id": f"b{item:021}", "name": "X", "city": "Tucson", "stars": 4.5, "categories": f"Food, {item % 5}"}
        for item in range(_ITEMS)
    ]
    _write_json(folder / "yelp_academic_dataset_business.json", places)


def _write_goodreads(folder: Path) -> None:
    form = "%a %b %d %H:%M:%S -0700 %Y"
    rows: list[dict[str, Any]] = [
        {
            "user_id": f"{e.user:032x}",
            "book_id": str(e.item),
            "review_id": f"{e.time:032x}",
            "is_read": e.clicked,
            "rating": e.rating,
            "review_text_incomplete": "",
            "date_added": _format_time(form, e.time),
            "date_updated": _format_time(form, e.time + 3_600),
            "read_at": "",
            "started_at": "",
        }
        for e in draw_events()
    ]
    _write_json(folder / "goodreads_interactions_poetry.json.gz", rows)


def _write_gowalla(folder: Path) -> None:
    newest_first = sorted(draw_events(), key=lambda event: (event.user, -event.time))
    rows = [
        (e.user, _format_time("%Y-%m-%dT%H:%M:%SZ", e.time), 30.2 + e.item / 1e3, -97.7 - e.item / 1e3, 22_000 + e.item)
        for e in newest_first
    ]
    _write_joined(folder / "loc-gowalla_totalCheckins.txt", rows, "\t")


def _write_lastfm(folder: Path) -> None:
    rows = []
    for e in sorted(draw_events(), key=lambda event: (event.user, -event.time)):
        artist = f"f1b1cf71-bd35-4e99-8624-{e.item:012}" if e.item % 5 else ""
        time = _format_time("%Y-%m-%dT%H:%M:%SZ", e.time)
        rows.append((f"user_{e.user:06}", time, artist, f'"Weird" Al {e.item}', "", f'Song "{e.time % 97}'))
    _write_joined(folder / "userid-timestamp-artid-artname-traid-traname.tsv", rows, "\t")


LAYOUTS = (
    Layout("movielens-100k", _write_movielens_100k, "u.data"),
    Layout("movielens-1m", _write_movielens_1m, "ratings.dat"),
    Layout("movielens-20m", _write_movielens_csv, "ratings.csv"),
    Layout("movielens-32m", _write_movielens_csv, "ratings.csv"),
    Layout("movielens-latest", _write_movielens_csv, "ratings.csv"),
    Layout("amazon-2014", _write_amazon_2014, "reviews_Toys_and_Games_5.json.gz"),
    Layout("amazon-2018", _write_amazon_2018, "AMAZON_FASHION_5.json.gz"),
    Layout("amazon-2023", _write_amazon_2023, "All_Beauty.jsonl.gz"),
    Layout("amazon-2014-ratings", _write_amazon_ratings_2014, "ratings_Toys_and_Games.csv"),
    Layout("amazon-2018-ratings", _write_amazon_ratings_2018, "AMAZON_FASHION.csv"),
    Layout("amazon-2023-ratings", _write_amazon_ratings_2023, "All_Beauty.csv"),
    Layout("amazon-2023-histories", _write_amazon_histories_2023, "All_Beauty.train.csv"),
    Layout("taobao", _write_taobao, "UserBehavior.csv"),
    Layout("alimama", _write_alimama, "raw_sample.csv"),
    Layout("mind", _write_mind, "MINDsmall_train/behaviors.tsv"),
    Layout("kuairand", _write_kuairand, "log_standard_4_08_to_4_21_pure.csv"),
    Layout("kuairec", _write_kuairec, "big_matrix.csv"),
    Layout("retailrocket", _write_retailrocket, "events.csv"),
    Layout("yoochoose", _write_yoochoose, "yoochoose-clicks.dat"),
    Layout("diginetica", _write_diginetica, "train-item-views.csv", {"data.columns.timestamp": "timeframe"}),
    Layout("tenrec", _write_tenrec, "ctr_data_1M.csv"),
    Layout("recbole", _write_recbole, "ml-100k.inter"),
    Layout("fuxictr-csv", _write_fuxictr_csv, "train.csv"),
    Layout("fuxictr-parquet", _write_fuxictr_parquet, "train.parquet"),
    Layout("yelp", _write_yelp, "yelp_academic_dataset_review.json"),
    Layout("goodreads", _write_goodreads, "goodreads_interactions_poetry.json.gz"),
    Layout("gowalla", _write_gowalla, "loc-gowalla_totalCheckins.txt"),
    Layout("lastfm", _write_lastfm, "userid-timestamp-artid-artname-traid-traname.tsv"),
)
