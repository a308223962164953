"""Numbered lines from plain and gzip files, and what is said of damaged ones."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from din_train.errors import DataError
from din_train.logs import lines
from din_train.logs.lines import read_blocks, read_lines


def read(path: Path) -> tuple[list[tuple[int, bytes]], int]:
    steps: list[int] = []
    return list(read_lines(path, steps.append)), sum(steps)


def test_lines_are_numbered_from_1_and_blank_ones_are_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\n\nb\r\nc")
    assert read(path) == ([(1, b"a"), (2, b""), (3, b"b\r"), (4, b"c")], 7)


def test_byte_order_mark_goes_only_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
    assert read(path)[0] == [(1, b"a"), (2, b"\xef\xbb\xbfb")]


def test_gzip_is_known_by_content_and_progress_counts_bytes_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(gzip.compress(b"a\nb\n") + gzip.compress(b"c\n"))  # two members
    assert read(path) == ([(1, b"a"), (2, b"b"), (3, b"c")], path.stat().st_size)


def test_plain_file_with_a_gz_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(b"a\n")
    assert read(path)[0] == [(1, b"a")]


def test_blocks_hold_whole_lines_and_number_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 4)
    path = tmp_path / "log"
    path.write_bytes(b"aaa\nbb\ncccccccccc\nd\ne")
    blocks = list(read_blocks(path, lambda _: None))
    assert b"".join(block for _, block in blocks) == b"aaa\nbb\ncccccccccc\nd\ne"
    assert all(block.endswith(b"\n") for _, block in blocks[:-1])
    assert read(path)[0] == [(1, b"aaa"), (2, b"bb"), (3, b"cccccccccc"), (4, b"d"), (5, b"e")]


def check_last_whole_line(path: Path, what: str, least: int, most: int) -> None:
    with pytest.raises(DataError) as caught:
        read(path)
    before, _, after = str(caught.value).partition(" after line ")
    assert before == f"{path}: {what}"
    number, _, advice = after.partition("; ")
    assert least < int(number.replace(",", "")) <= most
    assert advice == "fetch the file again"


def test_gzip_cut_short_names_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"".join(b"line %d\n" % n for n in range(20_000)))[:-12])
    check_last_whole_line(path, "the gzip stream ends early", 19_000, 20_000)


def test_gzip_cut_in_its_header(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"a\n")[:5])
    with pytest.raises(DataError, match="the gzip stream ends early after line 0; fetch the file again"):
        read(path)


@pytest.mark.parametrize("place", [11, -8], ids=["deflate", "checksum"])
def test_damaged_gzip(tmp_path: Path, place: int) -> None:
    packed = bytearray(gzip.compress(b"some text\n" * 100))
    packed[place] ^= 0xFF
    path = tmp_path / "log.gz"
    path.write_bytes(packed)
    with pytest.raises(DataError, match=r"the gzip stream is damaged after line \d+; fetch the file again"):
        read(path)


def test_garbage_after_gzip_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"a\nb\n") + b"garbage")
    with pytest.raises(DataError, match="the gzip stream is damaged after line 2; fetch the file again"):
        read(path)


@pytest.mark.parametrize(
    ("magic", "name"),
    [(b"PK\x03\x04", "zip"), (b"BZh91AY&SY", "bzip2"), (b"\xfd7zXZ\x00", "xz")],
)
def test_other_packings_are_named(tmp_path: Path, magic: bytes, name: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(magic + b"rest")
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: packed with {name}, expected plain text, gzip or zstd; unpack it, or pack it with gzip"
    )


def test_a_line_without_end_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 2 << 20)
    path = tmp_path / "log"
    path.write_bytes(b"a\n" + b"x" * (4 << 20) + b"\n")
    with pytest.raises(DataError, match=r":2: a line longer than 2 MiB, expected one record a line"):
        read(path)


def test_a_file_that_goes_away_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / "gone")
    assert str(caught.value) == f"{tmp_path / 'gone'}: cannot be read (No such file or directory); check the file"


def pack_zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


def test_zstd_is_known_by_content_and_progress_counts_bytes_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(pack_zstd(b"a\nb\n") + pack_zstd(b"c\n"))  # two frames
    assert read(path) == ([(1, b"a"), (2, b"b"), (3, b"c")], path.stat().st_size)


@pytest.mark.parametrize(("cut", "more", "what"), [(12, b"", "ends early"), (None, b"garbage", "is damaged")])
def test_damaged_zstd_names_the_last_whole_line(tmp_path: Path, cut: int | None, more: bytes, what: str) -> None:
    content = b"".join(b"line %d\n" % n for n in range(200_000))
    path = tmp_path / "log.zst"
    path.write_bytes(pack_zstd(content)[: None if cut is None else -cut] + more)
    check_last_whole_line(path, f"the zstd stream {what}", 100_000, 200_000)


def test_a_zstd_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zst"
    path.write_bytes(pack_zstd(b"\n" * 40_000_000))
    with pytest.raises(DataError, match=r"bomb\.zst: its zstd stream is more than 200 times as long as the file"):
        for _ in read_blocks(path, lambda _: None):
            pass


def test_other_encodings_become_utf_8_with_the_same_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(gzip.compress("a\né\n\u010a".encode("utf-16")))  # whose last letter has a newline's byte
    assert [block for _, block in read_blocks(path, lambda _: None, "utf-16")] == ["a\né\n\u010a".encode()]
    path.write_bytes(b"a\x81\n")  # no letter of cp1252
    assert [block for _, block in read_blocks(path, lambda _: None, "cp1252")] == [b"a\xff\n"]


def test_a_gzip_bomb_is_refused_and_a_log_that_packs_well_is_not(tmp_path: Path) -> None:
    bomb, log = tmp_path / "bomb.gz", tmp_path / "log.gz"
    bomb.write_bytes(gzip.compress(b"\n" * 40_000_000))
    with pytest.raises(DataError, match=r"bomb\.gz: its gzip stream is more than 200 times as long as the file"):
        for _ in read_blocks(bomb, lambda _: None):
            pass
    log.write_bytes(gzip.compress(b"the same line\n" * 1_000_000))
    assert sum(block.count(b"\n") for _, block in read_blocks(log, lambda _: None)) == 1_000_000
