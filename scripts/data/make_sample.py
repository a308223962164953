"""Generate raw logs in the shape of the 2014 Amazon release: invented reviews and metadata.

    python scripts/data/make_sample.py                                  the sample in data/sample (names _Sample)
    python scripts/data/make_sample.py --preset electronics /tmp/logs   as many of everything as Electronics 5-core

Any size of a preset can be changed by its option. The same options give the same bytes.

What is planted, for attention to find and pooling to blur:

- categories and the items of a category have long tails of popularity; an item has one leaf category;
- the items of a category come in series: a run of neighbours, of one brand, with numbered titles;
- a user has a few interests, each a category, and lives them in bursts: stays for a few events, then turns to
  another; an interest is sometimes replaced by a new one; some events fit none;
- within an interest the next item is often the next of the same series, else one of the category by popularity;
- nobody reviews an item twice, every item is reviewed, every user has five reviews or more.

As in the release, reviews are grouped by item and in no order of time inside one, and days are the unit of time.
"""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from din_train.files import atomic_file

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PRESETS: dict[str, dict[str, Any]] = {
    "sample": {
        "folder": "data/sample",
        "name": "Sample",
        "users": 2_000,
        "items": 1_000,
        "categories": 80,
        "reviews": 24_000,
        "metadata_rows": 1_100,
        "text_length": 25,
        "history_spread": 0.6,
    },
    "electronics": {
        "folder": "data/electronics",
        "name": "Electronics",
        "users": 192_403,
        "items": 63_001,
        "categories": 801,
        "reviews": 1_689_188,
        "metadata_rows": 498_196,
        "text_length": 500,
        "history_spread": 1.2,
    },
}

MIN_REVIEWS = 5  # of a user
INTERESTS = (2, 5)  # least and most of a user
STAY = 0.7  # chance that the next event is of the same interest
FOLLOW = 0.7  # chance that the next item of an interest is the next of its series
DRIFT = 0.15  # chance that an interest is replaced when it is turned to
STRAY = 0.05  # share of events that fit no interest
SERIES = 6  # items in a series, fewer in a category's last
CATEGORY_TAIL, ITEM_TAIL = 0.7, 1.3  # popularity is (rank + 3 or 2) to the minus this

LAST_DAY = 16_274  # 2014-07-23, in days since 1970
LONGEST_SPAN = 2_500  # days between a user's first and last review
DAYS_BETWEEN = (6.0, 20.0)  # mean, inside a burst and between bursts

CHUNK = 20_000  # rows whose random draws are made together
COMPRESSION = 6

ALPHABET = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", np.uint8)
SECONDS_A_DAY = 86_400

DEPARTMENTS = ("Audio & Video", "Camera & Photo", "Cell Phones", "Computers", "Men's Gadgets", "Office", "Outdoors")
KINDS = ("", "Compact", "Digital", "Portable", "Wireless", "Vintage", "Rugged", "Kids'", "Studio", "Travel", "Marine")
KINDS += ("Solar", "Foldable", "Smart", "Gaming", "Waterproof", "Mini", "Wall-Mounted", "Analog", "Slim", "Universal")
NOUNS = ("Headphones", "Lenses", "Tripods", "Keyboards", "Cables", "Speakers", "Batteries", "Routers", "Monitors")
NOUNS += ("Cases", "Chargers", "Microphones", "Scanners", "Printers", "Projectors", "Radios", "Adapters", "Mice")
NOUNS += ("Flashes", "Filters", "Backpacks", "Hard Drives", "Memory Cards", "Turntables", "Amplifiers", "Antennas")
NOUNS += ("Binoculars", "Telescopes", "Webcams", "Joysticks", "Tablets", "Stands", "Lamps", "Clocks", "Stylus Pens")
NOUNS += ("Docks", "Switches", "Fans", "Remotes", "Gimbals")
BRANDS = ("Avonlea", "Birchtek", "Cormora", "D'Arno", "Ellwick", "Fenwood", "Galora", "Hexby", "Istria", "Jovane")
BRANDS += ("Kestrix", "Lumard", "Mirova", "Nortal", "Orvane", "Pellby", "Quorra", "Ristel", "Soluna", "Tavish")
FIRST_NAMES = ("Alex", "Blake", "Casey", "Drew", "Eden", "Frankie", "Gale", "Harper", "Indy", "Jules", "Kim", "Lee")
SUMMARIES = (
    "Five Stars",
    "Great",
    "Does the job",
    "As described",
    "Not for me",
    'Just "OK"',
    "Love it!",
    "Returned it",
)
SUMMARIES += ("Good value", "Works well", "Better than expected", "Disappointed", "Solid", "Would buy again")

