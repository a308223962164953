"""Preparation on a Spark cluster: the work of `dataset`, cut into tasks; nothing else imports PySpark."""

from din_train.errors import RunError

try:
    import pyspark  # noqa: F401
except ImportError as error:
    raise RunError(f"data.engine: spark needs PySpark ({error}); install din-train[spark], or set duckdb") from None
