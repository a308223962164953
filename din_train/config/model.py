"""`model`: the network. Keys of one model are kept when another is named, so a comparison changes one word."""

from typing import Annotated, Literal

from pydantic import Field

from din_train.config.section import Section

Activation = Literal["dice", "prelu", "sigmoid", "relu"]
Units = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)]


class LocalActivationUnitConfig(Section):
    """`model.local_activation_unit`: DIN only (paper section 4.3)."""

    hidden_units: Annotated[Units, Field(description="widths of the unit's hidden layers")] = (80, 40)
    activation: Annotated[Activation, Field(description="after each hidden layer")] = "dice"
    normalization: Annotated[
        Literal["softmax", "none"],
        Field(description="softmax over valid positions (the authors' code) or none (the paper)"),
    ] = "softmax"
    scale: Annotated[bool, Field(description="divide scores by the square root of the embedding width")] = True


class MlpConfig(Section):
    """`model.mlp`: the layers above the concatenated groups."""

    hidden_units: Annotated[Units, Field(min_length=1, description="widths of the hidden layers")] = (256, 128, 64)
    activation: Annotated[Activation, Field(description="after each hidden layer")] = "dice"
    dropout: Annotated[float, Field(ge=0, lt=1, description="after each hidden layer, in training only")] = 0.0


class ModelConfig(Section):
    """`model`: which network, and its sizes."""

    name: Annotated[Literal["din", "base"], Field(description="din: DIN; base: the paper's BaseModel (pooling)")]
    item_embedding_size: Annotated[int, Field(ge=1, description="width of an item id's row")] = 64
    category_embedding_size: Annotated[int, Field(ge=1, description="width of a category id's row")] = 64
    field_embedding_size: Annotated[
        int, Field(ge=1, description="width of a row of any other item, user or context field")
    ] = 16
    user_candidate_product: Annotated[
        bool, Field(description="also feed interest * candidate to the MLP (the authors' 2020 code)")
    ] = False
    pooling: Annotated[Literal["sum", "mean"], Field(description="base only: how behaviours are pooled")] = "sum"
    local_activation_unit: LocalActivationUnitConfig = LocalActivationUnitConfig()
    mlp: MlpConfig = MlpConfig()