SUBJECTS = ("It", "This one", "The build", "The finish", "My second one", "The manual", "The box", "The fit")
VERBS = ("works", "looks", "feels", "arrived", "still is", "didn't stay", "turned out", "seemed")
ENDINGS = (
    "fine",
    "great",
    "a bit off",
    "as shown",
    'like "new"',
    "better than the old one",
    "cheap",
    "solid after a week",
)


@dataclass(frozen=True)
class Sizes:
    """The sizes of a log; see the options of the command."""

    users: int
    items: int
    categories: int
    reviews: int
    metadata_rows: int
    text_length: int
    history_spread: float

    def find_problem(self) -> str | None:
        """The reason why these sizes do not go together, if there is one."""
        for least, small, most, large in (
            (1, 1, "users", self.users),
            (1, 1, "categories", self.categories),
            ("categories", self.categories, "items", self.items),
            ("items", self.items, "reviews", self.reviews),
            (f"{MIN_REVIEWS} x users", MIN_REVIEWS * self.users, "reviews", self.reviews),
            ("items", self.items, "metadata rows", self.metadata_rows),
        ):
            if large < small:
                return f"received {large:,} {most}, expected at least {small:,} ({least}); change one of them"
        return None


class Catalogue:
    """Items in categories, category after category; the items of a category by falling popularity of its series.

    category: [items] of each item. first, size: [categories] its items are first .. first + size - 1.
    """

    def __init__(self, sizes: Sizes) -> None:
        popularity = (np.arange(sizes.categories) + 3.0) ** -CATEGORY_TAIL
        self.size = _share_out(sizes.items, popularity)
        self.first = np.cumsum(self.size) - self.size
        self.category = np.repeat(np.arange(sizes.categories), self.size)
        place = np.arange(sizes.items) - self.first[self.category]
        self.place_in_series = place % SERIES
        self.series = np.cumsum(self.place_in_series == 0) - 1
        self._categories_up_to = np.cumsum(popularity)
        self._items_up_to = np.concatenate([[0.0], np.cumsum((place + 2.0) ** -ITEM_TAIL)])

    def draw_categories(self, random: np.random.Generator, count: int) -> Ints:
        """Categories by popularity."""
        drawn = random.random(count) * self._categories_up_to[-1]
        return np.minimum(np.searchsorted(self._categories_up_to, drawn, side="right"), len(self.size) - 1)

    def draw_items(self, random: np.random.Generator, categories: Ints) -> Ints:
        """An item of each of the categories, by popularity in it."""
        first, last = self.first[categories], self.first[categories] + self.size[categories] - 1
        low, high = self._items_up_to[first], self._items_up_to[last + 1]
        drawn = np.searchsorted(self._items_up_to, low + random.random(len(first)) * (high - low), side="right") - 1
        return np.clip(drawn, first, last)

    def has_next(self, items: Ints) -> Bools:
        """Whether the item after each in number is the next of its series."""
        following = np.minimum(items + 1, len(self.series) - 1)
        return (following > items) & (self.series[following] == self.series[items])


def draw_history_lengths(random: np.random.Generator, sizes: Sizes) -> Ints:
    """[users] reviews per user, most first: `MIN_REVIEWS` and a log-normal share of the rest."""
    weights = random.lognormal(0.0, sizes.history_spread, sizes.users)
    lengths = _share_out(sizes.reviews - (MIN_REVIEWS - 1) * sizes.users, weights) + MIN_REVIEWS - 1
    return np.sort(lengths)[::-1]


