"""`model`: the network. A config may hold the keys of other models, so that a comparison changes one word."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from din_train.config.section import Section

ModelName = Literal["din", "base", "lr", "wide_deep", "pnn", "deepfm", "dien", "bst", "tin"]
Activation = Literal["dice", "prelu", "sigmoid", "relu"]
UnitActivation = Literal["dice", "prelu", "sigmoid", "relu", "sigmoid_dice"]
UnitInput = Literal["candidate", "history", "difference", "product"]
Normalization = Literal["none", "batch", "affine"]
Units = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)]
Rate = Annotated[float, Field(ge=0, lt=1)]

# Models that multiply fields with each other, so all rows must have one width.
PAIRWISE = ("pnn", "deepfm")
# Models that pool each of several sequences by itself; the others have terms of the history alone.
SEVERAL_SEQUENCES = ("din", "base", "pnn")
# Models that weigh behaviours by the candidate; DIN's weights alone predict what a score is without a behaviour.
WEIGHING = ("din", "dien", "bst", "tin")


class LocalActivationUnitConfig(Section):
    """`model.local_activation_unit`: DIN only (paper section 4.3)."""

    inputs: Annotated[
        tuple[UnitInput, ...],
        Field(strict=False, min_length=1, description="what the unit receives of a behaviour k and the candidate q"),
    ] = ("candidate", "history", "difference", "product")
    hidden_units: Annotated[Units, Field(min_length=1, description="widths of the unit's hidden layers")] = (80, 40)
    activation: Annotated[
        UnitActivation, Field(description="after each hidden layer; sigmoid_dice: a sigmoid, then Dice")
    ] = "dice"
    batch_normalization: Annotated[bool, Field(description="batch norm of the inputs, over valid positions")] = False
    dropout: Annotated[Rate, Field(description="after each hidden layer, in training only")] = 0.0
    normalization: Annotated[
        Literal["softmax", "sigmoid", "none"],
        Field(description="softmax over valid positions (the authors' code), sigmoid, or none (the paper)"),
    ] = "softmax"
    scale: Annotated[bool, Field(description="divide scores by the square root of the embedding width")] = True

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """An input is named once, and a behaviour's weight must depend on the behaviour."""
        if len(set(self.inputs)) < len(self.inputs):
            yield "inputs", f"received {', '.join(self.inputs)}, expected each at most once"
        elif self.inputs == ("candidate",):
            yield "inputs", "received candidate alone, which is the same for every behaviour; add history"


class DienConfig(Section):
    """`model.dien`: DIEN only."""

    auxiliary_weight: Annotated[
        float, Field(ge=0, description="of the loss that asks each state for the next behaviour; 0: without it")
    ] = 1.0


class BstConfig(Section):
    """`model.bst`: BST only."""

    num_blocks: Annotated[int, Field(ge=1, description="transformer blocks, one on the output of another")] = 1
    num_heads: Annotated[int, Field(ge=1, description="of a block's attention")] = 8
    dropout: Annotated[Rate, Field(description="after a block's attention and its dense layers, in training only")] = (
        0.2
    )


class SearchConfig(Section):
    """`model.search`: beside the newest behaviours, those of the candidate's own category (din only)."""

    by: Annotated[Literal["category"], Field(description="what a behaviour must have in common with the candidate")] = (
        "category"
    )
    keep: Annotated[int, Field(ge=1, lt=2**31, description="the newest this many behaviours of its category")] = 50
    recent: Annotated[
        int, Field(ge=1, lt=2**31, description="the newest this many behaviours are the history, of any category")
    ] = 50


class InterestConfig(Section):
    """`model.interest`: what is done to the pooled user interest before the groups are concatenated."""

    normalization: Annotated[
        Normalization, Field(description="none, batch (batch norm) or affine (a learned scale and shift)")
    ] = "none"
    units: Annotated[int | None, Field(ge=1, description="width of a linear layer on it; left out: no layer")] = None


