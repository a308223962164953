"""`din-train reproduce`: the paper's tables, run as one sweep, and set beside the published values.

The names of what can be reproduced, in the order of the tables; nothing is imported, because `--help` shows them.
"""

DATASETS = (  # datasets/<name>.yaml: an ordinary config
    "electronics", "movielens", "sports", "sample", "rehearsal", "sports-x1", "electronics-x1",
)  # fmt: skip
RECIPES = ("ours", "ours-strong", "paper", "official")  # recipes/<name>.yaml: how models are trained and chosen
SUITES = ("table3", "table4", "figure5", "leaderboard")  # suites/<name>.yaml: rows
MODELS = (
    "lr", "base", "wide-deep", "pnn", "deepfm", "din", "din-dice",
    "base-none", "base-dropout", "base-filter", "base-aware", "base-dice", "dien", "bst", "tin",
)  # the rows' keys  # fmt: skip
