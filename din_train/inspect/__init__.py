"""`din-train data inspect`: what a raw log is, what it holds, and a config to start from."""