class MlpConfig(Section):
    """`model.mlp`: the layers above the concatenated groups."""

    hidden_units: Annotated[Units, Field(min_length=1, description="widths of the hidden layers")] = (256, 128, 64)
    activation: Annotated[Activation, Field(description="after each hidden layer")] = "dice"
    dropout: Annotated[Rate, Field(description="after each hidden layer, in training only")] = 0.0
    input_normalization: Annotated[
        Normalization, Field(description="of the concatenated groups: none, batch (batch norm) or affine")
    ] = "none"
    batch_normalization: Annotated[bool, Field(description="batch norm before each activation")] = False


class ModelConfig(Section):
    """`model`: which network, and its sizes."""

    name: Annotated[
        ModelName,
        Field(
            description="din: DIN; dien, bst, tin: models after it; the others: the baselines of the paper's Table 3"
        ),
    ]
    item_embedding_size: Annotated[int, Field(ge=1, description="width of an item id's row")] = 64
    category_embedding_size: Annotated[int, Field(ge=1, description="width of a category id's row")] = 64
    field_embedding_size: Annotated[
        int, Field(ge=1, description="width of a row of any other item, user or context field")
    ] = 16
    embedding_initializer: Annotated[
        Literal["normal", "spectral"],
        Field(
            description="how the tables of items and categories begin: normal at random, or spectral, the truncated "
            "singular value decomposition of which users have which in their training events"
        ),
    ] = "normal"
    behaviour_fields: Annotated[
        Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)],
        Field(description="fields of data.behaviour_fields that enter a behaviour's embedding and the activation unit"),
    ] = ()
    min_item_count: Annotated[
        int,
        Field(
            ge=0,
            description="items with fewer training events share the unknown item's row; their category, their other "
            "fields, the vocabulary, the samples and the negatives do not change",
        ),
    ] = 0
    user_candidate_product: Annotated[
        bool, Field(description="also feed interest * candidate to the MLP (the authors' 2020 code)")
    ] = False
    item_bias: Annotated[bool, Field(description="add a learned number per candidate item to the logit")] = False
    pooling: Annotated[
        Literal["sum", "mean"], Field(description="base, wide_deep, pnn, deepfm: how behaviours are pooled (lr: sum)")
    ] = "sum"
    cross_buckets: Annotated[
        int, Field(ge=2, description="wide_deep only: rows that pairs of candidate and behaviour category hash to")
    ] = 262_144
    num_positions: Annotated[
        int,
        Field(
            ge=1,
            lt=2**31,
            description="bst, tin: places in the history with a learned vector, counted from the newest behaviour; "
            "older ones share the last",
        ),
    ] = 100
    search: Annotated[
        SearchConfig | None,
        Field(
            description="din only: attention over the behaviours of the candidate's category among "
            "data.max_history_length, beside the newest ones; left out: the newest alone"
        ),
    ] = None
    local_activation_unit: LocalActivationUnitConfig = LocalActivationUnitConfig()
    dien: DienConfig = DienConfig()
    bst: BstConfig = BstConfig()
    interest: InterestConfig = InterestConfig()
    mlp: MlpConfig = MlpConfig()

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """Two vectors that are multiplied must have one width."""
        if self.embedding_initializer == "spectral" and self.name == "lr":
            yield "embedding_initializer", "received 'spectral', but 'lr' has numbers in place of vectors; remove it"
        if self.search is not None and self.name != "din":
            yield "search", f"not used by '{self.name}', only by 'din'; remove it"
        item, category, units = self.item_embedding_size, self.category_embedding_size, self.interest.units
        if self.name in PAIRWISE and item != category:
            yield (
                "category_embedding_size",
                f"received {category} beside an item_embedding_size of {item}, but '{self.name}' multiplies rows of "
                "different fields with each other; give both the same width",
            )
        if self.name in PAIRWISE and units is not None and units % item:
            yield (
                "interest.units",
                f"received {units} beside an item_embedding_size of {item}, but '{self.name}' multiplies fields of "
                "that width with each other; use a multiple of it",
            )
        if self.user_candidate_product and units is not None and units != item + category:
            yield (
                "interest.units",
                f"received {units}, but user_candidate_product multiplies the interest with the candidate, "
                f"{item + category} wide; use {item + category}",
            )
