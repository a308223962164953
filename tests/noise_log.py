"""Logs of impressions without any signal: whatever is scored, AUC within a user is one half."""

from typing import Literal

import numpy as np

Row = tuple[str, str, int, int, str]  # user, item, time, label, request

HEADER = ("user", "item", "time", "label", "request")
START, DAY = 1_600_000_000, 86_400


def make_noise(
    *,
    users: int,
    clicks: tuple[int, int],
    place: Literal["first", "last", "anywhere"],
    times: Literal["equal", "jittered", "apart", "days"],
    seed: int = 1,
) -> list[Row]:
    """Each user has 3 to 8 requests of 5 items drawn at random.

    Args:
        clicks: the least and the most clicks a request.
        place: which of a request's rows are clicked.
        times: the rows of a request have one time; times of their own, within a minute of each other; times of their
            own, so that each row is a request (then each is clicked with probability 0.2); the time of their day.
    """
    random = np.random.default_rng(seed)
    rows: list[Row] = []
    for user in range(users):
        time = START + int(random.integers(DAY))
        for request in range(int(random.integers(3, 9))):
            time += int(random.integers(100, DAY))
            shown = random.permutation(150)[:5].tolist()
            count = int(random.integers(clicks[0], clicks[1] + 1))
            clicked = {"first": range(count), "last": range(5 - count, 5), "anywhere": random.permutation(5)[:count]}[
                place
            ]
            for slot, item in enumerate(shown):
                label = int(random.random() < 0.2) if times == "apart" else int(slot in clicked)
                own = {"equal": 0, "jittered": int(random.integers(60)), "apart": 7 * slot, "days": -(time % DAY)}[
                    times
                ]
                rows.append((f"u{user}", f"i{item}", time + own, label, f"q{request}"))
    return rows