def simulate_histories(random: np.random.Generator, catalogue: Catalogue, lengths: Ints) -> Ints:
    """[reviews] the items of every user in the order of time, user after user.

    All users take a step together; they are in the order of falling length, so those still going come first.
    """
    users, (fewest, most) = len(lengths), INTERESTS
    num_interests = random.integers(fewest, most + 1, users)
    interests = catalogue.draw_categories(random, users * most).reshape(users, most)
    latest = np.full((users, most), -1)  # item of each interest, -1 for none yet
    current = np.zeros(users, np.int64)
    steps: list[Ints] = []
    for step in range(lengths[0]):
        going = int(np.searchsorted(-lengths, -step))
        rows = np.arange(going)
        turns = (random.random(going) >= STAY) | (step == 0)
        current[:going] = np.where(turns, random.random(going) * num_interests[:going], current[:going])
        slot = current[:going]
        drifting = np.flatnonzero(turns & (random.random(going) < DRIFT))
        interests[drifting, slot[drifting]] = catalogue.draw_categories(random, len(drifting))
        latest[drifting, slot[drifting]] = -1

        before = latest[rows, slot]
        follows = (before >= 0) & (random.random(going) < FOLLOW) & catalogue.has_next(before)
        items = np.where(follows, before + 1, catalogue.draw_items(random, interests[rows, slot]))
        stray = random.random(going) < STRAY
        items[stray] = catalogue.draw_items(random, catalogue.draw_categories(random, int(stray.sum())))
        _redraw_repeats(random, catalogue, steps, items)
        latest[rows[~stray], slot[~stray]] = items[~stray]
        steps.append(items)

    history_start = np.cumsum(lengths) - lengths
    histories = np.empty(lengths.sum(), np.int64)
    for step, items in enumerate(steps):
        histories[history_start[: len(items)] + step] = items
    return histories


def _redraw_repeats(random: np.random.Generator, catalogue: Catalogue, steps: list[Ints], items: Ints) -> None:
    """In place: an item that its user has had becomes another of its category, or of any if that keeps failing."""
    pending = np.arange(len(items))
    attempt = 0
    while True:
        had = np.zeros(len(pending), np.bool_)
        for earlier in steps:
            had |= earlier[pending] == items[pending]
        pending = pending[had]
        if not pending.size:
            return
        attempt += 1
        same = catalogue.category[items[pending]]
        items[pending] = catalogue.draw_items(
            random, same if attempt < 8 else catalogue.draw_categories(random, len(pending))
        )


def cover_items(random: np.random.Generator, catalogue: Catalogue, histories: Ints) -> None:
    """In place: each item nobody has takes the place of one of its category, or any, that has other reviews."""
    unseen = np.flatnonzero(np.bincount(histories, minlength=len(catalogue.category)) == 0)
    surplus = np.ones(len(histories), np.bool_)
    surplus[np.unique(histories, return_index=True)[1]] = False
    spare = random.permutation(np.flatnonzero(surplus))
    spare = spare[np.argsort(catalogue.category[histories[spare]], kind="stable")]
    of_spare = catalogue.category[histories[spare]]
    wanted = catalogue.category[unseen]
    nth = np.arange(len(unseen)) - np.searchsorted(wanted, wanted)
    place = np.searchsorted(of_spare, wanted) + nth
    found = place < np.searchsorted(of_spare, wanted, side="right")
    histories[spare[place[found]]] = unseen[found]
    left = np.delete(spare, place[found])
    histories[random.permutation(left)[: int((~found).sum())]] = unseen[~found]


