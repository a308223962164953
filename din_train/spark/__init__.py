"""Preparation on a Spark cluster: the work of `dataset`, cut into tasks; nothing else imports PySpark."""
