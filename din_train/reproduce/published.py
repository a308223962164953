"""The published GAUC of the paper's models, with where each stands; nothing here decides anything but a comparison.

`PAPER`: Zhou et al., KDD 2018 (arXiv 1706.06978v4), Table 3, mean of 5. `CORRECTED`: the authors' README of 2020.
`BARS`: the leaderboard AmazonElectronics_x1, whose validation set is its test set; its DIN has Dice, so it stands
beside that row.
"""

from dataclasses import dataclass

PAPER = {
    "movielens": {
        "lr": 0.7263, "base": 0.7300, "wide-deep": 0.7304, "pnn": 0.7321, "deepfm": 0.7324,
        "din": 0.7337, "din-dice": 0.7348,
    },
    "electronics": {
        "lr": 0.7742, "base": 0.8624, "wide-deep": 0.8637, "pnn": 0.8679, "deepfm": 0.8683,
        "din": 0.8818, "din-dice": 0.8871,
    },
}  # fmt: skip
CORRECTED = {"electronics": {"pnn": 0.8679, "deepfm": 0.8683, "din": 0.8698, "din-dice": 0.8711}}
BARS = {"electronics": {"deepfm": 0.878890, "din-dice": 0.883526}}

# Table 4, BaseModel on Alibaba's data, which are not public: no regularisation, dropout, filter, mini-batch aware. Its
# RelaImpr is over a model without goods ids (.5940), which is not among our rows.
TABLE_4 = {"base-none": 0.5959, "base-dropout": 0.5970, "base-filter": 0.5983, "base-aware": 0.6031}

WITHDRAWN = {("electronics", "din"), ("electronics", "din-dice")}
WITHDRAWN_REASON = (
    "withdrawn by the authors in 2020: their evaluation sent negatives through a second batch norm layer that training "
    "never touched, so the layer itself gave the label away"
)


@dataclass(frozen=True)
class Published:
    """What is published for one model on one data set. paper: the paper's value, withdrawn or not."""

    paper: float | None
    corrected: float | None
    bars: float | None
    withdrawn: bool

    @property
    def reference(self) -> float | None:
        """What a measured value is compared with: the correction, else the paper's; never a withdrawn one."""
        return self.corrected if self.corrected is not None or self.withdrawn else self.paper


def find_published(dataset: str, row: str) -> Published:
    """All that is published for a row of Table 3; a data set that the paper does not have has nothing."""
    paper, corrected, bars = (table.get(dataset, {}).get(row) for table in (PAPER, CORRECTED, BARS))
    return Published(paper, corrected, bars, (dataset, row) in WITHDRAWN)