def draw_days(random: np.random.Generator, catalogue: Catalogue, lengths: Ints, histories: Ints) -> Ints:
    """[reviews] the day of each event, not falling inside a history; now and then two share one."""
    last = np.cumsum(lengths) - 1
    category = catalogue.category[histories]
    same = np.concatenate([[False], category[1:] == category[:-1]])
    gaps = np.floor(_draw_exponential(random, len(histories)) * np.where(same, *DAYS_BETWEEN)) + ~same
    elapsed = np.cumsum(gaps)
    until_last = np.repeat(elapsed[last], lengths) - elapsed
    span = np.maximum(until_last[last - lengths + 1], 1.0)
    until_last *= np.repeat(np.minimum(1.0, LONGEST_SPAN / span), lengths)
    last_day = LAST_DAY - np.minimum(_draw_exponential(random, len(lengths)) * 400.0, 3_000.0)
    return np.floor(np.repeat(last_day, lengths) - until_last).astype(np.int64)


class Prose:
    """Sentences laid end to end, of which a text is a slice: cheap, and as compressible as its variety."""

    def __init__(self, random: np.random.Generator, mean_length: int, *, escaped: bool) -> None:
        parts = (SUBJECTS, VERBS, ENDINGS)
        picks = random.random((60 + 16 * mean_length, len(parts))) * [len(part) for part in parts]
        sentences = [" ".join(part[int(i)] for part, i in zip(parts, row, strict=True)) + "." for row in picks]
        if escaped:
            sentences = [json.dumps(sentence)[1:-1] for sentence in sentences]
        self._text = " ".join(sentences)
        self._starts = np.cumsum([0, *(len(sentence) + 1 for sentence in sentences)])
        self._mean_sentences = mean_length * len(sentences) / len(self._text)

    def draw_texts(self, random: np.random.Generator, count: int) -> Iterator[str]:
        """Texts of the mean length, some much longer, some empty."""
        wanted = _draw_exponential(random, count) * self._mean_sentences
        sentences = np.minimum(np.floor(wanted + random.random(count)).astype(np.int64), len(self._starts) // 2)
        first = (random.random(count) * (len(self._starts) - sentences)).astype(np.int64)
        begin, end = self._starts[first], self._starts[first + sentences] - 1
        for low, high in zip(begin.tolist(), end.tolist(), strict=True):
            yield self._text[low : max(low, high)]


def build_reviewer_ids(count: int) -> list[str]:
    """`A` and 13 letters or digits, scattered by a bijection of 64 bits."""
    return _encode("A", np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15), 13)


def build_asins(count: int) -> list[str]:
    """`B0` and 8 letters or digits, scattered by a bijection of [0, 36^8): the factor is odd and no multiple of 3."""
    return _encode("B0", np.arange(1, count + 1, dtype=np.uint64) * np.uint64(1_743_392_199_577) % np.uint64(36**8), 8)


