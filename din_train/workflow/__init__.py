"""The only place that wires the stages together: one function a command."""

from din_train.workflow.audit import audit
from din_train.workflow.compare import compare
from din_train.workflow.evaluate import evaluate
from din_train.workflow.explain import explain
from din_train.workflow.fit import fit
from din_train.workflow.predict import predict
from din_train.workflow.prepare import prepare
from din_train.workflow.report import report

__all__ = ["audit", "compare", "evaluate", "explain", "fit", "predict", "prepare", "report"]
