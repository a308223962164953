"""Typed, frozen config: `load_config` reads it, `dump_config` writes it fully resolved."""

from din_train.config.column_roles import ColumnsConfig, EventTypesConfig
from din_train.config.data import DataConfig, TimeSplitConfig, UserSplitConfig
from din_train.config.field_kinds import ItemVectorsConfig, ListFieldConfig
from din_train.config.file_formats import FormatConfig, SideTableConfig
from din_train.config.load import dump_config, find_differences, list_values, load_config, read_yaml
from din_train.config.model import InterestConfig, LocalActivationUnitConfig, MlpConfig, ModelConfig, SearchConfig
from din_train.config.rows import RowSplitConfig, SequenceConfig
from din_train.config.schema import (
    Config,
    FiltersConfig,
    GaucWeighting,
    MetricsConfig,
    NegativesConfig,
    TrackingConfig,
    VocabularyConfig,
)
from din_train.config.training import (
    CalibrationMethod,
    EarlyStoppingConfig,
    LossConfig,
    LossName,
    OptimizerConfig,
    RegularizationConfig,
    ScheduleConfig,
    TrainingConfig,
    WarmStartConfig,
)

__all__ = [
    "CalibrationMethod",
    "ColumnsConfig",
    "Config",
    "DataConfig",
    "EarlyStoppingConfig",
    "EventTypesConfig",
    "FiltersConfig",
    "FormatConfig",
    "GaucWeighting",
    "InterestConfig",
    "ItemVectorsConfig",
    "ListFieldConfig",
    "LocalActivationUnitConfig",
    "LossConfig",
    "LossName",
    "MetricsConfig",
    "MlpConfig",
    "ModelConfig",
    "NegativesConfig",
    "OptimizerConfig",
    "RegularizationConfig",
    "RowSplitConfig",
    "ScheduleConfig",
    "SearchConfig",
    "SequenceConfig",
    "SideTableConfig",
    "TimeSplitConfig",
    "TrackingConfig",
    "TrainingConfig",
    "UserSplitConfig",
    "VocabularyConfig",
    "WarmStartConfig",
    "dump_config",
    "find_differences",
    "list_values",
    "load_config",
    "read_yaml",
]
