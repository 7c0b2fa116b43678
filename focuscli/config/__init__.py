"""The configuration of a run. `settings` declares it, `methods` has the tables behind names, `layers` merges the sources."""

from focuscli.config.layers import (
    ABLATIONS,
    Layer,
    Layers,
    Origins,
    build_config,
    dump_config,
    parse_override,
    read_config_file,
    stacked,
    without,
)
from focuscli.config.methods import METHODS, PRESETS, MethodEntry, method_entry
from focuscli.config.settings import (
    SCRATCH,
    AugmentConfig,
    DataConfig,
    EvalConfig,
    LossConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)

__all__ = [
    "ABLATIONS",
    "METHODS",
    "PRESETS",
    "SCRATCH",
    "AugmentConfig",
    "DataConfig",
    "EvalConfig",
    "Layer",
    "Layers",
    "LossConfig",
    "MethodEntry",
    "ModelConfig",
    "Origins",
    "RunConfig",
    "TrainConfig",
    "build_config",
    "dump_config",
    "method_entry",
    "parse_override",
    "read_config_file",
    "stacked",
    "without",
]
