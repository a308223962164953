"""Negatives: never an excluded item, uniform over the rest, a pure function of (seed, epoch, sample)."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from din_train.config import NegativesConfig
from din_train.dataset.negatives import (
    ChosenItems,
    ItemDistribution,
    UnknownItems,
    build_distribution,
    draw_bits,
    draw_negatives,
)
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID


def draw(
    chosen: ChosenItems,
    user_rows: list[int],
    until: int,
    *,
    seed: int = 1,
    epoch: int = 0,
    weights: list[int] | None = None,
    unknown: int = 0,
) -> np.ndarray:
    rows = np.array(user_rows)
    return draw_negatives(
        chosen=chosen,
        distribution=ItemDistribution(chosen.num_items, None if weights is None else np.array(weights), unknown),
        user_rows=rows,
        until=np.full(len(rows), until),
        samples=np.arange(len(rows)),
        seed=seed,
        epoch=epoch,
    )


@pytest.fixture
def chosen() -> ChosenItems:
    """Six items (ids 2 to 7). User 0 chose 2, 3, 2, 5 in that order; user 1 chose 7."""
    return ChosenItems.of(
        np.array([0, 0, 0, 0, 1]), np.array([0, 1, 2, 3, 0]), np.array([2, 3, 2, 5, 7], np.int32), num_items=6
    )


def test_the_whole_list_is_excluded(chosen: ChosenItems) -> None:
    drawn = draw(chosen, [0] * 3000, until=3)
    assert set(drawn.tolist()) == {4, 6, 7}
    assert np.bincount(drawn)[[4, 6, 7]] == pytest.approx([1000] * 3, abs=120)


def test_only_what_came_before_is_excluded(chosen: ChosenItems) -> None:
    assert set(draw(chosen, [0] * 500, until=1).tolist()) == {4, 5, 6, 7}


def test_another_users_items_are_not_excluded(chosen: ChosenItems) -> None:
    assert set(draw(chosen, [1] * 500, until=0).tolist()) == {2, 3, 4, 5, 6}


def test_a_user_with_one_item_left_gets_it_and_with_none_gets_zero() -> None:
    items = np.arange(2, 1002, dtype=np.int32)
    most = ChosenItems.of(np.zeros(999, np.int64), np.arange(999), items[:-1], num_items=1000)
    assert draw(most, [0] * 5, until=998).tolist() == [1001] * 5
    every = ChosenItems.of(np.zeros(1000, np.int64), np.arange(1000), items, num_items=1000)
    assert draw(every, [0] * 5, until=999).tolist() == [0] * 5


def test_draws_do_not_depend_on_order_or_company(chosen: ChosenItems) -> None:
    users, samples = np.array([0, 1] * 50), np.arange(100)
    until = np.where(users == 0, 3, 0)
    shuffled = np.random.default_rng(0).permutation(100)[:40]
    same = {"chosen": chosen, "distribution": ItemDistribution(chosen.num_items), "seed": 1, "epoch": 0}
    every = draw_negatives(user_rows=users, until=until, samples=samples, **same)
    some = draw_negatives(user_rows=users[shuffled], until=until[shuffled], samples=samples[shuffled], **same)
    assert some.tolist() == every[shuffled].tolist()


@pytest.mark.parametrize("change", [{"seed": 2}, {"epoch": 1}])
def test_seed_and_epoch_change_the_draws(chosen: ChosenItems, change: dict[str, int]) -> None:
    same = draw(chosen, [0] * 100, until=3)
    assert draw(chosen, [0] * 100, until=3).tolist() == same.tolist()
    assert draw(chosen, [0] * 100, until=3, **change).tolist() != same.tolist()


def test_draws_are_uniform_over_items() -> None:
    drawn = ItemDistribution(50).draw(draw_bits(1, 0, np.arange(100_000), 0))
    assert (drawn.min(), drawn.max()) == (2, 51)
    counts = np.bincount(drawn - 2, minlength=50)
    chi_square = float(((counts - 2000) ** 2 / 2000).sum())
    assert 20 < chi_square < 95  # 49 degrees of freedom: mean 49, sd 9.9


def test_draws_by_popularity_are_in_proportion_to_the_weights_and_skip_what_is_excluded(chosen: ChosenItems) -> None:
    weights = [5, 5, 1, 5, 2, 0]  # of the ids 2 to 7; 2, 3 and 5 are excluded, 7 is never drawn
    drawn = draw(chosen, [0] * 3000, until=3, weights=weights)
    assert set(drawn.tolist()) == {4, 6}
    assert np.bincount(drawn)[[4, 6]] == pytest.approx([1000, 2000], abs=120)


def test_a_user_who_chose_everything_that_can_be_drawn_gets_zero(chosen: ChosenItems) -> None:
    assert draw(chosen, [0] * 5, until=3, weights=[5, 5, 0, 5, 0, 0]).tolist() == [0] * 5
    assert draw(chosen, [0] * 5, until=3, weights=[0] * 6).tolist() == [0] * 5
    assert draw(chosen, [0] * 5, until=3, weights=[900, 900, 0, 900, 1, 0]).tolist() == [6] * 5


def test_without_unknown_items_draws_are_what_they_were_before_there_were_any() -> None:
    bits = draw_bits(1, 0, np.arange(10), 0)
    assert ItemDistribution(50).draw(bits).tolist() == [16, 23, 36, 40, 11, 16, 16, 18, 50, 51]
    by_popularity = ItemDistribution(5, np.array([5, 0, 1, 9, 2]))
    assert by_popularity.draw(bits).tolist() == [5, 5, 4, 6, 4, 2, 5, 2, 5, 5]


def test_what_the_unknown_items_weigh() -> None:
    events, unknown_items = np.array([4, 3]), UnknownItems.of(np.array([False, True, True, False, True]), np.arange(5))
    assert unknown_items == UnknownItems(items=3, training_events=7)
    uniform = build_distribution(NegativesConfig(distribution="uniform"), events, unknown_items)
    assert (uniform.weights, uniform.unknown, uniform.total) == (None, 3, 5)
    popularity = build_distribution(NegativesConfig(distribution="popularity"), events, unknown_items)
    assert popularity.weights is events
    assert (popularity.unknown, popularity.total) == (7, 14)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(
    weights=st.lists(st.integers(0, 20), min_size=1, max_size=40),
    uniform=st.booleans(),
    unknown=st.integers(0, 60),
    num_chosen=st.integers(0, 40),
    seed=st.integers(0, 2**32),
)
def test_the_unknown_id_has_its_share_of_what_the_user_has_not_chosen(
    weights: list[int], uniform: bool, unknown: int, num_chosen: int, seed: int
) -> None:
    count = len(weights)
    own = np.arange(2, 2 + min(num_chosen, count), dtype=np.int32)
    own = np.append(own, np.int32(UNKNOWN_ID))  # of no effect
    chosen = ChosenItems.of(np.zeros(len(own), np.int64), np.arange(len(own)), own, count)
    drawn = draw(chosen, [0] * 2000, until=len(own), seed=seed, weights=None if uniform else weights, unknown=unknown)
    left = sum([1] * count if uniform else weights) - sum(([1] * count if uniform else weights)[: len(own) - 1])
    if not left + unknown:
        assert not drawn.any()
        return
    share = unknown / (left + unknown)
    assert not set(drawn.tolist()) & {0, *own[:-1].tolist()}
    assert (drawn == UNKNOWN_ID).sum() == pytest.approx(2000 * share, abs=5 * np.sqrt(2000 * share * (1 - share)))


def test_the_unknown_id_is_never_taken_for_the_last_item_of_the_user_before(chosen: ChosenItems) -> None:
    users = np.array([0, 1, 2])
    unknown = np.full(3, UNKNOWN_ID, np.int32)
    assert chosen.contains(users, unknown, np.full(3, 9)).tolist() == [False] * 3
    assert chosen.contains(users, np.full(3, 7, np.int32), np.full(3, 9)).tolist() == [False, True, False]


def test_a_user_of_nearly_everything_gets_unknown_items_by_their_weight() -> None:
    """One item and three unknown ones are left of 5,003: most samples run out of draws."""
    items = np.arange(2, 5_001, dtype=np.int32)
    most = ChosenItems.of(np.zeros(len(items), np.int64), np.arange(len(items)), items, num_items=5_000)
    drawn = draw(most, [0] * 400, until=5_000, unknown=3)
    assert set(drawn.tolist()) == {UNKNOWN_ID, 5_001}
    assert (drawn == UNKNOWN_ID).sum() == pytest.approx(300, abs=45)


def test_a_vocabulary_of_nothing_leaves_the_unknown_id() -> None:
    nothing = ChosenItems.of(np.array([0]), np.array([0]), np.array([UNKNOWN_ID], np.int32), num_items=0)
    assert draw(nothing, [0, 0], until=0, unknown=2).tolist() == [UNKNOWN_ID] * 2
    assert draw(nothing, [0, 0], until=0).tolist() == [0, 0]


def draw_one_plainly(
    lists: list[list[int]], user: int, until: int, sample: int, *, weights: list[int], unknown: int, seed: int
) -> int:
    """What `draw_negatives` is, written down a sample at a time: 64 draws among all, then one among what is left."""

    def pick(bits: int, ids: list[int]) -> int:
        of_ids = [weights[item - FIRST_REAL_ID] for item in ids]
        number = bits % (sum(of_ids) + unknown)
        for item, weight in zip(ids, of_ids, strict=True):
            if number < weight:
                return item
            number -= weight
        return UNKNOWN_ID

    every = list(range(FIRST_REAL_ID, FIRST_REAL_ID + len(weights)))
    taken = set(lists[user][: until + 1])
    left = [item for item in every if item not in taken]
    if not sum(weights) + unknown:
        return 0
    for attempt in range(64):
        drawn = pick(int(draw_bits(seed, 0, np.array([sample]), attempt)[0]), every)
        if drawn not in taken or drawn == UNKNOWN_ID:
            return drawn
    if not sum(weights[item - FIRST_REAL_ID] for item in left) + unknown:
        return 0
    return pick(int(draw_bits(seed, 0, np.array([sample]), 64)[0]), left)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(data=st.data())
def test_users_who_chose_nearly_all_get_what_a_plain_draw_among_the_rest_gives(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 24))
    uniform = data.draw(st.booleans())
    weights = [1] * count if uniform else data.draw(st.lists(st.sampled_from([0, 1, 3, 10**6]), min_size=count))[:count]
    unknown = data.draw(st.sampled_from([0, 0, 1, 2]))
    item = st.integers(UNKNOWN_ID, count + 1)
    every = st.permutations(range(FIRST_REAL_ID, count + 2))
    lists = data.draw(st.lists(st.one_of(every, st.lists(item, min_size=1, max_size=60)), min_size=1, max_size=4))
    rows = [(user, until) for user, each in enumerate(lists) for until in range(len(each))]
    rows = data.draw(st.permutations(rows))
    chosen = ChosenItems.of(
        np.repeat(np.arange(len(lists)), [len(each) for each in lists]),
        np.concatenate([np.arange(len(each)) for each in lists]),
        np.array([item for each in lists for item in each], np.int32),
        count,
    )
    drawn = draw_negatives(
        chosen=chosen,
        distribution=ItemDistribution(count, None if uniform else np.array(weights), unknown),
        user_rows=np.array([user for user, _ in rows]),
        until=np.array([until for _, until in rows]),
        samples=np.arange(len(rows)),
        seed=7,
        epoch=0,
    )
    assert drawn.tolist() == [
        draw_one_plainly(lists, user, until, sample, weights=weights, unknown=unknown, seed=7)
        for sample, (user, until) in enumerate(rows)
    ]


def test_one_user_with_all_of_a_large_catalogue_costs_a_few_passes() -> None:
    items = np.random.default_rng(0).permutation(100_000).astype(np.int32) + FIRST_REAL_ID
    chosen = ChosenItems.of(np.zeros(100_000, np.int64), np.arange(100_000), items, 100_000)
    until = np.arange(99_000, 100_000)  # a list of what is left for each of them took seconds
    drawn = draw_negatives(
        chosen=chosen,
        distribution=ItemDistribution(100_000),
        user_rows=np.zeros(1_000, np.int64),
        until=until,
        samples=np.arange(1_000),
        seed=1,
        epoch=0,
    )
    first = np.empty(100_002, np.int64)
    first[items] = np.arange(100_000)
    assert drawn[-1] == 0
    assert (first[drawn[:-1]] > until[:-1]).all()
    assert len(np.unique(drawn)) > 300
