"""Typed, frozen config: `load_config` reads it, `dump_config` writes it fully resolved."""

from din_train.config.data import ColumnsConfig, DataConfig, UserSplitConfig
from din_train.config.load import dump_config, find_differences, load_config
from din_train.config.model import LocalActivationUnitConfig, ModelConfig
from din_train.config.schema import Config, FiltersConfig, GaucWeighting, MetricsConfig, NegativesConfig
from din_train.config.training import OptimizerConfig, RegularizationConfig, TrainingConfig

__all__ = [
    "ColumnsConfig",
    "Config",
    "DataConfig",
    "FiltersConfig",
    "GaucWeighting",
    "LocalActivationUnitConfig",
    "MetricsConfig",
    "ModelConfig",
    "NegativesConfig",
    "OptimizerConfig",
    "RegularizationConfig",
    "TrainingConfig",
    "UserSplitConfig",
    "dump_config",
    "find_differences",
    "load_config",
]
