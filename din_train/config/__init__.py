"""Typed, frozen config: `load_config` reads it, `dump_config` writes it fully resolved."""

from din_train.config.data import ColumnsConfig, DataConfig, TimeSplitConfig, UserSplitConfig
from din_train.config.load import dump_config, find_differences, load_config
from din_train.config.model import InterestConfig, LocalActivationUnitConfig, MlpConfig, ModelConfig
from din_train.config.schema import (
    Config,
    FiltersConfig,
    GaucWeighting,
    MetricsConfig,
    NegativesConfig,
    VocabularyConfig,
)
from din_train.config.training import (
    EarlyStoppingConfig,
    OptimizerConfig,
    RegularizationConfig,
    ScheduleConfig,
    TrainingConfig,
)

__all__ = [
    "ColumnsConfig",
    "Config",
    "DataConfig",
    "EarlyStoppingConfig",
    "FiltersConfig",
    "GaucWeighting",
    "InterestConfig",
    "LocalActivationUnitConfig",
    "MetricsConfig",
    "MlpConfig",
    "ModelConfig",
    "NegativesConfig",
    "OptimizerConfig",
    "RegularizationConfig",
    "ScheduleConfig",
    "TimeSplitConfig",
    "TrainingConfig",
    "UserSplitConfig",
    "VocabularyConfig",
    "dump_config",
    "find_differences",
    "load_config",
]
