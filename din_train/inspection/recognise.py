"""What a raw log is, told by its first lines."""

IMPORTS

_HEAD_LINES = 100
_TEXT_SHOWN = 100
_COLUMNS_SHOWN = 50

_NEEDED_ROLES = ("user", "item", "timestamp")
# Role -> names a column of it has, in lower case without what is no letter or digit; the first there is taken.
_COLUMN_NAMES = {
    "user": "userid user uid reviewerid visitorid customerid customer memberid member buyerid accountid account "
    "sessionid session",
    "item": "itemid item iid parentasin asin productid product movieid movie skuid sku goodsid goods articleid article "
    "videoid newsid songid trackid bookid isbn adgroupid adid",
    "timestamp": "timestamp unixreviewtime unixtime eventtimestamp timestampms eventtime time timems ts datetime date "
    "createdat reviewtime",
    "category": "category categoryid cate cateid cat catid itemcategory itemcategoryid categorycode",
    "label": "label click clicked isclick isclicked",
}

_EXPECTED = (
    "expected Amazon reviews, MovieLens ratings, Taobao's UserBehavior.csv, x1 samples, or a table in UTF-8: a header "
    "that names a user, an item and a time column between commas or tabs, then one event a line; or Parquet"
)


@dataclass(frozen=True)
class Recognised:
    """What a file is.

    key: of `data`, that names the file; `items` and `users` are side tables, all others logs.
    columns: of a table, in order.
    roles: of a table, key of `data.columns` -> column, where the name tells.
    remarks: why a column was not taken.
    """

    source: Source
    what: str
    key: str
    columns: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def can_be_read(self) -> bool:
        """Whether it is a log of which all that is needed is known."""
        roles_known = self.source != "table" or all(role in self.roles for role in _NEEDED_ROLES)
        return self.key not in ("items", "users") and roles_known


_BEHAVIOURS = "|".join(Behaviour.__args__)
# What a whole line looks like, of the formats without a header.
_LINE_FORMS: tuple[tuple[str, Recognised], ...] = (
    (rf"[^,]+,[^,]+,[^,]*,(?:{_BEHAVIOURS}),\d+", Recognised("taobao", "Taobao user behaviour", "events")),
    (r"[^:]+::[^:]+::[0-5](?:\.\d+)?::\d+", Recognised("movielens", "MovieLens ratings between '::'", "events")),
    (r"\d+\t\d+\t[1-5]\t\d+", Recognised("movielens", "MovieLens ratings between tabs (u.data)", "events")),
    (r"\d+::[MF]::\d+::\d+::.*", Recognised("movielens", "MovieLens users, not the ratings", "users")),
    (r"\d+\|\d+\|[MF]\|[^|]*\|[^|]*", Recognised("movielens", "MovieLens users (u.user), not the ratings", "users")),
    (r"\d+::.+::.*", Recognised("movielens", "MovieLens movies, not the ratings", "items")),
    (r"\d+\|.*(?:\|[01]){19}", Recognised("movielens", "MovieLens movies (u.item), not the ratings", "items")),
)


def recognise(path: Path) -> Recognised:
    """What one file is, by its first lines.

    Raises:
        DataError: where it cannot be read, or is of no known format.
    """
    if read_magic(path).startswith(b"PAR1"):
        return _recognise_table(path, "Parquet", *_sample_parquet(path))
    lines = _read_head(path)
    if sum(line.startswith(b"{") for line in lines) * 2 > len(lines):
        return _recognise_json(path, lines)
    delimiter = "\t" if b"\t" in lines[0] else ","
    try:
        names = split_fields(lines[0], delimiter)
    except BadLine as bad:
        raise DataError(f"{path}: of no known format: its first line is no text ({bad.reason}); {_EXPECTED}") from None
    if names[0] == "userId" and {"movieId", "rating", "timestamp"} <= set(names):
        return Recognised("movielens", "MovieLens ratings with a header", "events")
    if names[0] == "movieId" and {"title", "genres"} <= set(names):
        return Recognised("movielens", "MovieLens movies, not the ratings", "items")
    if set(X1_COLUMNS) <= set(names):
        return Recognised("x1", "ready-made samples in the x1 layout", "test" if "test" in path.name else "train")
    rows = list(_split_rows(lines[1:], delimiter, len(names)))
    single = [name for name in names if names.count(name) == 1]
    samples = {name: [row[names.index(name)] for row in rows] for name in single}
    if not {"user", "item"} <= _guess_roles(samples)[0].keys():
        texts = [line.decode(errors="replace") for line in lines]
        for form, recognised in _LINE_FORMS:
            if sum(re.fullmatch(form, text) is not None for text in texts) * 2 > len(texts):
                return recognised
    if len(names) < len(_NEEDED_ROLES) or (not _guess_roles(samples)[0] and 2 * len(rows) < max(len(lines) - 1, 1)):
        shown = lines[0][:_TEXT_SHOWN].decode(errors="replace")
        raise DataError(f"{path}: of no known format: its first line is '{make_printable(shown)}'; {_EXPECTED}")
    return _recognise_table(path, FORMS[delimiter], names, samples)


