"""`metrics`: how a split's scores become numbers."""

from typing import Annotated, Literal

from pydantic import Field

from din_train.config.section import Section

GaucWeighting = Literal["impressions", "positives", "uniform"]


class MetricsConfig(Section):
    """`metrics`: GAUC's weights, and the intervals."""

    gauc_weighting: Annotated[
        GaucWeighting,
        Field(description="of a user in GAUC's mean: impressions (the paper), positives, or all users alike"),
    ] = "impressions"
    resamples: Annotated[
        int, Field(ge=0, le=1_000_000, description="bootstrap resamples of the users for intervals; 0: no intervals")
    ] = 1000
    confidence: Annotated[float, Field(gt=0, lt=1, description="share of resamples inside an interval")] = 0.95