def build_category_names(count: int) -> list[str]:
    """Distinct leaf names, by falling popularity."""
    kinds = [KINDS[c // len(NOUNS) % len(KINDS)] for c in range(count)]
    copies = [c // (len(NOUNS) * len(KINDS)) for c in range(count)]
    return [
        f"{kind} {NOUNS[c % len(NOUNS)]} {f'No. {copy + 1}' if copy else ''}".strip()
        for c, (kind, copy) in enumerate(zip(kinds, copies, strict=True))
    ]


def write_reviews(
    file: gzip.GzipFile,
    random: np.random.Generator,
    sizes: Sizes,
    asins: list[str],
    lengths: Ints,
    histories: Ints,
    days: Ints,
) -> None:
    """One JSON object per line, by asin; inside one in the order of users, which says nothing of time."""
    prose = Prose(random, sizes.text_length, escaped=True)
    reviewers = build_reviewer_ids(sizes.users)
    numbers = random.permutation(sizes.users)
    summaries = [json.dumps(summary) for summary in SUMMARIES]
    users = np.repeat(numbers, lengths)
    rank = np.empty(sizes.items, np.int64)
    rank[sorted(range(sizes.items), key=asins.__getitem__)] = np.arange(sizes.items)
    order = np.lexsort((users, rank[histories]))
    dates = {int(day): _format_day(int(day)) for day in np.unique(days)}
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        stars = np.searchsorted([0.06, 0.11, 0.19, 0.40], random.random(len(rows))) + 1
        votes = np.floor(_draw_exponential(random, len(rows)) * 0.6).astype(np.int64)
        helpful = np.floor(random.random(len(rows)) * (votes + 1)).astype(np.int64)
        summary = (random.random(len(rows)) ** 2 * len(summaries)).astype(np.int64)
        columns = (users[rows], histories[rows], days[rows], stars, helpful, votes, summary)
        texts = prose.draw_texts(random, len(rows))
        lines = [
            f'{{"reviewerID": "{reviewers[user]}", "asin": "{asins[item]}", '
            f'{_name_reviewer(user)}"helpful": [{yes}, {all_votes}], "reviewText": "{text}", "overall": {star}.0, '
            f'"summary": {summaries[title]}, "unixReviewTime": {day * SECONDS_A_DAY}, "reviewTime": "{dates[day]}"}}\n'
            for (user, item, day, star, yes, all_votes, title), text in zip(
                zip(*(column.tolist() for column in columns), strict=True), texts, strict=True
            )
        ]
        file.write("".join(lines).encode("ascii"))


def write_metadata(
    file: gzip.GzipFile, random: np.random.Generator, sizes: Sizes, catalogue: Catalogue, asins: list[str]
) -> None:
    """One Python literal per line, by asin; keys that Amazon's rows often lack are missing from some."""
    prose = Prose(random, sizes.text_length // 2, escaped=False)
    names = build_category_names(sizes.categories)
    extra = sizes.metadata_rows - sizes.items
    models = np.concatenate(
        [np.arange(sizes.items), catalogue.draw_items(random, catalogue.draw_categories(random, extra))]
    )
    order = np.array(sorted(range(sizes.metadata_rows), key=asins.__getitem__))
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        lacks = random.random((len(rows), 5)) < (0.15, 0.3, 0.3, 0.3, 0.1)
        prices = np.round(5 + _draw_exponential(random, len(rows)) * 40, 2)
        lines = []
        for row, model, price, lack, text in zip(
            rows.tolist(),
            models[rows].tolist(),
            prices.tolist(),
            lacks.tolist(),
            prose.draw_texts(random, len(rows)),
            strict=True,
        ):
            category, series = int(catalogue.category[model]), int(catalogue.series[model])
            brand = BRANDS[series * 7 % len(BRANDS)]
            department = DEPARTMENTS[category % len(DEPARTMENTS)]
            edition = catalogue.place_in_series[model] + 1
            title = f"{brand} {names[category]} {chr(65 + series % 26)}{series}, no. {edition}"
            also = [asins[i] for i in range(model + 1, min(model + 1 + row % 5, sizes.items))]
            optional = {
                "price": price,
                "brand": brand,
                "related": {"also_bought": also, "bought_together": also[:1]},
                "salesRank": {"Electronics": model + 1},
                "description": text,
            }
            record = {
                "asin": asins[row],
                "title": title if row < sizes.items else f'{title} (7" refurbished)',
                "imUrl": f"http://images.example.com/{asins[row]}.jpg",
                **{key: value for (key, value), missing in zip(optional.items(), lack, strict=True) if not missing},
                "categories": [["Electronics", department, names[category]]],
            }
            if row % 4 == 0:
                record["categories"].insert(0, ["Electronics", "Featured"])
            lines.append(f"{record!r}\n")
        file.write("".join(lines).encode())


def write_logs(folder: Path, name: str, seed: int, sizes: Sizes) -> tuple[Path, Path]:
    """Write both files; returns their paths.

    Raises:
        click.UsageError: where the sizes do not go together.
    """
    random = np.random.default_rng(seed)
    lengths = draw_history_lengths(random, sizes)
    if lengths[0] > sizes.items / 2:
        raise click.UsageError(
            f"received {sizes.items:,} items, expected at least twice the longest history, {lengths[0]:,}; "
            "raise --items, or lower --reviews or --history-spread"
        )
    catalogue = Catalogue(sizes)
    histories = simulate_histories(random, catalogue, lengths)
    cover_items(random, catalogue, histories)
    days = draw_days(random, catalogue, lengths, histories)
    asins = build_asins(sizes.metadata_rows)
    folder.mkdir(parents=True, exist_ok=True)
    reviews, metadata = folder / f"reviews_{name}.json.gz", folder / f"meta_{name}.json.gz"
    with _create_gzip(reviews) as file:
        write_reviews(file, random, sizes, asins, lengths, histories, days)
    with _create_gzip(metadata) as file:
        write_metadata(file, random, sizes, catalogue, asins)
    return reviews, metadata


@contextmanager
def _create_gzip(path: Path) -> Iterator[gzip.GzipFile]:
    """A gzip file of the same bytes for the same content: no name and no time in its header."""
    with (
        atomic_file(path) as temporary,
        temporary.open("wb") as disk,
        gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION, fileobj=disk, mtime=0) as file,
    ):
        yield file


def _share_out(total: int, weights: NDArray[np.float64]) -> Ints:
    """Whole numbers of at least 1 that sum to `total`, otherwise about in proportion to the weights."""
    spare = total - len(weights)
    shares = np.floor(weights / weights.sum() * spare).astype(np.int64)
    shares[: spare - int(shares.sum())] += 1
    return shares + 1


def _draw_exponential(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Exponential draws with a mean of 1."""
    return -np.log1p(-random.random(count))


def _encode(prefix: str, numbers: NDArray[np.uint64], width: int) -> list[str]:
    """The prefix and `width` digits of base 36, lowest first."""
    powers = np.array([36**place for place in range(width)], np.uint64)
    digits = ALPHABET[(numbers[:, None] // powers % np.uint64(36)).astype(np.int64)]  # [count, width]
    text = digits.tobytes().decode("ascii")
    return [prefix + text[start : start + width] for start in range(0, len(text), width)]


def _name_reviewer(user: int) -> str:
    """The key and its value, or nothing: some reviews have no name."""
    if user % 40 == 0:
        return ""
    return f'"reviewerName": "{FIRST_NAMES[user % len(FIRST_NAMES)]} {chr(65 + user // len(FIRST_NAMES) % 26)}.", '


def _format_day(day: int) -> str:
    """`06 2, 2013`, as in the release."""
    date = np.datetime64(day, "D").item()
    return f"{date:%m} {date.day}, {date.year}"


def _use_preset(ctx: click.Context, param: click.Parameter, preset: str) -> str:
    del param
    ctx.default_map = PRESETS[preset]
    return preset


COUNT = click.IntRange(min=1)


@click.command(context_settings={"show_default": True})
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="sample",
    callback=_use_preset,
    is_eager=True,
    help="Where the other options come from.",
)
@click.option("--name", help="Files are reviews_NAME.json.gz and meta_NAME.json.gz.")
@click.option("--users", type=COUNT, help="Reviewers.")
@click.option("--items", type=COUNT, help="Items with a review.")
@click.option("--categories", type=COUNT, help="Leaf categories of these items.")
@click.option("--reviews", type=COUNT, help="Reviews.")
@click.option("--metadata-rows", type=COUNT, help="Metadata rows; those beyond --items have no review.")
@click.option("--text-length", type=click.IntRange(min=0), help="Mean characters of a review's text.")
@click.option("--history-spread", type=click.FloatRange(min=0), help="Sigma of the log-normal tail of user activity.")
@click.option("--seed", type=click.IntRange(min=0), default=1, help="Other seeds give other logs.")
def main(folder: Path, preset: str, name: str, seed: int, **sizes: Any) -> None:
    """Write generated Amazon-2014 logs to FOLDER [default: data/<preset>]."""
    del preset
    wanted = Sizes(**sizes)
    problem = wanted.find_problem()
    if problem:
        raise click.UsageError(problem)
    counts = ("users", "items", "categories", "reviews", "metadata_rows")
    sizes_said = ", ".join(f"{getattr(wanted, count):,} {count.replace('_', ' ')}" for count in counts)
    files = write_logs(folder, name, seed, wanted)
    files_said = ", ".join(f"{path} ({path.stat().st_size:,} bytes)" for path in files)
    click.echo(f"{sizes_said}: {files_said}")


if __name__ == "__main__":
    main()