def _find_partner(path: Path, found: Recognised) -> tuple[str | None, Path | None]:
    """The key of the other file that the source needs, and that file where one beside `path` is it."""
    name = path.name
    match found.source, found.key:
        case "movielens", "events":
            key, stems = "items", ["movies.csv", "movies.dat", "u.item"]
        case (("amazon-2014" | "amazon-2018" | "amazon-2023"), "reviews"):
            key, stem = "items", re.sub(r"(\.jsonl?)?(\.gz)?$", "", name)
            core = re.sub(r"_\d+$", "", stem.removeprefix("reviews_"))
            bases = dict.fromkeys((f"meta_{core}", f"meta_{stem}", *(["meta"] if stem == "reviews" else [])))
            stems = [f"{base}.{ending}" for base in bases for ending in ("json", "jsonl")]
        case "x1", "train":
            key, stems = "test", [name.replace("train", "test")]
        case "x1", "test":
            key, stems = "train", [name.replace("test", "train")]
        case _:
            return None, None
    for candidate in (path.with_name(each) for stem in stems for each in (stem, f"{stem}.gz")):
        if candidate.name != name and candidate.is_file() and _is_partner(candidate, found.source, key):
            return key, candidate
    return key, None


def _is_partner(candidate: Path, source: Source, key: str) -> bool:
    try:
        found = recognise(candidate)
    except DataError:
        return False
    until_2018 = ("amazon-2014", "amazon-2018")  # their reviews are alike; the metadata tells which it is
    return found.key == key and (found.source == source or (source in until_2018 and found.source in until_2018))


def make_printable(text: str) -> str:
    """The text on one line, in characters that end no comment and change no terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _list_columns(names: Sequence[str]) -> str:
    shown = [name if len(name) <= _TEXT_SHOWN else name[:_TEXT_SHOWN] + "..." for name in names[:_COLUMNS_SHOWN]]
    return make_printable(", ".join(shown)) + (f", ... ({len(names)} of them)" if len(names) > _COLUMNS_SHOWN else "")


def _read_head(path: Path) -> list[bytes]:
    """The first lines that are not blank."""
    for _first, block in read_blocks(path, _ignore):
        lines = [line.removesuffix(b"\r") for line in block.split(b"\n") if line.strip()]
        if lines:
            return lines[:_HEAD_LINES]
    raise DataError(f"{path}: nothing in it but blank lines; fetch the file again")


def _ignore(_bytes: int) -> None:
    """No progress to show."""


def _split_rows(lines: Sequence[bytes], delimiter: str, width: int) -> Iterator[list[str]]:
    """The fields of good lines."""
    for line in lines:
        try:
            row = split_fields(line, delimiter)
        except BadLine:
            continue
        if len(row) == width:
            yield row


def _recognise_json(path: Path, lines: Sequence[bytes]) -> Recognised:
    counts: Counter[str] = Counter()
    for line in lines:
        for parse in (parse_json_object, parse_literal_object):
            try:
                counts.update(str(key) for key in parse(line))
                break
            except BadLine:
                continue
    keys = {key for key, count in counts.items() if count * 2 > len(lines)}
    if set(KEYS["amazon-2023"]) <= keys:
        return Recognised("amazon-2023", "Amazon reviews, 2023 release", "reviews")
    if set(KEYS["amazon-2018"]) <= keys:
        release: Release = "amazon-2014" if "helpful" in keys else "amazon-2018"
        return Recognised(release, f"Amazon reviews, {release[-4:]} release", "reviews")
    if keys & {"parent_asin", "asin"}:
        release = "amazon-2023" if "parent_asin" in keys else "amazon-2018" if "category" in keys else "amazon-2014"
        return Recognised(release, f"Amazon metadata, {release[-4:]} release: the items, not the reviews", "items")
    raise DataError(
        f"{path}: of no known format: objects with the keys {_list_columns(sorted(keys)) or 'none of which is common'}; "
        f"convert them to a table, or {_EXPECTED}"
    )


def _sample_parquet(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Names of the columns, and some values of those that may have a role as texts."""
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            flat = [each.name for each in schema if not pa.types.is_nested(each.type)]
            flat = [name for name in flat if schema.names.count(name) == 1]
            batch: Any = next(file.iter_batches(_HEAD_LINES, columns=flat), pa.table({name: [] for name in flat}))
    except (pa.ArrowException, OSError) as error:
        what = (str(error).splitlines() or ["no reason given"])[0]
        raise DataError(f"{path}: cannot be read as Parquet ({what}); fetch or write the file again") from None
    samples = {}
    for name in flat:
        column = batch.column(name)
        if pa.types.is_timestamp(column.type) or pa.types.is_boolean(column.type):
            column = column.cast(pa.int64())  # as the reader takes them
        samples[name] = ["" if value is None else str(value) for value in column.to_pylist()]
    return list(schema.names), samples


def _recognise_table(path: Path, form: str, names: Sequence[str], samples: Mapping[str, Sequence[str]]) -> Recognised:
    roles, remarks = _guess_roles(samples)
    if not roles and all(re.fullmatch(r"[-+.\d]*", name) for name in names):
        raise DataError(
            f"{path}: its first line holds numbers ({_list_columns(names)}) and no column names; put a header line first, "
            "such as user_id,item_id,timestamp"
        )
    return Recognised("table", f"a table, {form}", "events", tuple(names), roles, tuple(remarks))


def _guess_roles(samples: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """Role -> column, and why a column with a fitting name was not taken."""
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(list(samples))}
    roles: dict[str, str] = {}
    remarks = []
    for role, known in _COLUMN_NAMES.items():
        for name in (plain[each] for each in known.split() if each in plain):
            values = [value for value in samples[name] if value]
            odd = [value for value in values if not _may_be(role, value)]
            if 2 * len(odd) <= len(values):
                roles[role] = name
                break
            expected = "whole numbers" if role == "timestamp" else "0 and 1"
            remarks.append(f"column '{name}' is not taken for the {role}: it has '{odd[0][:40]}', expected {expected}")
    return roles, remarks


def _may_be(role: str, value: str) -> bool:
    if role == "label":
        return value in ("0", "1", "0.0", "1.0")
    if role != "timestamp":
        return True
    try:
        parse_timestamp(value)
    except BadLine:
        return False
    return True
